"""Stopping without anybody noticing: for a while this process answers everybody, and has them go to another next.

`begin` is called where the process is told to stop (`manage.py serve`). From then on /health/ready says no, every
answer closes its connection, so that a proxy keeps none to send a request into that nobody reads, and a WebSocket's
handshake is refused with 503, which is safe to try elsewhere. Whoever holds connections open for long registers with
`at_begin`, and sends them away by and by (docs/decisions/rolling-restart.md).
"""

import json
from collections.abc import Callable
from typing import Any

from ..problems import problem_body

CLOSE = (b"connection", b"close")
DETAIL = "This process is about to stop; others go on. Connect again."

_at_begin: list[Callable[[float], None]] = []
_under_way = False


def at_begin(function: Callable[[float], None]) -> Callable[[float], None]:
    """Have `function` called when draining begins, in the event loop's thread, with the seconds that it will take."""
    _at_begin.append(function)
    return function


def begin(seconds: float) -> None:
    """Drain from now on; `seconds` later the server takes no more connections. Only the first call counts."""
    global _under_way
    if _under_way:
        return
    _under_way = True
    for function in _at_begin:
        function(seconds)


def is_under_way() -> bool:
    """Whether this process is about to stop."""
    return _under_way


async def refuse_handshake(scope: Any, send: Any, *, request_id: str, detail: str = DETAIL) -> None:
    """Refuse a WebSocket before it is accepted, where the server can with 503, which a proxy tries elsewhere."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1012})
        return
    body = json.dumps(problem_body(503, detail=detail, request_id=request_id)).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
        CLOSE,
    ]
    await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
