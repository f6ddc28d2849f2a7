"""The edge: an ASGI wrapper that sees every byte and every hang-up of a request.

It sets the request id and the client's address, refuses oversized bodies before they are read, counts and times the
exchange to its last byte, and writes the one log line. It is no Django middleware, because Django's handler reads the
whole body before any middleware runs, and because every middleware costs a thread hop (docs/decisions/edge.md).
"""

import json
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

import structlog
from django.conf import settings
from django.urls import Resolver404, resolve

from .. import security
from ..problems import problem_body
from .client import client_behind, scheme_behind, without_forgeable
from .exchange import SCOPE_KEY, UNMATCHED, Exchange, current
from .metrics import IN_PROGRESS
from .recording import HANG_UP, record
from .routes import SILENT, label
from .traversal import climbs
from .watch import Message, Receive, Send, Watch

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
REFUSED_BY_PROXY = b"x-refused-request"  # the request line of what nginx itself answered with 400

log = structlog.get_logger("bambisleep.http")


class Edge:
    """Wraps an ASGI application.

    application = Edge(ProtocolTypeRouter({"http": Handler()}))
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.proxies: int = settings.TRUSTED_PROXIES
        self.max_body_bytes: int = settings.MAX_BODY_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection of any protocol."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await self.application(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(request_id=_request_id(scope["headers"]), started=perf_counter())
        scope = self._arranged(scope, exchange)
        token = current.set(exchange)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        IN_PROGRESS.inc()
        failed = False
        try:
            multipart = self._inspect(scope, exchange)
            watch = Watch(exchange, receive, send, max_body_bytes=self.max_body_bytes, multipart=multipart)
            try:
                if exchange.refused is None:
                    await self.application(scope, watch.receive, watch.send)
                if exchange.refused is not None and exchange.status is None:
                    await _refuse(watch.send, exchange)
            except Exception:
                failed = True
                log.exception("unhandled", path=exchange.path)
                if exchange.status is not None:
                    raise  # too late for an answer: the server cuts the connection, so that the client knows
                await _send_problem(watch.send, 500, request_id=exchange.request_id)
        finally:
            current.reset(token)
            IN_PROGRESS.dec()
            self._record(scope, exchange, failed=failed)
            if exchange.security_events:
                security.writer.put(exchange.security_events)

    def _inspect(self, scope: Scope, exchange: Exchange) -> bool:
        """Refuse what needs no application to be refused; say whether the body is a form that may hold files."""
        path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
        if climbs(path, scope.get("query_string", b"")):
            security.record(type="directory_traversal", exchange=exchange)
            exchange.refused = 400
        multipart = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                if not value.isdigit():
                    exchange.refused = exchange.refused or 400
                elif int(value[:20]) > self.max_body_bytes:
                    exchange.refused = exchange.refused or 413
            elif name == b"content-type":
                multipart = value[:10].lower() == b"multipart/"
            elif name == REFUSED_BY_PROXY and self.proxies:
                self._refused_by_proxy(value, exchange)
        return multipart

    def _refused_by_proxy(self, request_line: bytes, exchange: Exchange) -> None:
        """nginx answered 400 by itself, and tells us of which request (deploy/nginx). Without this, the plainest
        attempts to climb would be the ones that are never seen."""
        exchange.refused = 400
        exchange.route = UNMATCHED
        target = request_line.split(b" ")[1:-1] or [request_line]
        exchange.path = b" ".join(target).decode("utf-8", "replace")
        path, _, query = b" ".join(target).partition(b"?")
        if climbs(path, query):
            security.record(type="directory_traversal", exchange=exchange, detail="refused by the proxy")

    def _arranged(self, scope: Scope, exchange: Exchange) -> Scope:
        """A copy of `scope` with the true client, without the headers that could forge one."""
        headers = scope["headers"]
        client = client_behind(headers, scope.get("client"), self.proxies)
        exchange.client = client[0] if client else None
        exchange.path = scope["path"]
        return {
            **scope,
            "client": client,
            "scheme": scheme_behind(headers, scope.get("scheme", "http"), self.proxies),
            "headers": without_forgeable(headers),
            "root_path": "",
            SCOPE_KEY: exchange,
        }

    def _record(self, scope: Scope, exchange: Exchange, *, failed: bool) -> None:
        path = scope["path"]
        if path in SILENT:
            return
        if failed:
            status = 500
        elif exchange.complete and exchange.status is not None:
            status = exchange.status
        else:
            status = HANG_UP
        ended = perf_counter()
        if exchange.streams_media and exchange.first_byte is not None:
            ended = exchange.first_byte
        route = exchange.route or _route_of(path)
        record(
            method=scope["method"],
            route=route,
            status=status,
            seconds=ended - exchange.started,
            request_id=exchange.request_id,
        )
        log.info(
            "request",
            method=scope["method"],
            path=exchange.path[:200],
            route=route,
            status=status,
            duration_ms=round((ended - exchange.started) * 1000, 2),
            client=exchange.client,
            user_id=exchange.user_id,
        )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the handshake (101, 403, or 499 where the client left) and time it; the rest is the consumer's."""
        exchange = Exchange(request_id=_request_id(scope["headers"]), started=perf_counter())
        scope = self._arranged(scope, exchange)

        def handshake(status: int) -> None:
            if exchange.status is None:
                exchange.status = status
                seconds = perf_counter() - exchange.started
                route = exchange.route or UNMATCHED
                record(method="GET", route=route, status=status, seconds=seconds, request_id=exchange.request_id)

        async def send_watched(message: Message) -> None:
            await send(message)
            if message["type"] == "websocket.accept":
                handshake(101)
            elif message["type"] == "websocket.close":
                handshake(403)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        self._inspect(scope, exchange)
        application = refuse_websocket if exchange.refused else self.application
        token = current.set(exchange)
        try:
            await application(scope, receive, send_watched)
        except Exception:
            handshake(500)
            raise
        finally:
            current.reset(token)
            handshake(HANG_UP)
            if exchange.security_events:
                security.writer.put(exchange.security_events)


def _request_id(headers: Any) -> str:
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


def _route_of(path: str) -> str:
    """The route of a request that was answered before Django resolved it."""
    if path.startswith(settings.STATIC_URL):
        return settings.STATIC_URL
    try:
        return label(resolve(path))
    except Resolver404:
        return UNMATCHED


async def _refuse(send: Send, exchange: Exchange) -> None:
    status = exchange.refused or 400
    if status == 413:
        security.record(type="oversized_body", exchange=exchange)
    await _send_problem(send, status, request_id=exchange.request_id)


async def _send_problem(send: Send, status: int, *, request_id: str) -> None:
    body = json.dumps(problem_body(status, request_id=request_id)).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """The WebSocket application for a path that nothing listens on: refuse the handshake."""
    await receive()
    await send({"type": "websocket.close", "code": 4404})
