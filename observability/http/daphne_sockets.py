"""daphne's WebSockets, with the limits and the waiting that `sockets` speaks of.

Only where daphne serves is this imported: with it comes Twisted, which no other process needs.
"""

import asyncio
from typing import Any

from autobahn.util import encode_truncate
from daphne import ws_protocol

from .sockets import MOST_MESSAGE_BYTES
from .watch import Message

MOST_UNREAD = 32  # messages that the application has not taken, beyond which no more are read
MOST_REASON_BYTES = 123  # RFC 6455, 5.5
FAILED_SECONDS = 1.0  # for the closing frame to arrive, where the server itself refuses what came


class DaphneLine:
    """daphne, with the protocol below."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: "WaitingProtocol") -> None:
        self._protocol = protocol

    async def room(self) -> None:
        """Wait until the transport's buffer is empty enough."""
        await self._protocol.writable.wait()

    def taken(self, message: Message) -> Message:
        """There is room for one more."""
        self._protocol.read_on()
        return message

    def leave(self) -> None:
        """Nothing: the protocol cuts off what does not answer its closing frame."""
        self._protocol.read_on()


_Base: Any = ws_protocol.WebSocketProtocol  # typed in parts


class WaitingProtocol(_Base):  # type: ignore[misc]
    """daphne's protocol, which says when its client does not read, and reads no more than the application takes."""

    muted: bool  # daphne's: the application has heard of the end
    failByDrop = False  # noqa: N815 -- tell the client why
    closeHandshakeTimeout = 5.0  # noqa: N815 -- seconds, for a client that has to read much before it sees the end

    @property
    def line(self) -> DaphneLine:
        """The connection below the application."""
        return DaphneLine(self)

    def onOpen(self) -> None:  # noqa: N802
        """Have the transport say when it is full; until now it told the HTTP channel."""
        self.writable = asyncio.Event()
        self.writable.set()
        self.is_paused = False
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        super().onOpen()

    def pauseProducing(self) -> None:  # noqa: N802
        """The buffer is full."""
        self.writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        """The buffer is empty."""
        self.writable.set()

    def stopProducing(self) -> None:  # noqa: N802
        """The client is gone; what is sent from now on goes nowhere."""
        self.writable.set()

    def dropConnection(self, abort: bool = False) -> None:  # noqa: N802
        """Whoever waits need wait no more. What the client is told of a violation is sent first."""
        super().dropConnection(abort and not self.failedByMe)
        if hasattr(self, "writable"):
            self.writable.set()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """What comes after a violation is read, so that the closing frame arrives, and thrown away."""
        if not self.failedByMe:
            super().dataReceived(data)

    def onMessageFrameBegin(self, length: int) -> None:  # noqa: N802
        """Refuse a message as soon as it says that it is too big. autobahn's own limit would hold for what we send."""
        super().onMessageFrameBegin(length)
        if not self.failedByMe and self.message_data_total_length > MOST_MESSAGE_BYTES:
            self._max_message_size_exceeded(length, MOST_MESSAGE_BYTES, "message too big")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """Hand it to the application, and read no further while it has too much to do."""
        if self.state != self.STATE_OPEN:
            return
        super().onMessage(payload, isBinary)
        if not self.is_paused and self.application_queue.qsize() >= MOST_UNREAD:
            self.is_paused = True
            self.transport.pauseProducing()

    def handle_reply(self, message: Message) -> None:
        """Close with any code that the standard has, and with the reason: autobahn keeps most codes to itself."""
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            reason = encode_truncate(message.get("reason") or "", MOST_REASON_BYTES)
            self.sendCloseFrame(code=message.get("code") or 1000, reasonUtf8=reason, isReply=False)
            self.read_on()
        else:
            super().handle_reply(message)

    def read_on(self) -> None:
        """The application has taken something, or wants nothing more."""
        is_due = self.state != self.STATE_OPEN or self.application_queue.qsize() < MOST_UNREAD / 2
        if getattr(self, "is_paused", False) and is_due:
            self.is_paused = False
            self.transport.resumeProducing()

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        """The application hears at once why it ends, and with which code."""
        super()._fail_connection(code, reason)
        asyncio.get_running_loop().call_later(FAILED_SECONDS, self.transport.abortConnection)
        if not self.muted and hasattr(self, "application_queue"):
            self.muted = True
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})


def mend() -> None:
    """Have daphne make connections with the protocol above."""
    ws_protocol.WebSocketFactory.protocol = WaitingProtocol
