"""A key is replaced in three steps (SECURITY.md, "Key rotation"): nobody is signed out while both are listed, and what
the former one signed is worth nothing once it is listed no more."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as site

from accounts import tokens
from accounts.models import User
from accounts.tests.browser import Browser
from bambisleep.tests.client import AsgiClient
from realtime import identity

pytestmark = pytest.mark.django_db

FORMER = site.SECRET_KEY
NEXT = "the-next-key-for-tests-only-that-is-long-enough-to-be-accepted-0123456789"
FORMER_JWT, NEXT_JWT = "former-signing-key-" * 3, "next-signing-key-" * 3


@pytest.fixture
def keys(settings: Any) -> Callable[..., None]:
    """Restart the site with these keys: the newest first."""

    def are(*keys: str) -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = keys[0], list(keys[1:])

    return are


@pytest.fixture
def jwt_keys(settings: Any) -> Callable[..., None]:
    """The same, of the API's."""

    def are(*keys: str) -> None:
        settings.JWT_SIGNING_KEY, settings.JWT_SIGNING_KEY_FALLBACKS = keys[0], list(keys[1:])

    return are


def session_key_of(browser: Browser) -> str:
    return browser.cookies[site.SESSION_COOKIE_NAME].value


def test_a_browser_stays_signed_in_through_every_step(member: User, keys: Callable[..., None]) -> None:
    browser = Browser()
    browser.sign_in()
    for step in ((FORMER, NEXT), (NEXT, FORMER)):
        keys(*step)
        assert browser.signed_in


def test_a_page_that_asks_for_several_things_at_once_keeps_its_session(member: User, keys: Callable[..., None]) -> None:
    """What is under way carries the cookie as it was: a session may not get another id because of a key."""
    browser, beside = Browser(), Browser()
    browser.sign_in()
    beside.cookies.load({site.SESSION_COOKIE_NAME: session_key_of(browser)})
    keys(NEXT, FORMER)
    assert browser.signed_in
    assert beside.signed_in


def test_a_socket_that_comes_back_after_the_restart_signs_nobody_out(member: User, keys: Callable[..., None]) -> None:
    browser = Browser()
    browser.sign_in()
    keys(NEXT, FORMER)
    known = identity.by_session(session_key_of(browser))
    assert known is not None
    assert known.user == member
    assert browser.signed_in


def test_a_browser_that_was_in_use_meanwhile_outlives_the_former_key(
    member: User, keys: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts import sessions

    browser = Browser()
    browser.sign_in()
    keys(NEXT, FORMER)
    monkeypatch.setattr(sessions, "SEEN_EVERY_SECONDS", -1)  # as though it was seen some minutes ago
    assert browser.signed_in
    keys(NEXT)
    assert browser.signed_in


def test_a_session_of_a_key_that_is_listed_no_more_is_worth_nothing(member: User, keys: Callable[..., None]) -> None:
    browser = Browser()
    browser.sign_in()
    keys(NEXT)
    assert identity.by_session(session_key_of(browser)) is None
    assert not browser.signed_in


def test_api_clients_stay_signed_in_through_every_step(
    asgi: AsgiClient, member: User, jwt_keys: Callable[..., None]
) -> None:
    jwt_keys(FORMER_JWT)
    pair = tokens.issue(member)
    for step in ((FORMER_JWT, NEXT_JWT), (NEXT_JWT, FORMER_JWT)):
        jwt_keys(*step)
        assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 200
        assert identity.by_token(pair.access) is not None
        answer = asgi.post("/auth/refresh", json={"refresh": pair.refresh})
        assert answer.status == 200
        pair = tokens.TokenPair(**answer.json)
    jwt_keys(NEXT_JWT)
    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 200


def test_processes_with_the_former_and_with_the_next_key_know_each_others_tokens(
    asgi: AsgiClient, member: User, jwt_keys: Callable[..., None]
) -> None:
    """During a rolling restart both serve the same client."""
    jwt_keys(NEXT_JWT, FORMER_JWT)
    pair = tokens.issue(member)
    jwt_keys(FORMER_JWT, NEXT_JWT)
    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 200


def test_a_token_of_a_key_that_is_listed_no_more_is_worth_nothing(
    asgi: AsgiClient, member: User, jwt_keys: Callable[..., None]
) -> None:
    jwt_keys(FORMER_JWT)
    pair = tokens.issue(member)
    jwt_keys(NEXT_JWT, "yet-another-key-" * 3)
    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401
    assert asgi.post("/auth/refresh", json={"refresh": pair.refresh}).status == 401
    assert identity.by_token(pair.access) is None


def test_an_outdated_token_of_a_former_key_is_as_outdated(
    asgi: AsgiClient, member: User, jwt_keys: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    jwt_keys(FORMER_JWT)
    monkeypatch.setattr(tokens.AccessToken, "lifetime", timedelta(minutes=-5))
    pair = tokens.issue(member)
    jwt_keys(NEXT_JWT, FORMER_JWT)
    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401
