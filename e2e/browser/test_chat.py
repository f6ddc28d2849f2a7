"""People talk in Chromium: in two windows and with a program, by keyboard, on a phone, moderated, and read later."""

import json
import re

import pytest
from playwright.sync_api import expect

from e2e.browser.chatting import House, Seat, Seats, beside
from e2e.browser.test_accessibility import CONTEXT, RULES, WORST
from e2e.chat import chat, run
from e2e.servers import wait_for

pytestmark = [pytest.mark.once, pytest.mark.needs("chromium")]

HOSTILE = "<img src=x onerror=hacked=1> javascript:hacked=1 https://example.org/?a=1&b=<b>. https://x.test/" + "y" * 300

# What is added to the messages, with what screen readers are told of it.
WATCHED = """
const log = document.querySelector(".chat-log");
window.added = [];
new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes)
    if (node.classList?.contains("chat-entry")) added.push(log.getAttribute("aria-live"));
}).observe(log.querySelector(".chat-list"), { childList: true });
"""


def test_two_windows_and_a_program_talk(seats: Seats, chat_house: House) -> None:
    mara, ash = seats("mara", "talk"), seats("ash", "talk")
    guest = seats("", "talk")
    mara.says("from mara")
    ash.sees("from mara")
    ash.says("from ash\n and on")

    async def program() -> list[str]:
        async with chat(chat_house.server, "talk", token=chat_house.token, after=0) as client:
            await client.until(lambda: len(client.texts) == 2, "both arrive")
            await client.say("from a program")
            return client.texts

    assert beside(program) == ["from mara", "from ash\n and on", "from a program"]
    for seat in (mara, ash, guest):
        expect(seat.messages).to_have_text(["from mara", "from ash\n and on", "from a program"])
        expect(seat.page.locator(".chat-outbox .chat-entry")).to_have_count(0)
    expect(mara.page.locator(".chat-own")).to_have_text(re.compile("from mara"))
    expect(mara.page.locator(".chat-present")).to_have_text(re.compile("2 people and 1 guest here now"))
    expect(guest.composer).to_be_hidden()
    guest.page.get_by_role("link", name="Sign in to write").click()
    guest.page.wait_for_url("**/accounts/login/?next=/chat/talk/")


def test_times_are_the_readers_own(seats: Seats, chat_house: House) -> None:
    here = seats("ash", "times", timezone_id="Pacific/Auckland")
    there = seats("ash", "times", timezone_id="America/Los_Angeles")
    first = "[...document.querySelectorAll('.chat-list time')].map(t => [t.dateTime, t.textContent])[0]"
    (moment, told), (same, otherwise) = here.page.evaluate(first), there.page.evaluate(first)
    assert moment == same
    assert told != otherwise
    days = here.page.locator(".chat-day")
    assert days.count() >= 2
    assert len(set(days.all_inner_texts())) == days.count()


def test_moderators_delete_mute_and_ban_and_all_see_it(seats: Seats, chat_house: House) -> None:
    mara, ash, boss = (seats(name, "moderated") for name in ("mara", "ash", "boss"))
    mara.says("unkind words")
    ash.sees("unkind words")
    ash.acts_on("unkind words", "Report", reason="unkind")
    expect(ash.page.locator(".chat-told")).to_contain_text("The moderators will look at it")
    boss.acts_on("unkind words", "Delete", reason="unkind")
    for seat in (mara, ash, boss):
        expect(seat.messages).to_have_text(["This message was deleted."])
    assert chat_house.said_in("moderated") == [""]

    mara.says("and more")
    boss.sees("and more")
    boss.acts_on("and more", "Mute for 10 minutes", reason="cool down")
    expect(mara.composer).to_be_disabled()
    expect(mara.page.locator("#chat-why")).to_contain_text("A moderator has muted you. You can write again in 9 min")
    expect(ash.log).to_contain_text("mara was muted for 10 minutes.")
    boss.acts_on("and more", "Lift the mute")
    expect(mara.composer).to_be_enabled()

    boss.page.locator(".chat-entry").filter(has_text="and more").get_by_role("button", name="Act on").click()
    boss.page.get_by_role("menuitem", name="Ban until it is lifted").click()
    boss.page.get_by_role("button", name="Cancel").click()
    boss.acts_on("and more", "Ban until it is lifted", reason="enough")
    mara.reads("A moderator has shown you out of this room.")
    expect(mara.composer).to_be_disabled()
    mara.page.get_by_role("link", name="Why, and until when").click()
    expect(mara.page.get_by_text("The reason: enough")).to_be_visible()
    expect(ash.log).to_contain_text("mara was banned until a moderator lifts it.")


def test_one_may_delete_what_one_said_and_report_what_others_did(seats: Seats, chat_house: House) -> None:
    mara, ash = seats("mara", "own"), seats("ash", "own")
    mara.says("a slip")
    ash.sees("a slip")
    ash.page.get_by_role("button", name="Act on").click()
    expect(ash.page.get_by_role("menuitem")).to_have_text(["Report …"])
    mara.acts_on("a slip", "Delete")
    expect(ash.messages).to_have_text(["This message was deleted."])
    expect(mara.page.locator(".chat-entry")).to_be_focused()
    expect(mara.page.get_by_role("button", name="Act on")).to_have_count(0)


def test_a_membership_ends_while_the_page_is_open(seats: Seats, chat_house: House) -> None:
    lena = seats("lena", "members")
    lena.says("still here")
    lena.sees("still here")
    run(
        chat_house.installation,
        "from accounts import membership; from accounts.models import Membership;"
        "[membership.end(one) for one in Membership.objects.filter(user__username='lena')]",
    )
    lena.reads("This room is for members, and your membership has ended.")
    expect(lena.page.locator(".chat")).to_have_attribute("data-state", "ended")
    lena.page.get_by_role("link", name="See the plans").click()
    lena.page.wait_for_url("**/billing/plans/")
    lena.page.go_back()
    expect(lena.page.get_by_text("This room is for members.")).to_be_visible()


def test_signing_out_in_one_window_ends_the_other(seats: Seats) -> None:
    noor = seats.take("", "left")
    noor.signs_in("noor")
    noor.enters()
    other = noor.page.context.new_page()
    other.goto("/")
    other.locator("header").get_by_role("button", name="Sign out").click()
    noor.reads("You are signed out.")
    again = noor.page.get_by_role("link", name="Sign in again")
    expect(again).to_have_attribute("href", "/accounts/login/?next=%2Fchat%2Fleft%2F")


def test_what_is_new_is_marked_and_counted_and_nothing_jumps(seats: Seats, chat_house: House) -> None:
    ash, boss = seats("ash", "unread"), seats("boss", "unread")
    newest = ash.page.locator(".chat-newest")
    line = ash.page.locator(".chat-new + .chat-entry .chat-text")
    assert ash.is_at_end()
    expect(newest).to_be_hidden()

    ash.log.evaluate("log => { log.scrollTop = 300; }")
    expect(newest).to_have_text("To the newest")
    boss.says("while you read above")
    boss.says("and another")
    expect(newest).to_have_text("2 new messages")
    assert ash.position() == 300
    newest.click()
    assert ash.is_at_end()
    expect(newest).to_be_hidden()
    expect(line).to_have_text("while you read above")

    ash.becomes(hidden=True)
    boss.says("while you were away")
    for number in range(3):
        boss.says(f"and so on {number}")
    ash.sees("and so on 2")
    expect(ash.page).to_have_title(re.compile(r"^\(4\) "))
    expect(line).to_have_text("while you were away")
    ash.becomes(hidden=False)
    expect(newest).to_have_text("4 new messages")
    newest.click()
    expect(ash.page).to_have_title(re.compile(r"^unread", re.I))

    ash.page.goto("/chat/")
    boss.says("later")
    boss.says("and later still")
    wait_for(lambda: chat_house.said_in("unread")[-1] == "and later still", "it is stored")
    ash.enters()
    expect(line).to_have_text("later")
    ash.says("an answer")
    expect(ash.page.locator(".chat-new")).to_have_count(0)


def test_older_messages_come_as_one_scrolls_and_the_place_is_kept(seats: Seats, chat_house: House) -> None:
    ash, boss = seats("ash", "long"), seats("boss", "long")
    expect(ash.messages).to_have_count(50)
    expect(ash.log).to_have_attribute("aria-live", "polite")
    ash.page.evaluate(WATCHED)
    place = "document.querySelector('[data-number=\"82\"]').getBoundingClientRect().top"
    ash.log.evaluate("log => { log.scrollTop = 60; }")
    before = ash.page.evaluate(place)
    expect(ash.messages).to_have_count(100)
    assert abs(ash.page.evaluate(place) - before) < 3
    assert set(ash.page.evaluate("added")) == {"off"}

    older = ash.page.get_by_role("button", name="Older messages")
    older.evaluate("button => button.focus({ preventScroll: true })")  # a scroll would load by itself
    ash.page.keyboard.press("Enter")
    expect(ash.messages).to_have_count(130)
    assert ash.texts == [f"said {number}" for number in range(1, 131)]
    expect(older).to_be_hidden()
    expect(ash.page.get_by_text("This is where the room begins.")).to_be_visible()
    days = ash.page.locator(".chat-day").all_inner_texts()
    assert len(days) == len(set(days)) >= 3

    expect(ash.log).to_have_attribute("aria-live", "polite")
    ash.page.evaluate("added.length = 0")
    boss.says("news")
    ash.sees("news")
    assert ash.page.evaluate("added") == ["polite"]


def test_the_keyboard_alone_writes_and_deletes(seats: Seats, chat_house: House) -> None:
    mara = seats("mara", "keys")
    keyboard, focused = mara.page.keyboard, mara.page.locator(":focus")

    def tab_to(name: str, key: str = "Tab") -> None:
        for _ in range(30):
            keyboard.press(key)
            assert focused.evaluate("element => getComputedStyle(element).outlineStyle") != "none"
            if name in (
                focused.get_attribute("aria-label") or focused.inner_text() or focused.get_attribute("id") or ""
            ):
                return
        pytest.fail(f"The keyboard does not get to {name}.")

    tab_to("chat-text")
    keyboard.type("a draft")
    mara.page.reload()
    mara.is_in()
    expect(mara.composer).to_have_value("a draft")
    tab_to("chat-text")
    keyboard.press("End")
    keyboard.press("Shift+Enter")
    keyboard.type("of two lines")
    keyboard.press("Enter")
    mara.sees("a draft\nof two lines")
    assert chat_house.said_in("keys") == ["a draft\nof two lines"]
    expect(mara.composer).to_be_focused()
    expect(mara.composer).to_have_value("")

    tab_to("Act on the message of mara", "Shift+Tab")
    keyboard.press("Enter")
    expect(focused).to_have_text("Delete …")
    keyboard.press("Escape")
    expect(mara.page.get_by_role("menu")).to_have_count(0)
    expect(focused).to_have_attribute("aria-expanded", "false")
    keyboard.press("Enter")
    keyboard.press("Enter")
    expect(mara.page.get_by_role("dialog")).to_be_visible()
    keyboard.press("Escape")
    expect(mara.page.get_by_role("dialog")).to_be_hidden()
    expect(focused).to_have_attribute("aria-haspopup", "menu")
    for _ in range(3):
        keyboard.press("Enter")
    expect(mara.messages).to_have_text(["This message was deleted."])


def test_an_enter_that_ends_a_conversion_sends_nothing(seats: Seats, chat_house: House) -> None:
    """Safari says of the Enter by which Japanese or Chinese is chosen that nothing is composed any more."""
    mara = seats("mara", "converted")
    mara.composer.fill("こんにちは")
    mara.composer.evaluate(
        """text => text.dispatchEvent(new KeyboardEvent("keydown", {
            key: "Enter", keyCode: 229, isComposing: false, bubbles: true, cancelable: true,
        }))"""
    )
    expect(mara.composer).to_have_value("こんにちは")
    mara.composer.press("Enter")
    mara.sees("こんにちは")
    assert chat_house.said_in("converted") == ["こんにちは"]


def test_a_hostile_message_is_text_and_links_are_harmless(seats: Seats, chat_house: House) -> None:
    ash = seats("ash", "hostile", viewport={"width": 375, "height": 800})
    boss = seats("boss", "hostile")
    boss.says(HOSTILE)
    for _ in range(2):  # as it comes, and as the page is served
        expect(ash.messages).to_have_text([HOSTILE])
        assert ash.page.evaluate("document.querySelectorAll('.chat-log img, .chat-log b').length") == 0
        links = ash.page.locator(".chat-list a")
        assert [link.get_attribute("href") for link in links.all()] == [
            "https://example.org/?a=1&b=", "https://x.test/" + "y" * 300,
        ]  # fmt: skip
        assert {link.get_attribute("rel") for link in links.all()} == {"noopener nofollow ugc"}
        assert ash.page.evaluate("document.documentElement.scrollWidth") == 375
        assert ash.log.evaluate("log => log.scrollWidth === log.clientWidth")
        ash.page.reload()
        ash.is_in()
    assert ash.page.evaluate("typeof hacked") == "undefined"


def test_limits_are_said_before_they_are_met(seats: Seats, chat_house: House) -> None:
    mara = seats("mara", "slow")
    send = mara.page.get_by_role("button", name="Send")
    mara.composer.fill("x" * 1995)
    expect(mara.page.locator("#chat-count")).to_have_text("5 characters left")
    mara.composer.fill("x" * 2001)
    expect(mara.page.locator("#chat-count")).to_have_text("1 character too many")
    expect(send).to_be_disabled()
    other = seats("mara", "slow")
    mara.says("first")
    expect(mara.page.locator("#chat-why")).to_have_text(
        re.compile(r"This room is in slow mode. You can write again in \d s.")
    )
    expect(send).to_be_disabled()
    other.says("second")  # which knows nothing of the first
    failed = other.page.locator(".chat-failed")
    expect(failed).to_contain_text("One message every 4 seconds in this room.")
    expect(other.page.locator(".chat-told")).to_have_text("Not sent: One message every 4 seconds in this room.")
    expect(send).to_be_enabled()
    failed.get_by_role("button", name="Try again").press("Enter")
    expect(other.composer).to_be_focused()
    other.sees("second")
    expect(failed).to_have_count(0)
    assert chat_house.said_in("slow") == ["first", "second"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_room_keeps_nobody_out(seats: Seats, chat_house: House, axe: str, scheme: str) -> None:
    boss = seats.take("boss", scheme, viewport={"width": 375, "height": 800}, color_scheme=scheme)
    boss.enters()
    boss.says("mine, with a link: https://example.org/")
    boss.sees("mine, with")
    found = _faults(boss, axe)
    boss.page.get_by_role("button", name="Act on").first.click()
    found += _faults(boss, axe)
    boss.page.get_by_role("menuitem").first.click()
    assert found + _faults(boss, axe) == []
    assert boss.page.evaluate("document.documentElement.scrollWidth") == 375


def _faults(seat: Seat, axe: str) -> list[str]:
    seat.page.evaluate(axe)
    found = seat.page.evaluate(f"axe.run({json.dumps(CONTEXT)}, {json.dumps(RULES)})")
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in WORST
        for node in violation["nodes"]
    ]
