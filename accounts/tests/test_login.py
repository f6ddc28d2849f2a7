"""POST /auth/login."""

from collections.abc import Callable

import pytest

from accounts.models import User
from bambisleep.tests.client import AsgiClient

pytestmark = pytest.mark.django_db


def test_it_gives_tokens_that_open_me(asgi: AsgiClient, member: User) -> None:
    answer = asgi.post("/auth/login", json={"username": "mara", "password": "a long enough phrase"})

    assert answer.status == 200
    assert answer.json["expires_in"] == 600
    me = asgi.get("/auth/me", headers={"Authorization": f"Bearer {answer.json['access']}"})
    assert me.status == 200
    assert me.json["username"] == "mara"


def test_it_counts_a_failure_once(asgi: AsgiClient, member: User, metric: Callable[..., float]) -> None:
    attempts = metric("auth_attempts_total", type="login", success="false")
    errors = metric("http_requests_errors_total", route="/auth/login")

    answer = asgi.post("/auth/login", json={"username": "mara", "password": "wrong"})

    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert metric("auth_attempts_total", type="login", success="false") == attempts + 1
    assert metric("http_requests_errors_total", route="/auth/login") == errors + 1
