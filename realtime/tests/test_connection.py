"""One connection, from its handshake to its end, through the edge and with a real database."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from accounts import deletion, membership, sessions, sign_in, tokens
from accounts.models import Membership, User
from accounts.tests.browser import Browser
from bambisleep.tests.client import AsgiClient
from observability.http import recording
from realtime import connection, hub
from realtime.connection import open_connections
from realtime.models import Audience, Entry, Room
from realtime.tests import rows
from realtime.tests.talking import talking
from realtime.threads import in_database

pytestmark = pytest.mark.django_db(transaction=True)

LOBBY, MEMBERS, STAFF = "/ws/chat/lobby/", "/ws/chat/members/", "/ws/chat/staff/"
ORIGIN = "http://testserver"


@pytest.fixture(autouse=True)
def _rooms(settings: Any) -> None:
    settings.CHAT_POLL_SECONDS = 0.2
    for slug, make in (("lobby", rows.room), ("members", rows.members_room), ("staff", rows.staff_room)):
        make(slug)


@pytest.fixture(autouse=True)
def _nothing_is_left(metric: Callable[..., float]) -> Iterator[None]:
    yield
    assert len(open_connections) == 0
    assert metric("websocket_connections_total") == 0


def token(user: User) -> dict[str, str]:
    """The message by which `user` says who they are."""
    return {"type": "auth", "token": tokens.issue(user).access}


def cookie(user: User, origin: str = ORIGIN) -> dict[str, str]:
    """The headers of a handshake from a page of the site."""
    browser = Client()
    browser.force_login(user, backend="accounts.backends.NameOrEmailBackend")
    return {"cookie": f"sessionid={browser.cookies['sessionid'].value}", "origin": origin}


def run(test: Callable[[], Any]) -> Any:
    """Run it to its end, and see that no task is left."""

    async def go() -> Any:
        found = await test()
        async with asyncio.timeout(10):
            while others := asyncio.all_tasks() - {asyncio.current_task()}:  # type: ignore[arg-type]
                await asyncio.wait(others, timeout=0.5)
        return found

    return asyncio.run(go())


# --- The handshake ---


@pytest.mark.parametrize("origin", ["https://testserver", "http://testserver:81", "http://evil.example", "null"])
def test_a_page_of_another_site_is_refused_and_recorded(origin: str, metric: Callable[..., float]) -> None:
    headers = {**cookie(rows.member()), "origin": origin}
    before = metric("security_events_total", type="bad_origin")

    async def go() -> int:
        async with talking(MEMBERS, headers=headers) as talker:
            await talker.ends()
            return talker.ended_with

    assert run(go) == 403
    assert metric("security_events_total", type="bad_origin") == before + 1


def test_a_trusted_page_is_let_in(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.partners.example"]
    headers = cookie(rows.member("mara"), "https://one.partners.example")

    async def go() -> Any:
        async with talking(MEMBERS, headers=headers) as talker:
            return await talker.hears("hello")

    assert run(go)["you"]["name"] == "mara"


def test_a_host_that_is_not_the_sites_is_refused() -> None:
    async def go() -> int:
        async with talking(LOBBY, headers={"host": "evil.example"}) as talker:
            await talker.ends()
            return talker.ended_with

    assert run(go) == 403


def test_a_cookie_without_an_origin_proves_nothing() -> None:
    headers = cookie(rows.member())
    del headers["origin"]

    async def go() -> Any:
        async with talking(LOBBY, headers=headers) as talker:
            return await talker.hears("hello")

    assert run(go)["you"]["id"] is None


@pytest.mark.parametrize("other", ['consent={"a":true}', "version=2", "nonsense", "a[]=b", "é=ü"])
def test_another_cookie_that_breaks_the_rules_hides_nobody(other: str) -> None:
    headers = cookie(rows.member("mara"))
    headers["cookie"] = f"{other}; {headers['cookie']}"

    async def go() -> Any:
        async with talking(MEMBERS, headers=headers) as talker:
            return await talker.hears("hello")

    assert run(go)["you"]["name"] == "mara"


@pytest.mark.parametrize("cookies", ["sessionid=", "sessionid=nonsense", "a;b;;=c", "sessionid=\x00\x01", "é=ü"])
def test_a_cookie_that_opens_nothing_makes_a_guest(cookies: str) -> None:
    async def go() -> Any:
        async with talking(LOBBY, headers={"cookie": cookies, "origin": ORIGIN}) as talker:
            return await talker.hears("hello")

    assert run(go)["you"]["id"] is None


# --- Who may be where ---


@pytest.mark.parametrize(
    ("path", "who", "code"),
    [
        (LOBBY, "person", None),
        (LOBBY, "member", None),
        (MEMBERS, "person", 4403),
        (MEMBERS, "member", None),
        (MEMBERS, "moderator", None),
        (STAFF, "person", 4404),
        (STAFF, "member", 4404),
        (STAFF, "colleague", None),
        ("/ws/chat/no-such-room/", "moderator", 4404),
    ],
)
@pytest.mark.parametrize("by", ["token", "cookie"])
def test_a_room_is_entered_by_whoever_may(path: str, who: str, code: int | None, by: str) -> None:
    user = getattr(rows, who)("mara")
    message, headers = token(user), cookie(user) if by == "cookie" else {}

    async def go() -> tuple[int, str] | str:
        async with talking(path, headers=headers) as talker:
            if by == "token":
                talker.say(message)
            if code is not None:
                return await talker.ends()
            name = ""
            while name != "mara":
                heard = await talker.hears_or_ends()
                assert heard is not None, talker.ended
                name = heard.get("you", {}).get("name", "")
            return name

    found = run(go)
    assert (found[0] if code else found) == (code or "mara")


def test_a_banned_member_stays_outside() -> None:
    mara = rows.member()
    rows.ban(mara, Room.objects.get(slug="members"))
    headers = cookie(mara)

    async def go() -> tuple[int, str]:
        async with talking(MEMBERS, headers=headers) as talker:
            return await talker.ends()

    assert run(go)[0] == 4403


@pytest.mark.parametrize("path", [MEMBERS, STAFF, "/ws/chat/no-such-room/"])
def test_whether_a_room_exists_is_not_told_to_a_stranger(path: str, settings: Any) -> None:
    settings.CHAT_AUTH_SECONDS = 0.3

    async def go() -> Any:
        async with talking(path) as talker:
            return await talker.ends(), talker.heard

    assert run(go) == ((4401, "auth_timeout"), [])


def test_a_guest_reads_a_public_room_and_does_not_write() -> None:
    async def go() -> list[str]:
        async with talking(LOBBY) as talker:
            hello = await talker.hears("hello")
            assert not hello["you"]["may_write"]
            talker.say({"type": "chat", "id": "a", "text": "x"})
            talker.say({"type": "delete", "number": 1})
            errors = [await talker.hears("error"), await talker.hears("error")]
            return [error["code"] for error in errors]

    assert run(go) == ["read_only", "forbidden"]
    assert Entry.objects.count() == 0


@pytest.mark.parametrize("path", [LOBBY, MEMBERS])
def test_a_token_that_is_no_good_ends_it(path: str, metric: Callable[..., float]) -> None:
    before = metric("websocket_auth_total", outcome="failure")

    async def go() -> tuple[int, str]:
        async with talking(path) as talker:
            talker.say({"type": "auth", "token": "nonsense"})
            await talker.hears("error", code="auth_failed")
            return await talker.ends()

    assert run(go) == (4401, "unauthenticated")
    assert metric("websocket_auth_total", outcome="failure") == before + 1


def test_before_it_is_known_who_is_there_nothing_else_is_done(settings: Any) -> None:
    settings.CHAT_AUTH_SECONDS = 1.0

    async def go() -> tuple[int, str]:
        async with talking(MEMBERS) as talker:
            talker.say({"type": "history"})
            await talker.hears("error", code="auth_required")
            talker.say({"type": "chat", "id": "a", "text": "x"})
            await talker.hears("error", code="auth_required")
            return await talker.ends()

    assert run(go) == (4401, "auth_timeout")


def test_one_connection_is_one_persons() -> None:
    mara, ash = rows.member("mara"), rows.member("ash")
    first, second = token(mara), token(ash)

    async def go() -> Any:
        async with talking(LOBBY) as talker:
            talker.say(first)
            assert (await talker.hears("standing"))["you"]["name"] == "mara"
            talker.say(second)
            return await talker.hears("error")

    assert run(go)["code"] == "already_signed_in"


# --- What is too much ---


@pytest.mark.parametrize(
    ("message", "ended"),
    [
        ({"type": "websocket.receive", "bytes": b"x"}, (1003, "protocol")),
        ({"type": "websocket.receive", "bytes": b""}, (1003, "protocol")),
        ({"type": "websocket.receive", "text": "x" * 65_537}, (1009, "too_big")),
        ({"type": "websocket.receive", "text": "é" * 32_769}, (1009, "too_big")),  # bytes, not characters
        ({"type": "websocket.receive", "text": "x" * 5_000_000}, (1009, "too_big")),
    ],
)
@pytest.mark.parametrize("path", [LOBBY, MEMBERS])
def test_what_is_no_text_or_too_big_ends_it(message: dict[str, Any], ended: tuple[int, str], path: str) -> None:
    async def go() -> tuple[int, str]:
        async with talking(path) as talker:
            talker.gives(**message)
            return await talker.ends()

    assert run(go) == ended


def test_64_kibibytes_are_not_too_big() -> None:
    async def go() -> Any:
        async with talking(LOBBY) as talker:
            talker.say(json.dumps({"type": "ping", "id": "a", "padding": ""}).replace('""', f'"{"é" * 32_740}"'))
            return await talker.hears("pong")

    assert run(go)["id"] == "a"


def test_silence_ends_it(settings: Any) -> None:
    settings.CHAT_IDLE_SECONDS = 0.3

    async def go() -> tuple[int, str]:
        async with talking(LOBBY) as talker:
            return await talker.ends()

    assert run(go) == (4408, "idle")


def test_too_many_messages_are_answered_with_when_to_go_on_and_end_it_at_last() -> None:
    async def go() -> Any:
        async with talking(LOBBY) as talker:
            for number in range(connection.MESSAGES_AT_ONCE + 2 * connection.STRIKES_AT_ONCE):
                talker.say({"type": "ping", "id": str(number)})
            ended = await talker.ends()
            return ended, [json.loads(text) for text in talker.heard]

    ended, heard = run(go)
    assert ended == (1008, "too_fast")
    slower = [message for message in heard if message.get("code") == "too_fast"]
    assert len(slower) >= connection.STRIKES_AT_ONCE
    assert all(message["retry_after"] <= 1 and message["ref"] for message in slower)


def test_what_is_not_understood_is_answered_and_ends_it_at_last(metric: Callable[..., float]) -> None:
    before = metric("websocket_messages_total", type="invalid")

    async def go() -> Any:
        async with talking(LOBBY) as talker:
            for _ in range(2 * connection.STRIKES_AT_ONCE):
                talker.say("nonsense")
            return await talker.ends(), len(talker.heard)

    ended, heard = run(go)
    assert ended == (1008, "protocol")
    assert heard >= connection.STRIKES_AT_ONCE
    assert metric("websocket_messages_total", type="invalid") > before + connection.STRIKES_AT_ONCE


@pytest.mark.parametrize("by", ["user", "address"])
def test_a_user_and_an_address_have_so_many_connections_and_may_have_others_for_them(by: str, settings: Any) -> None:
    setattr(settings, f"CHAT_CONNECTIONS_PER_{by.upper()}", 3)
    headers = cookie(rows.member())

    async def go() -> list[tuple[int, str]]:
        async with AsyncExitStack() as stack:
            held = []
            for number in range(3):
                address = f"203.0.113.{number}" if by == "user" else "203.0.113.9"
                held.append(await stack.enter_async_context(talking(MEMBERS, headers=headers, address=address)))
                await held[-1].hears("hello")
            async with talking(MEMBERS, headers=headers, address="203.0.113.9") as one_more:
                refused = await one_more.ends()
            held[0].leave()
            assert held[0].serving is not None
            await asyncio.wait({held[0].serving}, timeout=10)
            async with talking(MEMBERS, headers=headers, address="203.0.113.9") as again:
                await again.hears("hello")
            return [refused]

    assert run(go) == [(4429, "too_many")]


def test_a_person_writes_only_so_fast_over_all_their_connections(settings: Any) -> None:
    settings.CHAT_BURST, settings.CHAT_MESSAGES_PER_MINUTE = 3, 1
    headers = cookie(rows.member())

    async def go() -> Any:
        async with talking(LOBBY, headers=headers) as one, talking(LOBBY, headers=headers) as other:
            for number, talker in enumerate((one, other, one)):
                talker.say({"type": "chat", "id": f"m{number}", "text": "x"})
                await talker.hears("ack")
            other.say({"type": "chat", "id": "m4", "text": "x"})
            return await other.hears("error")

    error = run(go)
    assert (error["code"], error["ref"]) == ("too_fast", "m4")
    assert 0 < error["retry_after"] <= 60
    assert Entry.objects.count() == 3


# --- A reader that does not read ---


def test_a_slow_reader_is_closed_and_nobody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, metric: Callable[..., float], settings: Any
) -> None:
    settings.CHAT_BURST = 1000
    monkeypatch.setattr(connection, "MOST_QUEUED", 20)
    headers = cookie(rows.member())
    before = metric("websocket_disconnects_total", reason="slow")

    async def go() -> Any:
        async with talking(LOBBY) as slow, talking(LOBBY) as quick, talking(LOBBY, headers=headers) as writer:
            for talker in (slow, quick, writer):
                await talker.hears("hello")
            slow.reads.clear()
            for number in range(30):
                writer.say({"type": "chat", "id": f"m{number}", "text": "x"})
                await writer.hears("ack")
            numbers = [(await quick.hears("entry"))["number"] for _ in range(30)]
            return numbers, await slow.ends()

    numbers, ended = run(go)
    assert numbers == list(range(1, 31))
    assert ended == (1013, "slow")
    assert metric("websocket_disconnects_total", reason="slow") == before + 1


def test_whoever_asks_and_does_not_take_the_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALLED_SECONDS", 0.3)

    async def go() -> tuple[int, str]:
        async with talking(LOBBY) as talker:
            await talker.hears("hello")
            talker.reads.clear()
            for _ in range(10):
                talker.say({"type": "history"})
            return await talker.ends()

    assert run(go) == (1013, "slow")


# --- Access that changes ---


def lapse(user: User) -> None:
    for given in Membership.objects.filter(user=user):
        membership.end(given)


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


def ban(user: User) -> None:
    rows.ban(user, Room.objects.get(slug="members"))


def sign_out_everywhere(user: User) -> None:
    sessions.end_all(user, reason="signed_out")


def change_password(user: User) -> None:
    user.set_password("another long phrase")
    user.save()
    sessions.end_all(user, reason="password_changed")


CHANGES = [
    (lapse, 4403), (ban, 4403), (deactivate, 4401), (sign_out_everywhere, 4401), (change_password, 4401),
    (deletion.erase, 4401),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
@pytest.mark.parametrize("by", ["token", "cookie"])
def test_whose_access_ends_is_closed_at_once(change: Callable[[User], Any], code: int, by: str) -> None:
    mara = rows.member("mara")
    message, headers = token(mara), cookie(mara) if by == "cookie" else {}
    others = cookie(rows.member("ash"))

    async def go() -> tuple[int, str]:
        async with talking(MEMBERS, headers=headers) as talker, talking(MEMBERS, headers=others) as other:
            if by == "token":
                talker.say(message)
            await talker.hears("hello")
            await other.hears("hello")
            await in_database(change)(mara)
            ended = await talker.ends()
            other.say({"type": "ping"})
            await other.hears("pong")
            return ended

    # Of an account that is erased the membership goes first, and may be missed before the sign-in is.
    assert run(go)[0] in ({code, 4403} if change is deletion.erase else {code})


def test_signing_out_of_one_session_ends_its_connections_and_no_others() -> None:
    mara = rows.member("mara")
    browser, other = Browser(), cookie(mara)
    browser.sign_in("mara", rows.PASSWORD)
    headers = {"cookie": f"sessionid={browser.cookies['sessionid'].value}", "origin": ORIGIN}

    async def go() -> tuple[int, str]:
        async with talking(MEMBERS, headers=headers) as talker, talking(MEMBERS, headers=other) as stays:
            await talker.hears("hello")
            await stays.hears("hello")
            await in_database(browser.send)("/accounts/logout/")
            ended = await talker.ends()
            stays.say({"type": "ping"})
            await stays.hears("pong")
            return ended

    assert run(go) == (4401, "unauthenticated")


def test_the_end_of_a_family_of_tokens_ends_its_connections_and_no_others() -> None:
    mara = rows.member("mara")
    pair, other = tokens.issue(mara), token(mara)

    async def go() -> tuple[int, str]:
        async with talking(MEMBERS) as talker, talking(MEMBERS) as stays:
            talker.say({"type": "auth", "token": pair.access})
            stays.say(other)
            await talker.hears("hello")
            await stays.hears("hello")
            await in_database(sign_in.sign_out)(token=pair.refresh)
            ended = await talker.ends()
            stays.say({"type": "ping"})
            await stays.hears("pong")
            return ended

    assert run(go) == (4401, "unauthenticated")


@pytest.mark.parametrize("is_first", [False, True], ids=["later on", "by the first look"])
def test_access_that_ends_while_somebody_comes_in_is_seen(monkeypatch: pytest.MonkeyPatch, is_first: bool) -> None:
    mara = rows.member("mara")
    pair, watcher = tokens.issue(mara), cookie(rows.member("ash"))
    by_token, look = connection.by_token, hub.look
    is_out, is_read = asyncio.Event(), asyncio.Event()

    async def look_and_tell(*arguments: Any) -> Any:
        if is_first:
            await is_out.wait()
        is_after = is_out.is_set()
        found = await look(*arguments)
        if is_after:
            is_read.set()
        return found

    async def slowly(raw: str) -> Any:
        found = await by_token(raw)
        await in_database(sign_in.sign_out)(token=pair.refresh)
        is_out.set()
        await is_read.wait()
        await asyncio.sleep(0.1)  # this process deals with what has changed, and finds nobody of that name
        return found

    monkeypatch.setattr(connection, "by_token", slowly)
    monkeypatch.setattr(hub, "look", look_and_tell)

    async def go() -> tuple[int, str]:
        async with talking(LOBBY, headers=watcher) as other, talking(LOBBY) as talker:
            await other.hears("hello")
            await talker.hears("hello")
            talker.say({"type": "auth", "token": pair.access})
            return await talker.ends()

    assert run(go) == (4401, "unauthenticated")


def test_what_a_look_that_fails_had_found_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mara = rows.member("mara")
    headers, look_again, failures = cookie(mara), hub.look_again, []

    async def look_again_later(*arguments: Any) -> Any:
        if failures and failures[-1] is None:
            failures[-1] = OperationalError("away for a moment")
            raise failures[-1]
        return await look_again(*arguments)

    monkeypatch.setattr(hub, "look_again", look_again_later)

    async def go() -> tuple[int, str]:
        async with talking(LOBBY, headers=headers) as talker:
            await talker.hears("present", people=1)
            failures.append(None)
            await in_database(rows.ban)(mara)
            return await talker.ends()

    assert run(go) == (4403, "banned")
    assert isinstance(failures[0], OperationalError)


def test_a_ban_that_is_read_while_somebody_comes_in_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    mara = rows.member("mara")
    headers, watcher = cookie(mara), cookie(rows.member("ash"))
    look, look_in = hub.look, connection.look_in
    is_banned, is_read, is_in = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look_and_wait(*arguments: Any) -> Any:
        found = await look(*arguments)
        if mara.pk in found.users and is_banned.is_set():
            is_read.set()
            await is_in.wait()
        return found

    async def look_in_before(slug: str, who: Any) -> Any:
        found = await look_in(slug, who)
        if slug == "members":
            is_banned.set()
            await in_database(rows.ban)(mara)
            await is_read.wait()
        return found

    monkeypatch.setattr(hub, "look", look_and_wait)
    monkeypatch.setattr(connection, "look_in", look_in_before)

    async def go() -> tuple[int, str]:
        async with talking(LOBBY, headers=watcher) as other:
            await other.hears("present")
            async with talking(MEMBERS, headers=headers) as talker:  # a room that this process did not know
                await talker.hears("hello")
                is_in.set()
                return await talker.ends()

    assert run(go) == (4403, "banned")


def test_a_room_that_changes_while_somebody_comes_in_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    mara = rows.member("mara")
    headers, watcher = cookie(mara), cookie(rows.colleague("kim"))
    look_in = connection.look_in

    def change() -> None:
        room = Room.objects.get(slug="lobby")
        room.audience = Audience.STAFF
        room.save()

    async def go() -> tuple[int, str]:
        async with talking(LOBBY, headers=watcher) as other:
            await other.hears("present")

            async def look_in_before(*arguments: Any) -> Any:
                found = await look_in(*arguments)
                await in_database(change)()
                await other.hears("standing")
                return found

            monkeypatch.setattr(connection, "look_in", look_in_before)
            async with talking(LOBBY, headers=headers) as talker:
                await talker.hears("hello")
                return await talker.ends()

    assert run(go) == (4404, "not_found")


def test_a_room_that_changes_is_told_and_one_that_is_deleted_ends() -> None:
    headers = cookie(rows.member())

    def change() -> None:
        room = Room.objects.get(slug="lobby")
        room.topic = "Cats"
        room.save()

    async def go() -> tuple[int, str]:
        async with talking(LOBBY, headers=headers) as talker:
            await talker.hears("hello")
            await in_database(change)()
            assert (await talker.hears("standing"))["room"]["topic"] == "Cats"
            await in_database(Room.objects.filter(slug="lobby").delete)()
            talker.say({"type": "chat", "id": "a", "text": "x"})
            return await talker.ends()

    assert run(go) == (4404, "not_found")


# --- Once, and in order ---


def test_what_many_write_everybody_reads_once_and_in_order() -> None:
    people = [cookie(rows.member(f"m{n}")) for n in range(5)]

    async def go() -> tuple[list[list[int]], list[list[str]]]:
        async with AsyncExitStack() as stack:
            talkers = [await stack.enter_async_context(talking(MEMBERS, headers=headers)) for headers in people]
            for talker in talkers:
                await talker.hears("hello")
            for number in range(8):
                for who, talker in enumerate(talkers):
                    talker.say({"type": "chat", "id": f"{who}-{number}", "text": f"{who}-{number}"})
            found = [[await talker.hears("entry") for _ in range(40)] for talker in talkers]
            return [[e["number"] for e in one] for one in found], [[e["text"] for e in one] for one in found]

    numbers, texts = run(go)
    assert numbers == [list(range(1, 41))] * 5
    assert all(one == texts[0] for one in texts)
    for who in range(5):
        assert [text for text in texts[0] if text.startswith(f"{who}-")] == [f"{who}-{n}" for n in range(8)]


def test_a_message_that_is_sent_again_is_acknowledged_as_the_same() -> None:
    headers = cookie(rows.member())

    async def go() -> tuple[int, int]:
        numbers = []
        for _ in range(2):  # the second time over another connection
            async with talking(LOBBY, headers=headers) as talker:
                talker.say({"type": "chat", "id": "same", "text": "x"})
                numbers.append((await talker.hears("ack", id="same"))["number"])
        return numbers[0], numbers[1]

    assert run(go) == (1, 1)
    assert Entry.objects.count() == 1


@pytest.mark.parametrize(
    ("query", "after", "numbers"),
    [
        ("", 30, []),
        ("after=28", 28, [29, 30]),
        ("after=0", 10, list(range(11, 31))),  # no more than are given again at once
        ("after=30", 30, []),
        ("after=99", 30, []),
        ("after=-1", 30, []),
        ("after=x", 30, []),
        ("after=12345678901234567890", 30, []),
        ("after=%D9%A1", 30, []),  # a digit of another script
        ("after=1&after=29", 29, [30]),
        ("before=1", 30, []),
    ],
)
def test_whoever_comes_back_is_given_what_they_missed(
    query: str, after: int, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST_CATCH_UP", 20)
    author = rows.member("mara")
    rows.entries(Room.objects.get(slug="lobby"), 30, author)
    headers = cookie(author)

    async def go() -> Any:
        async with talking(LOBBY, query=query, headers=headers) as talker:
            hello = await talker.hears("hello")
            talker.say({"type": "chat", "id": "new", "text": "x"})
            found = []
            while 31 not in found:
                found.append((await talker.hears("entry"))["number"])
            return hello["after"], found

    assert run(go) == (after, [*numbers, 31])


def test_after_the_database_went_back_everybody_comes_back_to_what_it_has() -> None:
    """As after a failover to a replica that lacked the last commits."""
    headers = cookie(rows.member("mara"))

    def go_back() -> None:
        Entry.objects.filter(number__gt=1).delete()
        Room.objects.filter(slug="lobby").update(last_number=1)

    async def go() -> tuple[tuple[int, str], int]:
        async with talking(LOBBY, headers=headers) as talker:
            for name in ("a", "b", "c"):
                talker.say({"type": "chat", "id": name, "text": name})
                await talker.hears("ack", id=name)
            await in_database(go_back)()
            ended = await talker.ends()
        async with talking(LOBBY, headers=headers, query="after=3") as talker:
            await talker.hears("hello", last=1, after=1)
            talker.say({"type": "chat", "id": "d", "text": "d"})
            return ended, (await talker.hears("entry"))["number"]

    assert run(go) == ((1013, "unavailable"), 2)


def test_history_is_read_in_pages_in_both_directions() -> None:
    rows.entries(Room.objects.get(slug="lobby"), 25)

    async def go() -> list[Any]:
        async with talking(LOBBY) as talker:
            found = []
            for asked in ({}, {"before": 16}, {"before": 6}, {"after": 0}, {"after": 20}):
                talker.say({"type": "history", "limit": 10, **asked})
                heard = await talker.hears("history")
                found.append(([entry["number"] for entry in heard["entries"]], heard["more"]))
            return found

    assert run(go) == [
        (list(range(16, 26)), True),
        (list(range(6, 16)), True),
        (list(range(1, 6)), False),
        (list(range(1, 11)), True),
        (list(range(21, 26)), False),
    ]


# --- Every ending ---


@pytest.mark.parametrize("ending", ["client", "lost", "restart", "cancelled", "refused", "silent", "database"])
def test_however_it_ends_it_is_counted_once_and_nothing_is_left(
    ending: str, metric: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"cancelled": "error", "refused": "lost", "silent": "error", "database": "unavailable"}
    before = (
        metric("websocket_disconnects_total"),
        metric("websocket_disconnects_total", reason=reasons.get(ending, ending)),
    )
    headers = cookie(rows.member())
    monkeypatch.setattr(connection, "FAREWELL_SECONDS", 0.3)
    if ending == "database":

        async def away(*_: Any) -> Any:
            raise OperationalError("gone")

        monkeypatch.setattr(connection, "look_in", away)

    async def go() -> float:
        async with talking(MEMBERS, headers=headers) as talker:
            assert talker.serving is not None
            if ending != "database":
                await talker.hears("hello")
                assert metric("websocket_connections_total") == 1
            if ending in {"refused", "silent"}:  # as uvicorn does once the client is gone
                talker.refuses = True
                talker.say({"type": "ping"})
                await asyncio.sleep(0.05)
            codes = {"client": 1001, "lost": 1006, "restart": 1012, "refused": 1006}
            if ending in codes:
                talker.gives(type="websocket.disconnect", code=codes[ending])
            elif ending == "cancelled":
                talker.serving.cancel()
            await asyncio.wait({talker.serving}, timeout=10)
            assert talker.serving.done()
            return metric("websocket_connections_total")

    assert run(go) == 0
    assert metric("websocket_disconnects_total") == before[0] + 1
    assert metric("websocket_disconnects_total", reason=reasons.get(ending, ending)) == before[1] + 1


def test_what_cannot_be_handled_is_told_to_the_client_and_the_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(connection, "history_before", broken)

    async def go() -> Any:
        async with talking(LOBBY) as talker, talking(LOBBY) as other:
            await other.hears("hello")
            talker.say({"type": "history"})
            ended = await talker.ends()
            other.say({"type": "ping"})
            await other.hears("pong")
            return ended

    assert run(go) == (1011, "error")


def test_while_the_database_is_away_a_message_is_answered_with_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(connection, "history_before", away)

    async def go() -> Any:
        async with talking(LOBBY) as talker:
            talker.say({"type": "history"})
            error = await talker.hears("error")
            talker.say({"type": "ping"})
            await talker.hears("pong")
            return error["code"]

    assert run(go) == "try_again"


@pytest.mark.parametrize(
    ("first", "second", "end"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:f::9", (4429, "too_many")),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", None),
        ("203.0.113.7", "203.0.113.8", None),
        ("203.0.113.7", "::ffff:203.0.113.7", (4429, "too_many")),
    ],
)
def test_an_ipv6_network_has_as_many_connections_as_an_address(
    settings: Any, first: str, second: str, end: tuple[int, str] | None
) -> None:
    settings.CHAT_CONNECTIONS_PER_ADDRESS = 1

    async def go() -> tuple[int, str] | None:
        async with talking(LOBBY, address=first) as talker, talking(LOBBY, address=second) as other:
            await talker.hears("hello")
            found = await other.hears_or_ends()
            return other.ended if found is None else None

    assert run(go) == end


def test_who_has_too_many_connections_is_recorded(settings: Any, metric: Callable[..., float]) -> None:
    settings.CHAT_CONNECTIONS_PER_ADDRESS = 0
    before = metric("security_events_total", type="rate_limited")

    async def go() -> tuple[int, str]:
        async with talking(LOBBY) as talker:
            return await talker.ends()

    assert run(go) == (4429, "too_many")
    assert metric("security_events_total", type="rate_limited") == before + 1


@pytest.mark.parametrize(("origin", "status"), [(ORIGIN, "101"), ("https://other.example", "403")])
def test_a_handshake_is_counted_and_timed_as_a_get_of_its_route(
    asgi: AsgiClient, metric: Callable[..., float], monkeypatch: pytest.MonkeyPatch, origin: str, status: str
) -> None:
    monkeypatch.setattr(recording, "_children", {})  # of tests before in which no route was known
    labels = {"method": "GET", "route": "/ws/chat/<slug:slug>/"}

    def counts() -> list[float]:
        return [
            metric("http_requests_total", status=status, **labels),
            metric("http_request_duration_seconds_count", **labels),
            metric("http_requests_errors_total", **labels),
        ]

    async def shakes_hands() -> None:
        async with talking(LOBBY, headers={"origin": origin}) as client:
            if status == "101":
                await client.hears("hello")
            else:
                assert await client.ends()

    before = counts()
    run(shakes_hands)

    assert counts() == [before[0] + 1, before[1] + 1, before[2] + (status == "403")]
