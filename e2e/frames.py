"""WebSocket frames by hand, for what no client would send: RFC 6455, section 5."""

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from e2e.servers import Server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    last: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """One frame; `length`: what it says that its payload has."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if last else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65_536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    whole = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + key + whole.to_bytes(len(payload), "big")


@dataclass
class Raw:
    """A connection after its handshake, of which `status` is the answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int

    async def send(self, data: bytes) -> None:
        """Send these very bytes, as far as somebody is there."""
        with suppress(ConnectionError, RuntimeError):  # the latter: after `write_eof`
            self.writer.write(data)
            await self.writer.drain()

    async def say(self, message: Any) -> None:
        """Send a message as JSON."""
        await self.send(frame(TEXT, json.dumps(message).encode()))

    async def read(self) -> tuple[int, bytes] | None:
        """Opcode and payload of the next frame; None at the end of the connection."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = struct.unpack("!H", await self.reader.readexactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", await self.reader.readexactly(8))[0]
            return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def ends(self, *, seconds: float = 30) -> int | None:
        """Read to the end: the code of the closing frame; None where there was none."""
        code = None
        async with asyncio.timeout(seconds):
            while (found := await self.read()) is not None:
                if found[0] == CLOSE and code is None:
                    code = struct.unpack("!H", found[1][:2])[0] if found[1] else 1005
                    await self.send(frame(CLOSE, found[1][:2]))
        return code

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


@asynccontextmanager
async def raw(
    site: Server, room: str, *, headers: str = "", query: str = "", buffer: int = 65_536
) -> AsyncIterator[Raw]:
    """A connection whose frames are made by hand; `headers`: lines that end with CRLF."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=buffer)
    try:
        writer.write(HANDSHAKE.format(path=f"/ws/chat/{room}/{query}", port=site.port, more=headers).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        yield Raw(reader, writer, int(head.split()[1]))
    finally:
        writer.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(5):
                await writer.wait_closed()
