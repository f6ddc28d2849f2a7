"""Every page: nothing that keeps people out (axe), nothing wider than a phone, nothing that the policy blocks."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from e2e.browser.site import ADMIN, READER, Account, Site, Visitor

pytestmark = [pytest.mark.once, pytest.mark.needs("chromium")]

ANYONE = ["/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/password/reset/done/"]
ANYONE += ["/accounts/login/code/", "/accounts/confirm-email/", "/accounts/confirm-email/not-a-key/"]
ANYONE += ["/accounts/password/reset/key/1-set-password/", "/accounts/inactive/", "/no/such/page", "/api/docs"]
ANYONE += ["/docs/chat/"]
ANYONE += ["/billing/plans/", "/content/", "/content/?kind=audio&tag=nothing", "/content/search/?q=sleep"]
ANYONE += ["/content/search/?q=the", "/content/search/?q=nothing+like+it", "/content/collections/demo-first-nights/"]
ANYONE += ["/content/tags/sleep/", "/content/awkward/", "/content/demo-breathing-with-the-light/"]
ANYONE += ["/content/demo-rain-far-away/", "/chat/", "/chat/demo-lobby/"]
READERS = ["/content/", "/content/continue/", "/content/demo-rain-far-away/", "/content/demo-when-sleep-does-not-come/"]
READERS += ["/content/search/?q=clock", "/chat/", "/chat/demo-lobby/", "/chat/demo-night-room/"]
MEMBER = ["/", "/accounts/email/", "/accounts/password/change/", "/accounts/2fa/", "/accounts/2fa/totp/activate/"]
MEMBER += ["/accounts/2fa/webauthn/", "/accounts/2fa/webauthn/add/", "/accounts/sessions/", "/accounts/data/"]
MEMBER += ["/accounts/data/delete/", "/accounts/logout/", "/accounts/reauthenticate/", "/admin/login/"]
MEMBER += ["/billing/plans/", "/billing/", "/billing/done/", "/content/continue/", "/content/demo-rain-far-away/"]
STAFF = ["/admin/", "/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/accounts/user/1/change/"]
STAFF += ["/admin/observability/securityevent/", "/admin/delivery/deployment/", "/admin/password_change/"]
STAFF += ["/content/demo-the-morning-after/?as=visitor", "/content/demo-rain-far-away/?as=member"]
STAFF += ["/admin/payments/", "/admin/payments/movement/overview/", "/admin/payments/webhookevent/"]
STAFF += ["/admin/realtime/room/", "/admin/realtime/entry/", "/admin/realtime/report/"]
STAFF += ["/admin/realtime/restriction/add/", "/admin/realtime/moderationaction/"]
WORST = {"serious", "critical"}
# Made by Django's own script for choosing groups and permissions: a label on an icon that has no role.
CONTEXT: dict[str, Any] = {"exclude": [[".help-tooltip.search-label-icon"]]}
RULES: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
COLOURS: dict[str, Any] = {**RULES, "runOnly": ["color-contrast"]}  # all that the dark changes


@pytest.fixture(scope="module")
def site(site_with_library: Site) -> Site:
    """The one with something to read."""
    return site_with_library


def faults(visitor: Visitor, axe: str, *, rules: dict[str, Any] = RULES) -> list[str]:
    """What axe finds of the two worst kinds on the page that is open."""
    visitor.page.evaluate(axe)
    found = visitor.page.evaluate(f"axe.run({json.dumps(CONTEXT)}, {json.dumps(rules)})")
    return [
        f"{visitor.page.url}: {violation['id']}: {violation['help']}: {node['html'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in WORST
        for node in violation["nodes"]
    ]


def look(visitor: Visitor, axe: str, paths: list[str]) -> list[str]:
    """Faults of all of them, in the light and in the dark, on a phone."""
    found = []
    visitor.page.set_viewport_size({"width": 375, "height": 800})
    for path in paths:
        visitor.page.emulate_media(color_scheme="light")
        visitor.opens(path)
        visitor.page.wait_for_load_state("networkidle")
        found += faults(visitor, axe)
        width = visitor.page.evaluate("document.documentElement.scrollWidth")
        if width > 375 and not path.startswith("/admin/"):  # whose tables Django lets grow
            found.append(f"{path} is {width} pixels wide on a screen of 375.")
        visitor.page.emulate_media(color_scheme="dark")
        visitor.page.evaluate("new Promise(requestAnimationFrame)")  # the colours begin to change …
        visitor.page.evaluate("Promise.allSettled(document.getAnimations().map((each) => each.finished))")  # … and have
        found += faults(visitor, axe, rules=COLOURS)
    return found


def test_the_pages_for_everyone_keep_nobody_out(visit: Callable[..., Visitor], axe: str) -> None:
    assert look(visit(), axe, ANYONE) == []


def test_the_pages_of_an_account_keep_nobody_out(visit: Callable[..., Visitor], axe: str, member: Account) -> None:
    visitor = visit()
    visitor.signs_in(member)
    assert look(visitor, axe, MEMBER) == []


def test_the_library_keeps_no_reader_out(visit: Callable[..., Visitor], axe: str) -> None:
    visitor = visit()
    visitor.signs_in(Account(READER))
    assert look(visitor, axe, READERS) == []


def test_the_pages_on_the_way_in_keep_nobody_out(visit: Callable[..., Visitor], axe: str, member: Account) -> None:
    visitor = visit()
    visitor.signs_in(member)
    visitor.sets_up_an_app(member)
    found = faults(visitor, axe)  # the recovery codes
    visitor.page.get_by_label("I have saved my recovery codes").check()
    visitor.signs_out()
    visitor.signs_in(member)
    found += faults(visitor, axe)  # the second factor
    visitor.presses("Cancel")
    visitor.opens("/accounts/login/")
    visitor.fills(login="nobody", password="wrong")
    visitor.presses("Sign in")
    assert found + faults(visitor, axe) == []  # a form with errors


def test_the_admin_keeps_nobody_out(visit: Callable[..., Visitor], axe: str) -> None:
    visitor = visit()
    visitor.signs_in(Account(ADMIN))
    assert look(visitor, axe, STAFF) == []


def test_the_keyboard_alone_signs_in_and_out(visit: Callable[..., Visitor], member: Account, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.opens("/")
    keyboard = visitor.page.keyboard

    def focused() -> str:
        element = visitor.page.locator(":focus")
        outline = element.evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline != "none", "what has the focus does not show it"
        return (element.inner_text() or element.get_attribute("name") or "").strip()

    def tab_to(name: str) -> None:
        for _ in range(40):
            keyboard.press("Tab")
            if focused() == name:
                return
        pytest.fail(f"The keyboard does not get to {name}.")

    keyboard.press("Tab")
    assert focused() == "Skip to the content"
    tab_to("Sign in")
    keyboard.press("Enter")
    visitor.page.wait_for_url("/accounts/login/")
    tab_to("login")
    keyboard.type(member.name)
    tab_to("password")
    keyboard.type(member.password)
    keyboard.press("Enter")
    visitor.page.wait_for_url("/")
    assert visitor.is_signed_in()
    tab_to("Sign out")
    keyboard.press("Enter")
    visitor.page.locator("header").get_by_role("link", name="Sign in").wait_for()


def test_whoever_wants_no_motion_sees_none(visit: Callable[..., Visitor]) -> None:
    visitor = visit(reduced_motion="reduce")
    visitor.opens("/")
    assert visitor.page.evaluate("getComputedStyle(document.querySelector('.button')).transitionDuration") == "0s"
