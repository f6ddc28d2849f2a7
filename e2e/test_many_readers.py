"""Two hundred readers of one large film at once, half of whom hardly read: flat memory, nothing left, pages live."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bambisleep.tests.environment import LONG
from e2e.library import in_library
from e2e.servers import PRODUCTION, Installation, Server, wait_for

READERS = 1000 if LONG else 200
SIZE_BYTES = 2**30
READ_BYTES = 6 * 2**20  # by each of the quick ones
GLIMPSE_BYTES = 2**16  # by each of the slow ones
RECEIVE_BUFFER_BYTES = 2**15
PAGES = 40
MEBIBYTE = 2**20
ROUTE = "/watch/media/<uuid:key>/"
DEADLINE_SECONDS = 120.0

FILM = f"""
import os
from pathlib import Path
from django.conf import settings
film = rows.media(rows.item(kind=Kind.VIDEO), b"", size_bytes={SIZE_BYTES})
os.truncate(Path(settings.LIBRARY_DIR) / film.name, {SIZE_BYTES})
told["address"] = f"/watch/media/{{film.key}}/"
"""


@dataclass(frozen=True, slots=True)
class Process:
    """What Linux tells of a server."""

    pid: int

    def resident_bytes(self, which: str = "VmRSS") -> int:
        """Its memory now, or with "VmHWM" at its peak since `forget_peak`."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{which}:"):
                return int(line.split()[1]) * 1024
        raise LookupError(which)

    def forget_peak(self) -> None:
        """Begin a new one."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_descriptors(self) -> list[str]:
        """What its descriptors stand for, but for the database's, which comes and goes with its threads."""
        found = []
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                found.append(str(descriptor.readlink()))
        return [target for target in found if "sqlite3" not in target]


@dataclass(frozen=True, slots=True)
class Reading:
    """What readers saw, while they read together."""

    got: list[int]  # bytes, by each reader
    pages: list[int]  # the statuses of pages that were asked for meanwhile
    present: int  # readers who were there still when the last page had been answered


@dataclass(frozen=True, slots=True)
class Crowd:
    """A server after everybody has left it, and how it was before."""

    server: Server
    process: Process
    reading: Reading
    resident_before: int
    resident_at_peak: int
    descriptors_before: int
    hang_ups_before: float


@pytest.fixture(scope="module")
def address(installation: Installation) -> str:
    """Of the film."""
    installation.collect_static()
    return str(in_library(installation, FILM)["address"])


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def crowd(installation: Installation, address: str, request: pytest.FixtureRequest) -> Iterator[Crowd]:
    """A production server, once daphne and once uvicorn."""
    with installation.serving(request.param, **PRODUCTION) as server:
        process = Process(server.process.pid)
        asyncio.run(_read_together(server, address, readers=20))  # what is loaded once is loaded now
        wait_for(lambda: server.metric("http_requests_in_progress") == 0, "the first ones have left")
        hang_ups = server.metric("http_requests_total", route=ROUTE, status="499")
        resident, descriptors = process.resident_bytes(), len(process.open_descriptors())
        process.forget_peak()
        reading = asyncio.run(_read_together(server, address, readers=READERS))
        peak = process.resident_bytes("VmHWM")
        yield Crowd(server, process, reading, resident, peak, descriptors, hang_ups)


def test_each_reader_gets_what_it_reads(crowd: Crowd) -> None:
    got = crowd.reading.got

    assert crowd.reading.present == len(got) == READERS
    assert sum(number >= READ_BYTES for number in got) == READERS // 2
    assert min(got) >= GLIMPSE_BYTES


def test_pages_answer_meanwhile(crowd: Crowd) -> None:
    assert crowd.reading.pages == [200] * PAGES


def test_memory_grows_by_less_than_a_mebibyte_for_each_reader(
    crowd: Crowd, record_property: Callable[[str, object], None]
) -> None:
    grown = crowd.resident_at_peak - crowd.resident_before

    record_property("bytes_for_each_reader", grown // READERS)
    assert grown < READERS * MEBIBYTE


def test_memory_comes_back(crowd: Crowd) -> None:
    allowed = crowd.resident_before + 40 * MEBIBYTE
    wait_for(lambda: crowd.process.resident_bytes() < allowed, "the memory is what it was before")


def test_no_descriptor_is_left(crowd: Crowd) -> None:
    def left() -> list[str]:
        return [target for target in crowd.process.open_descriptors() if "/library/" in target]

    wait_for(lambda: not left(), "the film is closed, as often as it was opened")
    wait_for(lambda: len(crowd.process.open_descriptors()) <= crowd.descriptors_before + 5, "the sockets are closed")


def test_each_who_left_is_counted_once(crowd: Crowd) -> None:
    def hang_ups() -> float:
        return crowd.server.metric("http_requests_total", route=ROUTE, status="499") - crowd.hang_ups_before

    wait_for(lambda: hang_ups() >= READERS, "who left is counted")
    assert hang_ups() == READERS
    assert crowd.server.metric("http_requests_in_progress") == 0
    assert "Traceback" not in crowd.server.output


async def _read_together(server: Server, address: str, *, readers: int) -> Reading:
    """Everybody reads until the pages were answered and the quick ones have read enough; then everybody leaves."""
    leave = asyncio.Event()
    begun, done = asyncio.Semaphore(0), asyncio.Semaphore(0)
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as together:
        reading = [
            together.create_task(_read(server.port, address, begun, done, leave, slow=number % 2 == 1))
            for number in range(readers)
        ]
        for _ in range(readers):
            await begun.acquire()
        pages = await asyncio.to_thread(_pages, server)
        for _ in range(readers):
            await done.acquire()
        present = sum(not task.done() for task in reading)
        leave.set()
    return Reading([task.result() for task in reading], pages, present)


async def _read(
    port: int, address: str, begun: asyncio.Semaphore, done: asyncio.Semaphore, leave: asyncio.Event, *, slow: bool
) -> int:
    """One reader. A slow one takes a glimpse and then nothing more, a quick one goes on; both stay until `leave`.

    Returns:
        How many bytes it got.
    """
    loop = asyncio.get_running_loop()
    got, enough = 0, GLIMPSE_BYTES if slow else READ_BYTES
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        await loop.sock_sendall(connection, f"GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await loop.sock_recv(connection, 2**14)
        assert head.startswith(b"HTTP/1.1 200"), head[:200]
        begun.release()
        while not leave.is_set() and not (slow and got >= enough):
            block = await loop.sock_recv(connection, 2**18)
            assert block, "the server hung up"
            if got < enough <= got + len(block):
                done.release()
            got += len(block)
        await leave.wait()
    return got


def _pages(server: Server) -> list[int]:
    return [server.http.get("/content/" if number % 2 else "/").status_code for number in range(PAGES)]
