"""POST /auth/logout."""

from collections.abc import Callable

import pytest

from accounts import tokens
from accounts.models import User
from accounts.tokens import TokenPair
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def pair(member: User) -> TokenPair:
    return tokens.issue(member)


def logout(asgi: AsgiClient, token: str) -> Answer:
    return asgi.post("/auth/logout", json={"refresh": token})


def test_it_ends_the_access_token_at_once(asgi: AsgiClient, pair: TokenPair) -> None:
    headers = {"Authorization": f"Bearer {pair.access}"}
    assert asgi.get("/auth/me", headers=headers).status == 200

    answer = logout(asgi, pair.refresh)

    assert (answer.status, answer.body) == (204, b"")
    assert asgi.get("/auth/me", headers=headers).status == 401


def test_it_ends_the_refresh_token(asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]) -> None:
    logout(asgi, pair.refresh)
    before = metric("security_events_total", type="token_reuse")

    assert asgi.post("/auth/refresh", json={"refresh": pair.refresh}).status == 401
    assert metric("security_events_total", type="token_reuse") == before


def test_a_refresh_token_that_was_exchanged_still_signs_out(asgi: AsgiClient, pair: TokenPair) -> None:
    newer = asgi.post("/auth/refresh", json={"refresh": pair.refresh}).json

    assert logout(asgi, pair.refresh).status == 204
    assert asgi.post("/auth/refresh", json={"refresh": newer["refresh"]}).status == 401


def test_it_ends_no_other_sign_in(asgi: AsgiClient, member: User, pair: TokenPair) -> None:
    other = tokens.issue(member)

    logout(asgi, pair.refresh)

    assert asgi.post("/auth/refresh", json={"refresh": other.refresh}).status == 200


def test_signing_out_twice_is_no_error(asgi: AsgiClient, pair: TokenPair) -> None:
    assert logout(asgi, pair.refresh).status == 204
    assert logout(asgi, pair.refresh).status == 204


def test_it_is_no_attempt_to_use_a_token(asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total")

    logout(asgi, pair.refresh)

    assert metric("auth_attempts_total") == before


def test_it_counts_a_failure_once(asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total", type="jwt", success="false")
    all_before = metric("auth_attempts_total")

    answer = logout(asgi, pair.access)

    assert answer.status == 401
    assert metric("auth_attempts_total", type="jwt", success="false") == before + 1
    assert metric("auth_attempts_total") == all_before + 1
