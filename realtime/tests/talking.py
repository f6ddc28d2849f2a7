"""A client of the chat in the test's own process: the whole application, called as a server would call it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from observability.http.edge import Edge
from realtime.routing import websockets

SECONDS = 10.0


class Talker:
    """One connection.

    Attributes:
        is_accepted: whether the handshake was; None before.
        sent, heard: the texts that went over it.
        ended: close code and reason, once the server has closed it.
    """

    def __init__(self) -> None:
        self.is_accepted: bool | None = None
        self.sent: list[str] = []
        self.heard: list[str] = []
        self.ended: tuple[int, str] | None = None
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._news = asyncio.Condition()
        self._read = 0
        self.reads = asyncio.Event()  # cleared: takes nothing of what it is sent
        self.reads.set()
        self.refuses = False  # as a server refuses to send what comes after the end
        self.serving: asyncio.Task[None] | None = None
        self.subprotocol: str | None = None

    async def serve(self, scope: dict[str, Any]) -> None:
        """Run the application on this connection."""
        await Edge(websockets)(scope, self._incoming.get, self._send)

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            await self.reads.wait()
        if self.refuses:
            raise RuntimeError("nothing more may be sent")
        async with self._news:
            if message["type"] == "websocket.accept":
                self.is_accepted, self.subprotocol = True, message.get("subprotocol")
            elif message["type"] == "websocket.close":
                self.is_accepted = bool(self.is_accepted)
                self.ended = (message.get("code", 1000), message.get("reason") or "")
            else:
                self.heard.append(message["text"])
            self._news.notify_all()

    def say(self, message: dict[str, Any] | str) -> None:
        """Send a message."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.sent.append(text)
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def gives(self, **message: Any) -> None:
        """Have the server hand something else to the application, such as a binary frame."""
        self._incoming.put_nowait(message)

    async def hears(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        """The next message of that type with those fields; what comes before it is passed over.

        Raises:
            AssertionError: where the connection ends, or nothing of the kind comes in time.
        """
        while True:
            found = await self.hears_or_ends()
            assert found is not None, f"it ended with {self.ended} after {self.heard}"
            if found["type"] == kind and fields.items() <= found.items():
                return found

    async def hears_or_ends(self) -> dict[str, Any] | None:
        """The next message; None where the connection ends instead."""
        async with self._news:
            try:
                async with asyncio.timeout(SECONDS):
                    await self._news.wait_for(lambda: self._read < len(self.heard) or self.ended)
            except TimeoutError:
                raise AssertionError(f"nothing more came after {self.heard}") from None
        if self._read == len(self.heard):
            return None
        self._read += 1
        found: dict[str, Any] = json.loads(self.heard[self._read - 1])
        return found

    async def ends(self) -> tuple[int, str]:
        """Wait until the server has closed it: code and reason."""
        while await self.hears_or_ends() is not None:
            pass
        assert self.ended is not None
        return self.ended

    @property
    def ended_with(self) -> int:
        """The close code; 403 where the handshake was refused."""
        assert self.ended is not None, f"it goes on after {self.heard}"
        return self.ended[0] if self.is_accepted else 403

    def leave(self) -> None:
        """Close it."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})


@asynccontextmanager
async def talking(
    path: str,
    *,
    query: str = "",
    headers: dict[str, str] | None = None,
    subprotocols: list[str] | None = None,
    address: str = "203.0.113.7",
) -> AsyncIterator[Talker]:
    """A connection to `path`, such as "/ws/chat/lobby/"; left at the end of the block."""
    sent = {"host": "testserver", **(headers or {})}
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": (address, 50_000),
        "server": ("testserver", 80),
        "subprotocols": subprotocols or [],
    }
    talker = Talker()
    talker.serving = serving = asyncio.create_task(talker.serve(scope))
    try:
        yield talker
    finally:
        talker.leave()
        talker.reads.set()
        done, _ = await asyncio.wait({serving}, timeout=SECONDS)
        assert done, "the application goes on, though its client has left"
        if not serving.cancelled():
            serving.result()
