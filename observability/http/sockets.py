"""What the servers leave open about WebSockets: limits on what comes in, waiting for a reader, and the very end.

daphne takes whatever an application sends and keeps it in memory, and whatever a client sends likewise; it drops a
connection that breaks the protocol without saying why. uvicorn holds messages of 16 MiB, and a connection that it has
closed lives on for as long as its client takes nothing of what is still to be sent.
"""

import asyncio
from functools import partial
from typing import Any, Protocol

from .watch import Message

# Of one message from a client, beyond which the server refuses it unread. What an application allows is less: to a
# client that is told by the application, the reason arrives for certain.
MOST_MESSAGE_BYTES = 131_072
END_SECONDS = 10.0  # for what was sent last to arrive, once the application is done


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
    if isinstance(send, partial) and send.args and hasattr(send.args[0], "line"):  # of `daphne_sockets`
        line: Line = send.args[0].line
        return line
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
