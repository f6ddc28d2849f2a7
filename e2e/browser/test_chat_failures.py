"""What goes wrong between a room's page and the server: nothing is lost, nothing comes twice, and the page says so."""

import json
import os
import signal
from typing import Any

import pytest
from playwright.sync_api import WebSocketRoute, expect

from e2e.browser.chatting import House, Seats, beside
from e2e.chat import chat, run
from e2e.servers import PRODUCTION, wait_for

pytestmark = [pytest.mark.once, pytest.mark.needs("chromium")]


def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(seats: Seats, chat_house: House) -> None:
    mara, ash = seats("mara", "killed"), seats("ash", "killed")
    mara.loses_connections = ash.loses_connections = True
    for number in range(3):
        mara.says(f"before {number}")
    ash.sees("before 2")
    chat_house.is_killed()
    mara.reads("The connection is lost. Reconnecting …")
    ash.reads("Reconnecting …")
    mara.says("while it is away 1")
    mara.says("while it is away 2")
    ash.says("while it is away 3")
    expect(mara.page.locator(".chat-sending")).to_have_count(2)
    expect(mara.page.locator(".chat-sending").first).to_contain_text("sending")
    chat_house.starts()

    async def program() -> None:
        async with chat(chat_house.server, "killed", token=chat_house.token, reconnects=True) as client:
            for number in range(2):
                await client.say(f"after {number}")

    beside(program)
    everything = {
        *(f"before {n}" for n in range(3)),
        *(f"while it is away {n}" for n in (1, 2, 3)),
        "after 0",
        "after 1",
    }
    for seat in (mara, ash):
        seat.is_in(seconds=60)
        expect(seat.messages).to_have_count(len(everything))
        expect(seat.page.locator(".chat-outbox .chat-entry")).to_have_count(0)
        expect(seat.status).to_be_empty()
        assert set(seat.texts) == everything
        assert seat.texts == chat_house.said_in("killed")
    assert mara.texts.index("while it is away 1") < mara.texts.index("while it is away 2")


def test_without_a_network_the_page_waits_and_then_comes_back_at_once(seats: Seats, chat_house: House) -> None:
    mara, ash = seats("mara", "offline"), seats("ash", "offline")
    mara.loses_connections = True
    mara.page.context.set_offline(True)
    mara.reads("You are offline. What you write is sent when you are back.")
    mara.says("from afar")
    ash.says("meanwhile")
    ash.sees("meanwhile")
    expect(mara.page.locator(".chat-sending")).to_have_count(1)
    mara.page.context.set_offline(False)
    mara.is_in()
    for seat in (mara, ash):
        expect(seat.messages).to_have_text(["meanwhile", "from afar"])


def test_a_server_that_says_nothing_any_more_is_left(seats: Seats, chat_house: House) -> None:
    mara = seats("mara", "silent")
    mara.loses_connections = True
    process = chat_house.server.process.pid
    os.kill(process, signal.SIGSTOP)
    try:
        mara.page.evaluate("dispatchEvent(new Event('online'))")  # which makes it ask at once
        mara.says("into the silence")
        mara.reads("Reconnecting …")
    finally:
        os.kill(process, signal.SIGCONT)
    mara.is_in(seconds=60)
    expect(mara.messages).to_have_text(["into the silence"])
    assert chat_house.said_in("silent") == ["into the silence"]


def test_entries_that_are_lost_doubled_or_out_of_order_are_put_right(seats: Seats, chat_house: House) -> None:
    asked: list[dict[str, Any]] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        held: list[str] = []

        def from_page(text: str | bytes) -> None:
            asked.append(json.loads(text))
            server.send(text)

        def from_server(text: str | bytes) -> None:
            message = json.loads(text)
            number = message.get("number") if message["type"] == "entry" else None
            if number == 2:
                return  # lost
            if number == 4:
                held.append(str(text))  # late
                return
            page.send(text)
            if number is not None:
                page.send(text)
            if number == 5:
                page.send(held.pop())

        page.on_message(from_page)
        server.on_message(from_server)

    ash = seats.take("ash", "gaps")
    ash.listens(between)
    ash.enters()
    boss = seats("boss", "gaps")
    for number in range(1, 7):
        boss.says(f"said {number}")
        boss.sees(f"said {number}")
    expect(ash.messages).to_have_text([f"said {number}" for number in range(1, 7)])
    assert [message["after"] for message in asked if message["type"] == "history"][:1] == [1]


def test_an_acknowledgement_that_is_lost_makes_one_message(seats: Seats, chat_house: House) -> None:
    lines: list[WebSocketRoute] = []
    ids: list[str] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        lines.append(page)

        def from_page(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "chat":
                ids.append(message["id"])
            server.send(text)

        def from_server(text: str | bytes) -> None:
            if len(lines) == 1 and json.loads(text)["type"] in {"ack", "entry"}:
                page.close(code=1011)
                server.close()
            else:
                page.send(text)

        page.on_message(from_page)
        server.on_message(from_server)

    mara = seats.take("mara", "unacknowledged")
    mara.listens(between)
    mara.enters()
    mara.says("once")
    wait_for(lambda: len(lines) == 2 or mara.page.wait_for_timeout(50), "it comes back")
    mara.sees("once")
    expect(mara.page.locator(".chat-outbox .chat-entry")).to_have_count(0)
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert chat_house.said_in("unacknowledged") == ["once"]


def test_what_is_said_while_nothing_is_answered_goes_out_once_each_and_in_order(
    seats: Seats, chat_house: House
) -> None:
    ids: list[str] = []
    held: list[str | bytes] = []
    lines: list[WebSocketRoute] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        lines.append(server)

        def from_page(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "chat":
                ids.append(message["id"])
            if is_stalled:
                held.append(text)
            else:
                server.send(text)

        page.on_message(from_page)

    is_stalled = True
    noor = seats.take("noor", "hurried")
    noor.listens(between)
    noor.enters()
    said = [f"said {number}" for number in range(1, 6)]
    for text in said:
        noor.says(text)
    expect(noor.page.locator(".chat-sending")).to_have_count(5)
    wait_for(lambda: held or noor.page.wait_for_timeout(50), "the first is under way")
    is_stalled = False
    for text in held:
        lines[-1].send(text)
    expect(noor.messages).to_have_text(said)
    expect(noor.page.locator(".chat-outbox .chat-entry")).to_have_count(0)
    assert chat_house.said_in("hurried") == said
    assert len(ids) == len(set(ids)) == 5


def test_who_is_told_to_wait_waits_though_they_go_on_writing(seats: Seats, chat_house: House) -> None:
    kinds: list[str] = []
    lines: list[WebSocketRoute] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        lines.append(page)

        def from_page(text: str | bytes) -> None:
            message = json.loads(text)
            kinds.append(message["type"])
            if len(lines) == 1 and message["type"] == "chat":
                refusal = {"type": "error", "code": "too_fast", "detail": "You write too fast.", "retry_after": 3600}
                page.send(json.dumps({**refusal, "ref": message["id"]}))
            else:
                server.send(text)

        page.on_message(from_page)

    noor = seats.take("noor", "hasty")
    noor.listens(between)
    noor.enters()
    said = ["first", "second", "third"]
    for text in said:
        noor.says(text)
    expect(noor.page.locator(".chat-sending")).to_have_count(3)
    noor.page.evaluate("dispatchEvent(new Event('online'))")  # which makes it ping: what was sent came before that
    wait_for(lambda: "ping" in kinds or noor.page.wait_for_timeout(50), "the ping comes")
    assert kinds == ["chat", "ping"]
    lines[-1].close(code=1012)
    expect(noor.messages).to_have_text(said)
    expect(noor.page.locator(".chat-outbox .chat-entry")).to_have_count(0)


def test_what_a_moderator_asked_for_as_the_line_went_down_is_not_lost_without_a_word(
    seats: Seats, chat_house: House
) -> None:
    lines: list[WebSocketRoute] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        lines.append(page)

        def from_page(text: str | bytes) -> None:
            if len(lines) == 1 and json.loads(text)["type"] == "delete":
                page.close(code=1011)
                server.close()
            else:
                server.send(text)

        page.on_message(from_page)

    boss = seats.take("boss", "undone")
    boss.listens(between)
    boss.enters()
    boss.acts_on("said 2", "Delete")
    expect(boss.page.locator(".chat-told")).to_contain_text("The connection was lost before there was an answer")
    assert len(lines) == 2
    boss.acts_on("said 2", "Delete")
    expect(boss.page.locator(".chat-told")).to_have_text("The message is deleted.")
    assert chat_house.said_in("undone") == ["said 1", "", "said 3"]


def test_what_is_too_old_and_was_deleted_is_not_waited_for(seats: Seats, chat_house: House) -> None:
    prune = "from realtime.models import Entry, Room; room = Room.objects.get(slug='pruned');"
    run(chat_house.installation, f"{prune} room.entries.filter(number__lte=60).delete()", **PRODUCTION)
    ash = seats("ash", "pruned")
    ash.loses_connections = True
    expect(ash.messages.first).to_have_text("said 81")
    ash.page.get_by_role("button", name="Older messages").focus()
    ash.page.keyboard.press("Enter")
    expect(ash.messages.first).to_have_text("said 61")
    expect(ash.page.get_by_text("This is where the room begins.")).to_be_visible()
    expect(ash.page.get_by_role("button", name="Older messages")).to_be_hidden()

    ash.page.context.set_offline(True)
    ash.reads("You are offline.")
    more = (
        "from accounts.models import User; from realtime.tests import rows; boss = User.objects.get(username='boss');"
    )
    add = "[rows.entry(room, boss, f'said {number}') for number in range(131, 231)];"
    run(chat_house.installation, f"{prune} {more} {add} room.entries.filter(number__lte=200).delete()", **PRODUCTION)
    ash.page.context.set_offline(False)
    ash.is_in()
    expect(ash.messages).to_have_text([f"said {number}" for number in range(201, 231)])
    ash.says("and on")
    ash.sees("and on")


def test_what_the_server_says_of_itself_is_told(seats: Seats, chat_house: House) -> None:
    lines: list[WebSocketRoute] = []

    def between(page: WebSocketRoute) -> None:
        page.connect_to_server()
        lines.append(page)

    ash = seats.take("ash", "told")
    ash.listens(between)
    ash.enters()
    lines[-1].send(json.dumps({"type": "status", "live": False}))
    ash.reads("Messages from others may arrive a few seconds late: reconnecting.")
    lines[-1].send(json.dumps({"type": "status", "live": True}))
    expect(ash.status).to_be_empty()
    lines[-1].send(json.dumps({"type": "something of a later server"}))
    for code in (1001, 1012, 1013, 4408):  # come back
        lines[-1].close(code=code)
        ash.reads("Reconnecting …")
        ash.is_in()
    said = {
        1008: "too much came from here at once",
        1009: "the message was too large",
        4401: "You are signed out.",
        4404: "This room is not there any more.",
        4429: "The chat is open in too many places at once.",
    }
    for code, words in said.items():
        lines[-1].close(code=code)
        ash.reads(words)
        expect(ash.composer).to_be_disabled()
        expect(ash.page.locator(".chat")).to_have_attribute("data-state", "ended")
        ash.enters()


def test_after_the_end_nothing_is_sending_however_often_it_is_tried_again(seats: Seats, chat_house: House) -> None:
    lines: list[WebSocketRoute] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        page.on_message(lambda message: None if '"chat"' in str(message) else server.send(message))
        lines.append(page)

    ash = seats.take("ash", "told")
    ash.listens(between)
    ash.enters()
    ash.says("held")
    expect(ash.page.locator(".chat-sending")).to_have_count(1)
    lines[-1].close(code=4429)
    for _ in range(2):
        expect(ash.page.locator(".chat-failed")).to_contain_text("It was not sent.")
        expect(ash.page.locator(".chat-sending")).to_have_count(0)
        ash.page.locator(".chat-failed").get_by_role("button", name="Try again").click()
    expect(ash.page.locator(".chat-failed")).to_contain_text("It was not sent.")


def test_a_session_that_ended_while_the_line_was_down_is_told_and_what_waits_is_kept(
    seats: Seats, chat_house: House
) -> None:
    lines: list[WebSocketRoute] = []

    def between(page: WebSocketRoute) -> None:
        lines.append(page)
        if is_down:
            page.close(code=1011)
        else:
            page.connect_to_server()

    is_down = False
    noor = seats.take("", "lapsed")
    noor.signs_in("noor")
    noor.listens(between)
    noor.enters()
    is_down = True
    lines[-1].close(code=1011)
    noor.reads("The connection is lost.")
    noor.says("too late")
    (key,) = [one["value"] for one in noor.page.context.cookies() if one["name"] == "sessionid"]
    delete = f"from django.contrib.sessions.models import Session; Session.objects.get(session_key={key!r}).delete()"
    run(chat_house.installation, delete, **PRODUCTION)
    is_down = False
    noor.page.evaluate("dispatchEvent(new Event('online'))")  # which makes it connect at once
    noor.reads("You are signed out: you can read, and not write.")
    noor.is_in()
    for message in ({"type": "status", "live": False}, {"type": "status", "live": True}, {"type": "done"}):
        lines[-1].send(json.dumps(message))
    expect(noor.page.locator(".chat-told")).to_have_text("Done.")  # so what came before that was heard
    noor.reads("You are signed out: you can read, and not write.")
    expect(noor.composer).to_be_disabled()
    expect(noor.page.locator(".chat-sending")).to_have_count(0)
    expect(noor.page.locator(".chat-failed")).to_contain_text("You are signed out.")
    link = noor.page.get_by_role("link", name="Sign in again")
    expect(link).to_have_attribute("href", "/accounts/login/?next=%2Fchat%2Flapsed%2F")

    noor.signs_in("noor")
    noor.enters()
    expect(noor.status).to_be_empty()
    noor.page.locator(".chat-failed").get_by_role("button", name="Try again").click()
    noor.sees("too late")
    expect(noor.page.locator(".chat-outbox .chat-entry")).to_have_count(0)
    assert chat_house.said_in("lapsed") == ["too late"]
