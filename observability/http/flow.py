"""Waiting until a client has taken what it was sent, where the server does not: daphne.

uvicorn's `send` waits while its buffer is full. daphne's takes everything and keeps it in memory: a reader who stalls
before a file of a gigabyte would cost a gigabyte. So a producer is registered with its request, as Twisted foresees.
"""

import asyncio
from functools import partial
from typing import Any


class Flow:
    """The way to one client, of which the transport says when it is full.

    flow = flow_of(send)
    await send(block)
    if flow:
        await flow.room()
    """

    __slots__ = ("_open", "_registered", "_request")

    def __init__(self, request: Any) -> None:
        self._request = request
        self._open: asyncio.Event | None = None
        self._registered = False

    def start(self) -> None:
        """Have the transport say when it is full, until `stop`; to be called before the first block is sent."""
        if self._open is None and self._request.channel is not None:
            self._open = asyncio.Event()
            self._open.set()
            self._request.registerProducer(self, True)
            self._registered = True

    async def room(self) -> None:
        """Wait until more may be sent, or the client is gone."""
        if self._open is not None:
            await self._open.wait()

    def stop(self) -> None:
        """Let the transport go: it wants no producer that is still there at the end of a response."""
        if self._registered:
            self._registered = False
            if self._request.channel is not None:
                self._request.unregisterProducer()

    def cut(self) -> None:
        """Break the connection off once what was sent is gone: the client is to know that the response is not whole."""
        self.stop()
        if self._request.channel is not None:
            self._request.channel.loseConnection()

    def pauseProducing(self) -> None:  # noqa: N802  (Twisted's IPushProducer)
        """The buffer is full."""
        if self._open is not None:
            self._open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        """The buffer is empty."""
        if self._open is not None:
            self._open.set()

    def stopProducing(self) -> None:  # noqa: N802
        """The client is gone; what is sent from now on goes nowhere."""
        self._registered = False
        self.resumeProducing()


def flow_of(send: Any) -> Flow | None:
    """The way that `send` leads along, where it is daphne's; None where the server waits by itself."""
    given = send.args[0] if isinstance(send, partial) and send.args else None
    return Flow(given) if hasattr(given, "registerProducer") else None  # a request of Twisted's
