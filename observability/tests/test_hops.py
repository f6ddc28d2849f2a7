"""The number of thread hops of a request, which the order of the middleware decides."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import AsyncToSync, SyncToAsync

from observability.http.edge import Edge
from observability.http.handler import Handler


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was run in a thread, or from a thread on the event loop, in order."""
    made: list[str] = []
    to_thread, to_loop = SyncToAsync.__call__, AsyncToSync.__call__

    async def noted_to_thread(self: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(getattr(self.func, "__qualname__", repr(self.func)))
        return await to_thread(self, *args, **kwargs)

    def noted_to_loop(self: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(getattr(self.awaitable, "__qualname__", repr(self.awaitable)))
        return to_loop(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", noted_to_thread)
    monkeypatch.setattr(AsyncToSync, "__call__", noted_to_loop)
    return made


def answered(method: str, path: str, body: bytes = b"") -> int:
    """The status of one request, sent as a server sends it: on an event loop, with threads of the request's own."""
    statuses: list[int] = []
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("203.0.113.7", 50_000), "server": ("testserver", 80),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        return await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    asyncio.run(Edge(Handler())(scope, receive, send))
    (status,) = statuses
    return status


# Each: the signal request_started, into the stack, from WhiteNoise back to the loop, CSRF's process_view, the view
# (and its rendering), the response's close. DRF adds what it adds.
@pytest.mark.django_db(transaction=True)  # the start page lists the newest items, in the request's own thread
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "expected"),
    [("GET", "/", b"", 200, 7), ("POST", "/auth/login", b"{}", 400, 8)],
)
def test_a_request_makes_this_many_thread_hops(
    hops: list[str], method: str, path: str, body: bytes, status: int, expected: int
) -> None:
    assert answered(method, path, body) == status
    assert len(hops) == expected, hops
