"""With EMAIL_VERIFICATION_REQUIRED: no sign-in before the address is verified, and still nothing told to strangers."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress

from accounts.models import User
from accounts.tests.browser import PHRASE, Browser, text_of
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _required(settings: Any) -> None:
    settings.EMAIL_VERIFICATION_REQUIRED = True
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


def sign_up(browser: Browser, name: str, email: str) -> Any:
    return browser.send("/accounts/signup/", username=name, email=email, password1=PHRASE)


def api_login(asgi: AsgiClient, password: str = PHRASE) -> Answer:
    return asgi.post("/auth/login", json={"username": "nora", "password": password})


def test_signing_up_signs_in_only_after_the_link_was_followed(mailoutbox: list[Any]) -> None:
    browser = Browser()
    sign_up(browser, "nora", "nora@example.org")
    assert not browser.signed_in
    browser.sign_in("nora")
    assert not browser.signed_in

    link = re.search(r"http://testserver(/\S+)", mailoutbox[0].body)
    assert link
    browser.send(link[1])
    browser.sign_in("nora")

    assert browser.signed_in


def test_the_api_says_what_is_missing_to_who_has_the_password(
    asgi: AsgiClient, mailoutbox: list[Any], metric: Callable[..., float]
) -> None:
    asgi.post("/auth/register", json={"username": "nora", "email": "nora@example.org", "password": PHRASE})
    before = metric("auth_attempts_total", type="login")

    assert api_login(asgi).json["code"] == "email_not_verified"
    assert api_login(asgi, "wrong").json["code"] == "wrong_credentials"
    assert metric("auth_attempts_total", type="login") == before + 2
    EmailAddress.objects.update(verified=True)
    assert api_login(asgi).status == 200


def test_signing_up_does_not_tell_whether_an_address_is_taken(member: User, mailoutbox: list[Any]) -> None:
    taken, free = sign_up(Browser(), "nora", "mara@example.org"), sign_up(Browser(), "nina", "nina@example.org")

    assert taken.redirect_chain == free.redirect_chain
    assert taken.status_code == free.status_code
    assert [mail.to for mail in mailoutbox] == [["mara@example.org"], ["nina@example.org"]]
    assert "already" in mailoutbox[0].body
    assert User.objects.filter(username="nora").count() == 0


def test_too_many_sign_ups_from_one_network_are_refused_and_recorded(metric: Callable[..., float]) -> None:
    before = metric("security_events_total", type="rate_limited")
    for number in range(10):
        sign_up(Browser(), f"name{number}", f"name{number}@example.org")

    page = sign_up(Browser(), "one-more", "one-more@example.org")

    assert page.status_code == 429
    assert int(page["Retry-After"]) > 0
    assert "too often" in text_of(page)
    assert metric("security_events_total", type="rate_limited") == before + 1
