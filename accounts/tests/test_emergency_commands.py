"""manage.py sign_out and reencrypt_second_factors: what an operator does when a session or a key was stolen."""

from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command

from accounts import tokens
from accounts.models import RefreshFamily, User
from accounts.tests.browser import Browser, add_authenticator, code_of

pytestmark = pytest.mark.django_db

NEXT = "the-next-key-for-tests-only-that-is-long-enough-to-be-accepted-0123456789"


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_an_account_is_signed_out_of_browsers_and_of_the_api(member: User, staff: User) -> None:
    browser, other = Browser(), Browser()
    browser.sign_in()
    other.sign_in(staff.username)
    tokens.issue(member)

    assert "1 accounts" in run("sign_out", member.email)

    assert not browser.signed_in
    assert other.signed_in
    assert not RefreshFamily.objects.filter(user=member, revoked_at=None).exists()


def test_everybody_is_signed_out(member: User, staff: User) -> None:
    browsers = [Browser(), Browser()]
    for browser, user in zip(browsers, (member, staff), strict=True):
        browser.sign_in(user.username)

    assert "2 accounts" in run("sign_out", "--everybody")

    assert [browser.signed_in for browser in browsers] == [False, False]


def test_a_dry_run_signs_nobody_out(member: User) -> None:
    browser = Browser()
    browser.sign_in()

    assert "1 accounts would be" in run("sign_out", "mara", "--dry-run")

    assert browser.signed_in


@pytest.mark.parametrize("arguments", [[], ["mara", "--everybody"], ["nobody-of-that-name"]])
def test_it_is_told_whom_or_does_nothing(member: User, arguments: list[str]) -> None:
    browser = Browser()
    browser.sign_in()

    with pytest.raises(CommandError):
        run("sign_out", *arguments)

    assert browser.signed_in


def test_second_factors_that_were_encrypted_anew_need_the_former_key_no_more(member: User, settings: Any) -> None:
    browser = Browser()
    browser.sign_in()
    secret = add_authenticator(browser)
    former = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEXT, [former]

    assert "2 second factors would be" in run("reencrypt_second_factors", "--dry-run")
    assert "2 second factors were" in run("reencrypt_second_factors")
    assert "0 second factors were" in run("reencrypt_second_factors")

    settings.SECRET_KEY_FALLBACKS = []
    other = Browser()
    other.sign_in()
    other.send("/accounts/2fa/authenticate/", code=code_of(secret, steps=1))
    assert other.signed_in


def test_a_dry_run_encrypts_nothing(member: User, settings: Any) -> None:
    browser = Browser()
    browser.sign_in()
    add_authenticator(browser)
    before = list(Authenticator.objects.order_by("pk").values_list("data", flat=True))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEXT, [settings.SECRET_KEY]

    run("reencrypt_second_factors", "--dry-run")

    assert list(Authenticator.objects.order_by("pk").values_list("data", flat=True)) == before


def test_a_second_factor_that_no_key_opens_is_named_and_left_as_it_is(member: User, settings: Any) -> None:
    browser = Browser()
    browser.sign_in()
    add_authenticator(browser)
    before = list(Authenticator.objects.order_by("pk").values_list("data", flat=True))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEXT, []

    with pytest.raises(CommandError, match=f"accounts {member.pk}: name the key"):
        run("reencrypt_second_factors")

    assert list(Authenticator.objects.order_by("pk").values_list("data", flat=True)) == before
