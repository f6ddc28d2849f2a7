"""POST /auth/login of an account with a second factor."""

from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator

from accounts.models import User
from accounts.tests.browser import PHRASE, Browser, add_authenticator, code_of
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def secret(member: User) -> str:
    """Of the authenticator app that mara has added."""
    browser = Browser()
    browser.sign_in()
    return add_authenticator(browser)


def login(asgi: AsgiClient, password: str = PHRASE, **more: str) -> Answer:
    return asgi.post("/auth/login", json={"username": "mara", "password": password, **more})


def test_a_right_password_alone_is_asked_for_the_code(asgi: AsgiClient, secret: str) -> None:
    answer = login(asgi)

    assert answer.status == 401
    assert answer.json["code"] == "second_factor_required"


def test_password_and_code_together_sign_in(asgi: AsgiClient, secret: str, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total", type="login", success="true")
    all_before = metric("auth_attempts_total")

    login(asgi)
    answer = login(asgi, code=code_of(secret, steps=1))

    assert answer.status == 200
    assert metric("auth_attempts_total", type="login", success="true") == before + 1
    assert metric("auth_attempts_total") == all_before + 1


@pytest.mark.parametrize("code", ["", "000000"])
def test_who_lacks_the_password_is_not_told_that_there_is_a_second_factor(
    asgi: AsgiClient, secret: str, code: str
) -> None:
    with_factor = login(asgi, "wrong", code=code)
    without = asgi.post("/auth/login", json={"username": "nobody", "password": "wrong", "code": code})

    assert (with_factor.status, without.status) == (401, 401)
    assert {**with_factor.json, "request_id": ""} == {**without.json, "request_id": ""}


@pytest.mark.parametrize("code", ["000000", "x", "12345678901234567890", "ⅷⅷⅷⅷⅷⅷ", " "])
def test_a_wrong_code_counts_as_one_failure(
    asgi: AsgiClient, secret: str, code: str, metric: Callable[..., float]
) -> None:
    before = metric("auth_attempts_total", type="login", success="false")
    all_before = metric("auth_attempts_total")

    answer = login(asgi, code=code)

    assert answer.status == 401
    if code.strip():
        assert answer.json["code"] == "wrong_code"
        assert metric("auth_attempts_total", type="login", success="false") == before + 1
        assert metric("auth_attempts_total") == all_before + 1


def test_a_code_works_once_whichever_door(asgi: AsgiClient, secret: str) -> None:
    code = code_of(secret, steps=1)

    assert login(asgi, code=code).status == 200
    assert login(asgi, code=code).status == 401
    browser = Browser()
    browser.sign_in()
    browser.send("/accounts/2fa/authenticate/", code=code)
    assert not browser.signed_in


@pytest.mark.parametrize("written", ["{0} {1}", "{0}-{1}", " {0}{1} "])
def test_a_code_may_be_written_in_groups(asgi: AsgiClient, secret: str, written: str) -> None:
    code = code_of(secret, steps=1)

    assert login(asgi, code=written.format(code[:3], code[3:])).status == 200
    assert login(asgi, code=code).status == 401


def test_a_recovery_code_works_once(asgi: AsgiClient, secret: str) -> None:
    code = Authenticator.objects.get(type=Authenticator.Type.RECOVERY_CODES).wrap().get_unused_codes()[3]

    assert login(asgi, code=code).status == 200
    assert login(asgi, code=code).status == 401


def test_a_code_for_an_account_without_a_second_factor_is_ignored(asgi: AsgiClient, member: User) -> None:
    assert login(asgi, code="123456").status == 200
