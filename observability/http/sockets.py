"""What the servers leave open about WebSockets: limits on what comes in, waiting for a reader, and the very end.

daphne takes whatever an application sends and keeps it in memory, and whatever a client sends likewise; it drops a
connection that breaks the protocol without saying why. uvicorn holds messages of 16 MiB, and a connection that it has
closed lives on for as long as its client takes nothing of what is still to be sent.
"""

import asyncio
from functools import partial
from typing import Any, Protocol

from autobahn.util import encode_truncate
from daphne import ws_protocol

from .watch import Message

# Of one message from a client, beyond which the server refuses it unread. What an application allows is less: to a
# client that is told by the application, the reason arrives for certain.
MOST_MESSAGE_BYTES = 131_072
MOST_UNREAD = 32  # messages that the application has not taken, beyond which no more are read
MOST_REASON_BYTES = 123  # RFC 6455, 5.5
END_SECONDS = 10.0  # for what was sent last to arrive, once the application is done
FAILED_SECONDS = 1.0  # for the closing frame to arrive, where the server itself refuses what came


class Line(Protocol):
    """The connection below an application, of one server or the other."""

    async def room(self) -> None:
        """Wait until more may be sent, or the client is gone."""

    def taken(self, message: Message) -> Message:
        """The application takes a message: as it is to have it."""

    def leave(self) -> None:
        """The application is done: cut the connection off in a while, if it is still there."""


def line_of(send: Any) -> Line | None:
    """The connection that `send` leads along; None where the server is another, or a test."""
    if isinstance(send, partial) and send.args and isinstance(send.args[0], WaitingProtocol):
        return DaphneLine(send.args[0])
    owner = getattr(send, "__self__", None)
    return UvicornLine(owner) if hasattr(owner, "transport") and hasattr(owner, "conn") else None


class UvicornLine:
    """uvicorn's `send` waits by itself."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.conn.max_message_size = MOST_MESSAGE_BYTES

    async def room(self) -> None:
        """`send` has waited."""

    def taken(self, message: Message) -> Message:
        """With the code of a lost connection where it was lost: uvicorn says the same as of one closed in peace."""
        if message["type"] == "websocket.disconnect" and message.get("code") == 1005 and "reason" not in message:
            return {**message, "code": 1006}
        return message

    def leave(self) -> None:
        """Let uvicorn close; then cut off."""
        asyncio.get_running_loop().call_later(END_SECONDS, self._cut)

    def _cut(self) -> None:
        if not self._protocol.disconnected:
            self._protocol.transport.abort()


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


def mend_daphne() -> None:
    """Have daphne make connections with the protocol above."""
    ws_protocol.WebSocketFactory.protocol = WaitingProtocol
