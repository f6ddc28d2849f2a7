"""The two ends of one exchange, wrapped: what the client sends, and what it is sent."""

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from .. import security
from . import draining
from .exchange import Exchange, unanswered
from .flow import flow_of
from .headers import StandingHeaders
from .traversal import FILE_NAME_BYTES, file_name_climbs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DISCONNECT: Message = {"type": "http.disconnect"}


class Watch:
    """Wraps `receive` and `send` of one HTTP exchange, and writes what it sees into the exchange.

    Args:
        max_body_bytes: a body that grows larger is cut off; the application sees a client that left, and the edge
            answers 413.
        multipart: whether the body is a form that may name files.
        bodiless: whether the client asked for the head alone (daphne would send what follows the first 64 KiB).
        scheme: by which the client came, "http" or "https".
        standing: the headers that every response carries.
    """

    __slots__ = (
        "_bodiless",
        "_exchange",
        "_flow",
        "_max_body_bytes",
        "_multipart",
        "_receive",
        "_scheme",
        "_send",
        "_standing",
        "_tail",
    )

    def __init__(
        self,
        exchange: Exchange,
        receive: Receive,
        send: Send,
        *,
        max_body_bytes: int,
        multipart: bool,
        bodiless: bool,
        scheme: str,
        standing: StandingHeaders,
    ) -> None:
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._flow = flow_of(send)
        self._max_body_bytes = max_body_bytes
        self._multipart = multipart
        self._bodiless = bodiless
        self._scheme = scheme
        self._standing = standing
        self._tail = b""  # of a form's last piece, where a name may have begun

    async def receive(self) -> Message:
        """The next message from the client, within the limits."""
        message = await self._receive()
        exchange = self._exchange
        if message["type"] == "http.disconnect":
            exchange.gone = True
            return message
        body = message.get("body", b"")
        exchange.received_bytes += len(body)
        if exchange.received_bytes > self._max_body_bytes:
            exchange.refused = 413
        elif self._multipart:
            self._read_names(self._tail + body)
        return DISCONNECT if exchange.refused else message

    def _read_names(self, piece: bytes) -> None:
        if file_name_climbs(piece):
            security.record(type="directory_traversal", exchange=self._exchange, detail="file name in a form")
            self._exchange.refused = 400
        self._tail = piece[-FILE_NAME_BYTES:]

    async def send(self, message: Message) -> None:
        """Pass a message on to the client, with the headers that every response has; note how far the response is."""
        exchange = self._exchange
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            exchange.first_byte = perf_counter()
            unanswered.discard(id(exchange))
            headers = self._standing.added_to(message["headers"], scheme=self._scheme)
            headers.append((b"x-request-id", exchange.request_id.encode()))
            if draining.is_under_way() and draining.CLOSE not in headers:
                headers.append(draining.CLOSE)
            await self._send({**message, "headers": headers})
            return
        is_body = message["type"] == "http.response.body"
        if self._bodiless and is_body:
            message = {**message, "body": b""}
        if is_body and message.get("more_body", False):
            await self._send_part(message)
            return
        if self._flow:
            self._flow.stop()
        await self._send(message)
        if is_body:
            exchange.complete = True

    async def _send_part(self, message: Message) -> None:
        """Send some of a body, and wait until there is room for more."""
        if self._flow is None:  # the server waits by itself
            await self._send(message)
            return
        self._flow.start()
        await self._send(message)
        await self._flow.room()

    def cut(self) -> bool:
        """Break off an answer that cannot be brought to its end.

        Returns:
            Whether that was done; else the server does it, when the application raises.
        """
        if self._flow is None:
            return False
        self._flow.cut()
        return True
