"""An authenticator app, and the codes for when it is lost."""

import re

import pytest

from e2e.browser.site import code

pytestmark = pytest.mark.needs("chromium")


def test_an_app_is_set_up_and_asked_for_at_the_next_sign_in(visit, member, javascript) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    secret = visitor.sets_up_an_app(member)
    visitor.signs_out()

    visitor.signs_in(member)
    visitor.page.wait_for_url("/accounts/2fa/authenticate/")
    assert not visitor.is_signed_in()
    visitor.fills(code="000000")
    visitor.presses("Sign in")
    visitor.reads("The code is wrong, or was used before.")
    visitor.fills(code=code(secret, steps_ahead=1))
    visitor.presses("Sign in")
    visitor.page.wait_for_url("/")
    assert visitor.is_signed_in()


def test_each_recovery_code_lets_in_once(visit, member, javascript) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    visitor.sets_up_an_app(member)
    codes = visitor.page.locator("#recovery_codes").input_value().split()
    assert len(codes) == len(set(codes)) >= 8
    if javascript:  # the page asks whether they were kept
        visitor.page.get_by_label("I have saved my recovery codes").check()
    visitor.signs_out()

    visitor.signs_in(member)
    visitor.fills(code=codes[0])
    visitor.presses("Sign in")
    visitor.page.wait_for_url("/")
    visitor.signs_out()

    visitor.signs_in(member)
    visitor.fills(code=codes[0])
    visitor.presses("Sign in")
    visitor.reads("The code is wrong, or was used before.")
    visitor.fills(code=codes[1])
    visitor.presses("Sign in")
    visitor.page.wait_for_url("/")
    assert visitor.is_signed_in()


def test_the_picture_to_scan_stands_in_the_page_itself(visit, member) -> None:
    visitor = visit()
    visitor.signs_in(member)
    visitor.opens("/accounts/2fa/totp/activate/")
    visitor.confirms_who_it_is(member)
    picture = visitor.page.get_by_role("img", name=re.compile("QR code"))
    box = picture.locator("svg").bounding_box()
    assert box is not None
    assert box["width"] > 150
    assert visitor.page.locator("img[src^='data:']").count() == 0
