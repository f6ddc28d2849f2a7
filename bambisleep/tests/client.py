"""An ASGI client for tests: Django's test client goes round the edge, this one through it."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from observability.http.edge import Edge
from observability.http.handler import Handler
from observability.http.routes import expect_known_routes
from realtime.routing import ROUTES, websockets


class SameThreadHandler(Handler):
    """Runs sync code in the test's own thread, and so inside the test's transaction."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle, without a thread of the request's own."""
        await self.handle(scope, receive, send)


@dataclass
class Answer:
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class AsgiClient:
    """Calls the application as an ASGI server does.

    answer = asgi.post("/auth/login", json={"username": "mara", "password": "…"})
    """

    def __init__(self) -> None:
        expect_known_routes(sockets=ROUTES)
        self.application = Edge(_Protocols(SameThreadHandler()))

    def get(self, path: str, **more: Any) -> Answer:
        """GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> Answer:
        """POST."""
        return self.request("POST", path, **more)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        query: str | bytes = "",
        client: tuple[str, int] = ("203.0.113.7", 50_000),
        raw_path: bytes | None = None,
        chunks: list[bytes] | None = None,
        hang_up: bool = False,
    ) -> Answer:
        """Send one request and read the response to its end.

        Args:
            json: sent as the body, with its content type.
            chunks: the body in parts, without Content-Length.
            hang_up: the client goes away right after sending the request.
        """
        sent = {"host": "testserver", **{name.lower(): value for name, value in (headers or {}).items()}}
        if json is not None:
            body = _dumps(json)
            sent.setdefault("content-type", "application/json")
        if chunks is None:
            chunks = [body]
            if body:
                sent.setdefault("content-length", str(len(body)))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": raw_path if raw_path is not None else path.encode("utf-8", "surrogatepass"),
            "query_string": query.encode() if isinstance(query, str) else query,
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
            "client": client,
            "server": ("testserver", 80),
        }
        # As Django's own test client does: a test's request must not close the connection that holds its transaction.
        for signal in (request_started, request_finished):
            signal.disconnect(close_old_connections)
        try:
            return _call(self.application, scope, chunks, hang_up)
        finally:
            for signal in (request_started, request_finished):
                signal.connect(close_old_connections)


class _Protocols:
    def __init__(self, http: Any) -> None:
        self.http = http

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self.http if scope["type"] == "http" else websockets)(scope, receive, send)


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


@async_to_sync
async def _call(application: Any, scope: Any, chunks: list[bytes], hang_up: bool) -> Answer:
    messages: list[dict[str, Any]] = []
    incoming = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        if hang_up:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await application(scope, receive, send)
    start = next((message for message in messages if message["type"] == "http.response.start"), None)
    body = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")
    if start is None:
        return Answer(0, {}, b"")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], headers, body)
