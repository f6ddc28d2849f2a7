"""Passkeys, with an authenticator that Chromium itself plays."""

import pytest

from e2e.browser.site import Visitor

pytestmark = pytest.mark.needs("chromium")

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def with_authenticator(visitor: Visitor) -> Visitor:
    """Give the visitor's device one that holds no passkey yet."""
    session = visitor.page.context.new_cdp_session(visitor.page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return visitor


def test_a_passkey_is_added_and_signs_in_without_name_or_password(visit, member) -> None:
    visitor = with_authenticator(visit())
    visitor.signs_in(member)
    visitor.opens("/accounts/2fa/webauthn/add/")
    visitor.confirms_who_it_is(member)
    visitor.fills(name="My laptop")
    visitor.page.get_by_label("Passwordless").check()
    visitor.presses("Add")
    visitor.page.wait_for_url(lambda url: "/add/" not in url)
    if visitor.page.get_by_label("I have saved my recovery codes").count():
        visitor.page.get_by_label("I have saved my recovery codes").check()
    visitor.opens("/accounts/2fa/webauthn/")
    visitor.reads("My laptop")
    visitor.signs_out()

    visitor.opens("/accounts/login/")
    visitor.presses("Sign in with a passkey")
    visitor.page.wait_for_url("/")
    assert visitor.is_signed_in()
    visitor.reads(member.name)


def test_a_device_that_has_no_passkey_is_told_on_the_page(visit) -> None:
    visitor = with_authenticator(visit())
    visitor.opens("/accounts/login/")
    visitor.presses("Sign in with a passkey")
    visitor.reads("Your device did not confirm.")
    assert visitor.page.get_by_role("alert").is_visible()


def test_without_scripts_passkeys_are_not_offered_and_everything_else_is(visit) -> None:
    visitor = visit(javascript=False)
    visitor.opens("/accounts/login/")
    assert not visitor.page.locator("#passkey_login").is_visible()
    visitor.reads("Send me a code by e-mail")
