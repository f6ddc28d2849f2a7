"""Asking servers over HTTP: an answer of any status, or a sentence that says why there is none."""

import base64
import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPErrorProcessor, ProxyHandler, Request, build_opener

SECONDS = 15.0


class NoAnswer(Exception):
    """A server did not answer, or not as it should: the text says where and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    url: str
    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body, as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body, as JSON; raises NoAnswer for any other."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise NoAnswer(f"{self.url} answers {self.status}, but not with JSON") from None

    def samples(self, metric: str) -> list[tuple[str, float]]:
        """Of a page of metrics: the labels, as text, and the value of each series of `metric`."""
        found = re.findall(rf"^{re.escape(metric)}(?:\{{(.*)\}})? (\S+)", self.text, re.MULTILINE)
        return [(labels, float(value)) for labels, value in found]


def ask(
    url: str,
    *,
    query: dict[str, str] | None = None,
    body: Any = None,
    token: str = "",
    password: tuple[str, str] | None = None,
) -> Answer:
    """GET a page, or POST `body` to it as JSON.

    Args:
        url: an absolute address.
        query: parameters of the address.
        body: what to POST.
        token: a bearer token.
        password: name and password for HTTP's basic authentication.

    Raises:
        NoAnswer: where nothing came back that is HTTP.
    """
    request = Request(f"{url}?{urlencode(query)}" if query else url)  # noqa: S310 - settings.py let http(s) through only
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if password:
        request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(password).encode()).decode()}")
    try:
        with _opener.open(request, timeout=SECONDS) as response:
            return Answer(url, response.status, response.read())
    except (OSError, HTTPException, UnicodeError) as error:  # URLError is an OSError
        raise NoAnswer(f"{url}: {_reason(error)}") from None


class _AnyStatus(HTTPErrorProcessor):
    """Every status is an answer; redirects are not followed."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


_opener = build_opener(ProxyHandler({}), _AnyStatus)  # no proxy: the servers are this machine's, or its neighbours'


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask each second until `condition` is true; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def _reason(error: BaseException) -> str:
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:.0f} s"
    if isinstance(error, socket.gaierror):
        return "no such host"
    return str(error) or type(error).__name__
