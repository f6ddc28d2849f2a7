"""Sending a file, or parts of it, from this process: flat in memory, and without a thread where the bytes are at hand.

How fast is the client's affair: each block waits until the server has room for it (`observability.http.flow`).
"""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Sequence
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import connections

from observability.http.exchange import unanswered

from .storage import OpenFile

BLOCK_BYTES = 2**16
BLOCKS_EACH_TURN = 2  # of the event loop
# How long the next turn waits while somebody waits for an answer of this process: a thread that makes a page gets the
# interpreter's lock back only when the loop rests.
PAUSE_SECONDS = 0.001
AT_ONCE_BYTES = 2**16  # what a server takes without waiting for its reader
# Whatever the kernel has in memory is had without waiting for a disk; Linux alone can say so.
WITHOUT_WAITING: int = getattr(os, "RWF_NOWAIT", 0)
CANNOT_SAY = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

_of_thread = threading.local()
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class CutShort(Exception):
    """The file became shorter than was promised: the connection is cut, so that the client knows."""


class Blocks(AsyncIterator[bytes]):
    """The bytes of a response, block by block. The file is closed at the end, however it comes.

    StreamingHttpResponse(Blocks(file, [range(0, 500)]))

    Args:
        pieces: bytes to be sent as they are, and ranges of the file.
    """

    __slots__ = ("_file", "_number", "_part", "_pieces", "_takes_time", "_without_waiting")

    def __init__(self, file: OpenFile, pieces: Sequence[bytes | range]) -> None:
        self._file = file
        self._pieces = list(reversed(pieces))
        self._takes_time = sum(map(len, pieces)) > AT_ONCE_BYTES
        self._part = range(0)
        self._number = 0
        self._without_waiting = bool(WITHOUT_WAITING)

    async def __anext__(self) -> bytes:
        try:
            block = await self._block()
        except BaseException:
            self.close()
            raise
        self._number += 1
        return block

    async def _block(self) -> bytes:
        if self._number:
            await _turn()
        elif self._takes_time:
            await sync_to_async(_give_connections_back)()
        while not self._part:
            if not self._pieces:
                raise StopAsyncIteration
            piece = self._pieces.pop()
            if isinstance(piece, bytes):
                return piece
            self._part = piece
        block = await self._read(self._part.start, min(len(self._part), BLOCK_BYTES))
        if not block:
            raise CutShort(f"The file ends at {self._part.start}, and should not before {self._part.stop}.")
        self._part = self._part[len(block) :]
        return block

    async def _read(self, offset: int, size: int) -> bytes:
        if self._without_waiting:
            try:
                return _at_hand(self._file.descriptor, offset, size)
            except BlockingIOError:
                pass  # not in memory
            except OSError as error:
                if error.errno not in CANNOT_SAY:
                    raise
                self._without_waiting = False
        return await asyncio.get_running_loop().run_in_executor(None, os.pread, self._file.descriptor, size, offset)

    def close(self) -> None:
        """Close the file; Django calls it when the response is over or the client has left."""
        self._file.close()


async def _turn() -> None:
    """Wait for one's turn: few fast readers of files in memory are served before whoever else waits for the loop."""
    turns = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(BLOCKS_EACH_TURN))
    async with turns:
        await asyncio.sleep(PAUSE_SECONDS if unanswered else 0)


def _at_hand(descriptor: int, offset: int, size: int) -> bytes:
    """What the kernel has in memory of these bytes; raises BlockingIOError where it has none.

    Read into one buffer for each thread, then copied: readers that stall hold no buffer of their own.
    """
    buffer: memoryview | None = getattr(_of_thread, "buffer", None)
    if buffer is None:
        buffer = _of_thread.buffer = memoryview(bytearray(BLOCK_BYTES))
    return bytes(buffer[: os.preadv(descriptor, [buffer[:size]], offset, WITHOUT_WAITING)])


def _give_connections_back() -> None:
    """The view is done with the database; a reader who takes an hour must not keep a connection from everybody."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
