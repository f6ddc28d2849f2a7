"""A line between the site and a server, which can be made slow: every answer takes so much longer."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from e2e.servers import free_port


@dataclass(slots=True)
class Line:
    """Passes everything on between `port` and `to`, on loopback; what comes back waits for `delay_seconds`."""

    to: int
    port: int = field(default_factory=free_port)
    delay_seconds: float = 0.0
    _end: Callable[[], object] = lambda: None

    async def _serve(self, ready: threading.Event) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._end = partial(asyncio.get_running_loop().call_soon_threadsafe, serving.cancel)
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        ready.set()
        async with server:
            await server.serve_forever()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        there = asyncio.create_task(_copy(reader, there_writer, lambda: 0.0))
        back = asyncio.create_task(_copy(there_reader, writer, lambda: self.delay_seconds))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, there_writer):  # whoever ends it, ends both sides, as if there were no line
                with suppress(OSError):
                    end.close()
            await asyncio.gather(there, back, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: Callable[[], float]) -> None:
    with suppress(OSError):
        while block := await reader.read(65_536):
            if seconds := delay():
                await asyncio.sleep(seconds)
            writer.write(block)
            await writer.drain()


@contextmanager
def line(to: int) -> Iterator[Line]:
    """A line to a port, until the end of the block."""
    found, ready = Line(to), threading.Event()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(found._serve(ready))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield found
    finally:
        found._end()
        thread.join(10)
