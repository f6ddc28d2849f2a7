"""What the JSON endpoints answer while the database does not."""

from typing import Any

import pytest
from django.db import OperationalError, connection

from bambisleep.tests.client import AsgiClient

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("method", "path"), [("GET", "/dora"), ("POST", "/auth/login"), ("POST", "/auth/register")])
def test_it_is_a_503_that_says_when_to_come_back(asgi: AsgiClient, metric: Any, method: str, path: str) -> None:
    def no_answer(*_: Any) -> None:
        raise OperationalError("connection to server at 10.0.0.5 failed")

    body = {"username": "nora", "email": "nora@example.org", "password": "a long enough phrase"}
    errors = metric("http_requests_errors_total", route=path, type="server_error")

    with connection.execute_wrapper(no_answer):
        answer = asgi.request(method, path, json=body if method == "POST" else None)

    assert answer.status == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert b"10.0.0.5" not in answer.body
    assert metric("http_requests_errors_total", route=path, type="server_error") == errors + 1
