"""The edge: an ASGI wrapper that sees every byte and every hang-up of a request.

It sets the request id and the client's address, refuses oversized bodies before they are read, counts and times the
exchange to its last byte, and writes the one log line. It is no Django middleware, because Django's handler reads the
whole body before any middleware runs, and because every middleware costs a thread hop (docs/decisions/edge.md).
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

import structlog
from django.conf import settings
from django.urls import Resolver404, resolve

from .. import security
from ..problems import problem_body
from .client import Head
from .exchange import SCOPE_KEY, UNMATCHED, Exchange, current, unanswered
from .headers import StandingHeaders
from .metrics import IN_PROGRESS
from .recording import HANG_UP, METHODS, record
from .routes import SILENT, label
from .sockets import line_of
from .traversal import climbs
from .watch import Message, Receive, Send, Watch

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_HEADER_BYTES = 32_768
HANDSHAKES = {"websocket.accept": 101, "websocket.close": 403}  # what an application's answer is as a status
ALLOW = (b"allow", ", ".join(sorted(METHODS)).encode())

log = structlog.get_logger("bambisleep.http")


class Edge:
    """Wraps an ASGI application.

    application = Edge(ProtocolTypeRouter({"http": Handler()}))
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.proxies: int = settings.TRUSTED_PROXIES
        self.max_body_bytes: int = settings.MAX_BODY_BYTES
        self.standing = StandingHeaders()

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
        started = perf_counter()
        head = Head(scope["headers"])
        scope, exchange = self._arranged(scope, head, started)
        token = current.set(exchange)
        silent = scope["path"] in SILENT
        if not silent:
            IN_PROGRESS.inc()
        failed = False
        multipart = head.content_type is not None and head.content_type[:10].lower() == b"multipart/"
        watch = Watch(
            exchange,
            receive,
            send,
            max_body_bytes=self.max_body_bytes,
            bodiless=scope["method"] == "HEAD",
            multipart=multipart,
            scheme=scope["scheme"],
            standing=self.standing,
        )
        unanswered.add(id(exchange))
        try:
            self._inspect(scope, head, exchange)
            if exchange.refused is None:
                await self.application(scope, watch.receive, watch.send)
            if exchange.refused is not None and exchange.status is None:
                await _refuse(watch.send, exchange)
        except Exception:
            failed = True
            log.exception("unhandled", path=exchange.path[:200])
            if exchange.status is None:
                await _send_problem(watch.send, 500, request_id=exchange.request_id)
            elif not watch.cut():
                raise  # too late for an answer: the server cuts the connection, so that the client knows
        finally:
            unanswered.discard(id(exchange))
            if not silent:
                IN_PROGRESS.dec()
                self._record(scope, exchange, failed=failed)
            current.reset(token)
            if exchange.security_events:
                security.writer.put(exchange.security_events)

    def _arranged(self, scope: Scope, head: Head, started: float) -> tuple[Scope, Exchange]:
        """A copy of `scope` with the true client and without what could forge one, and the exchange it carries."""
        client = head.client(scope.get("client"), self.proxies)
        exchange = Exchange(
            request_id=head.request_id, started=started, path=scope["path"], client=client[0] if client else None
        )
        arranged = {
            **scope,
            "client": client,
            "scheme": head.scheme(scope.get("scheme", "http"), self.proxies),
            "headers": head.kept,
            "root_path": "",
            SCOPE_KEY: exchange,
        }
        return arranged, exchange

    def _inspect(self, scope: Scope, head: Head, exchange: Exchange) -> None:
        """Refuse what needs no application to be refused."""
        path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
        if climbs(path, scope.get("query_string", b"")):
            security.record(type="directory_traversal", exchange=exchange)
            exchange.refused = 400
        elif head.refused_request is not None and self.proxies:
            exchange.refused = head.refused_status
            self._refused_by_proxy(head.refused_request, scope, exchange)
        elif head.size_bytes > MAX_HEADER_BYTES:
            exchange.refused = 431
        elif head.content_length is not None and not head.content_length.isdigit():
            exchange.refused = 400
        elif head.content_length is not None and int(head.content_length[:20]) > self.max_body_bytes:
            exchange.refused = 413
        elif scope["type"] == "http" and scope["method"] not in METHODS:
            exchange.refused = 405

    def _refused_by_proxy(self, request_line: bytes, scope: Scope, exchange: Exchange) -> None:
        """nginx answered by itself, and tells us of which request (deploy/nginx). Without this, the plainest attempts
        to climb would be the ones that are never seen."""
        scope["method"] = request_line.split(b" ", 1)[0][:20].decode("ascii", "replace")
        exchange.route = UNMATCHED
        target = b" ".join(request_line.split(b" ")[1:-1]) or request_line
        path, _, query = target.partition(b"?")
        exchange.path = path.decode("utf-8", "replace")
        if climbs(path, query):
            security.record(type="directory_traversal", exchange=exchange, detail="refused by the proxy")

    def _record(self, scope: Scope, exchange: Exchange, *, failed: bool) -> None:
        if failed:
            status = 500
        elif exchange.complete and exchange.status is not None:
            status = exchange.status
        else:
            status = HANG_UP
        ended = perf_counter()
        has_left = False
        if exchange.streams_media and exchange.first_byte is not None:
            ended = exchange.first_byte
            has_left = status == HANG_UP  # as players do at each jump in a film: they have what they wanted
        route = exchange.route or _route_of(scope["path"])
        record(
            method=scope["method"],
            route=route,
            status=status,
            seconds=ended - exchange.started,
            request_id=exchange.request_id,
            as_error=not has_left,
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
        """Count the handshake (101, 403, 503, or 499 where the client left) and time it; the rest is the consumer's."""
        started = perf_counter()
        head = Head(scope["headers"])
        scope, exchange = self._arranged(scope, head, started)
        line = line_of(send)

        def handshake(status: int) -> None:
            if exchange.status is None:
                exchange.status = status
                seconds = perf_counter() - exchange.started
                route = exchange.route or UNMATCHED
                record(
                    method="GET",
                    route=route,
                    status=status,
                    seconds=seconds,
                    request_id=exchange.request_id,
                    as_error=not exchange.sent_elsewhere,
                )

        async def send_watched(message: Message) -> None:
            try:
                await send(message)
            except OSError:  # the client is gone
                handshake(HANG_UP)
                raise
            status = message.get("status") or HANDSHAKES.get(message["type"])
            if status is not None:
                handshake(status)
            elif line is not None:
                await line.room()

        async def receive_watched() -> Message:
            message = await receive()
            return message if line is None else line.taken(message)

        token = current.set(exchange)
        try:
            self._inspect(scope, head, exchange)
            application = refuse_websocket if exchange.refused else self.application
            await application(scope, receive_watched, send_watched)
        except Exception:
            handshake(500)
            raise
        finally:
            handshake(HANG_UP)
            if line is not None:
                line.leave()
            current.reset(token)
            if exchange.security_events:
                security.writer.put(exchange.security_events)


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
        *([ALLOW] if status == 405 else []),
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
