"""What it costs to send films: X-Accel-Redirect beside nginx's static files, our own streaming beside Django's
FileResponse, and what a page costs while two hundred read.

Real servers on loopback, in a directory that this makes and drops; readers are sockets that throw away what they get.
The sides take turns, and what is printed is the ratio within a round. It is no test, and fails only where something
does not run. nginx is needed for the first part.
"""

import argparse
import asyncio
import multiprocessing
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import quantiles
from threading import Thread
from time import perf_counter, sleep
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.memory import resident_mebibytes
from benchmarks.sides import print_ratio, ratio, spread
from e2e.library import in_library
from e2e.servers import PRODUCTION, ROOT, Installation, Server, installed, running
from e2e.servers import free_port as a_free_port

MEBIBYTE = 2**20
SERVERS = ("daphne", "uvicorn")
PAGE = "/content/"
BUFFER_BYTES = 2**20
STALLING_BUFFER_BYTES = 2**15
# Of a film that a reader plays rather than downloads: 8 Mbit/s.
PACE_BYTES_A_SECOND = 1_000_000

FILM = """
import os
from pathlib import Path
from django.conf import settings
film = rows.media(rows.item(kind=Kind.VIDEO), b"", size_bytes=SIZE)
path = Path(settings.LIBRARY_DIR) / film.name
with path.open("wb") as file:
    for _ in range(SIZE // 2**20):
        file.write(os.urandom(2**20))
large = rows.media(rows.item(kind=Kind.VIDEO), b"", size_bytes=2**30)
os.truncate(Path(settings.LIBRARY_DIR) / large.name, 2**30)
for _ in range(12):
    rows.item()
told |= dict(ours=f"/watch/media/{film.key}/", large=f"/watch/media/{large.key}/", name=film.name)
"""


def served() -> Any:
    """The whole site, with one more address: what Django itself makes of a file."""
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.http import FileResponse, HttpRequest
    from django.urls import path

    from bambisleep import asgi, urls

    class InDjangosOwnBlocks(FileResponse):
        """Our handler's are larger, and it would set them here."""

        @property
        def block_size(self) -> int:
            return ASGIHandler.chunk_size

        @block_size.setter
        def block_size(self, size: int) -> None:
            pass

    def file_response(request: HttpRequest, name: str) -> FileResponse:
        return InDjangosOwnBlocks((settings.LIBRARY_DIR / name).open("rb"), content_type="video/webm")

    urls.urlpatterns.insert(0, path("file-response/<str:name>", file_response))
    return asgi.application


# --- Readers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Download:
    """One answer, read to its end."""

    bytes: int
    seconds: float
    first_byte_seconds: float


def download(port: int, address: str, *, part: tuple[int, int] | None = None) -> Download:
    """Read an answer as fast as it comes, and throw it away."""
    asked = f"Range: bytes={part[0]}-{part[1]}\r\n" if part else ""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    started = perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: localhost\r\n{asked}Connection: close\r\n\r\n".encode())
        head = connection.recv(BUFFER_BYTES)
        if not head.startswith(b"HTTP/1.1 206" if part else b"HTTP/1.1 200"):
            raise RuntimeError(f"{address} was answered {head[:300]!r}.")
        while head.find(b"\r\n\r\n") in {-1, len(head) - 4}:  # nothing of the body yet
            head += connection.recv(BUFFER_BYTES)
        first = perf_counter() - started
        total = len(head) - head.index(b"\r\n\r\n") - 4
        while size := connection.recv_into(buffer):
            total += size
    return Download(total, perf_counter() - started, first)


def together(number: int, call: Callable[[], Download], *, expected_bytes: int) -> tuple[float, list[Download]]:
    """So many downloads at once, each in a thread of its own: bytes a second in all, and each of them."""
    found: list[Download] = []
    threads = [Thread(target=lambda: found.append(call())) for _ in range(number)]
    started = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = perf_counter() - started
    if [one.bytes for one in found] != [expected_bytes] * number:
        raise RuntimeError(f"Expected {number} × {expected_bytes} bytes, got {[one.bytes for one in found]}.")
    return number * expected_bytes / seconds, found


async def _crowd(port: int, address: str, readers: int, pace: int | None, begun: Event, over: Event) -> None:
    """Half of the readers go on, as fast as they can or at a pace; the other half stall after a glimpse."""
    loop = asyncio.get_running_loop()
    answered = asyncio.Semaphore(0)

    async def read(*, stalls: bool) -> None:
        with socket.socket() as connection:
            connection.setblocking(False)
            if stalls:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLING_BUFFER_BYTES)
            await loop.sock_connect(connection, ("127.0.0.1", port))
            await loop.sock_sendall(connection, f"GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            buffer = memoryview(bytearray(2**18))
            if not await loop.sock_recv_into(connection, buffer):
                raise RuntimeError("The server hung up.")
            answered.release()
            started, got = perf_counter(), 0
            while not stalls and (size := await loop.sock_recv_into(connection, buffer)):
                got += size
                if pace and (ahead := got / pace - (perf_counter() - started)) > 0:
                    await asyncio.sleep(ahead)
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(read(stalls=number % 2 == 1)) for number in range(readers)]
    for _ in tasks:
        await answered.acquire()
    begun.set()
    await asyncio.to_thread(over.wait)
    failed = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    for task in failed:
        task.result()


@contextmanager
def crowd(server: Server, address: str, *, readers: int, pace: int | None) -> Iterator[None]:
    """They read from a process of their own until the end of the block."""
    begun, over = multiprocessing.Event(), multiprocessing.Event()

    def run() -> None:
        asyncio.run(_crowd(server.port, address, readers, pace, begun, over))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    try:
        if not begun.wait(120):
            raise RuntimeError("The readers did not begin.")
        yield
    finally:
        over.set()
        process.join(30)
        process.kill()
    if process.exitcode:
        raise RuntimeError(f"The readers ended with {process.exitcode}.")


# --- A server's memory ------------------------------------------------------------------------------------------------


@contextmanager
def peak_of(server: Server, growth: list[float]) -> Iterator[None]:
    """Note by how many MiB its memory grew within the block, at most."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before = resident_mebibytes(server.process.pid, "VmRSS")
    yield
    growth.append(resident_mebibytes(server.process.pid, "VmHWM") - before)


# --- The comparisons --------------------------------------------------------------------------------------------------


def in_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """One value of each side a round, the order turned round by round, after a round that is thrown away."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for number in range(rounds + 1):
        order = order[1:] + order[:1]
        for name in order:
            value = sides[name]()
            if number:
                values[name].append(value)
    return values


def by_nginx(installation: Installation, told: Mapping[str, str], size: int, rounds: int) -> None:
    """X-Accel-Redirect beside the same file as nginx has it, whole and in parts."""
    from e2e.nginx import ACCELERATED, OPENLY, nginx, process_on

    with ExitStack() as stack:
        library = installation.data_dir / "library"
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-nginx-")))
        process = stack.enter_context(process_on(installation, a_free_port(), **ACCELERATED))
        before = stack.enter_context(nginx(directory, [process], library=library, openly=True))
        addresses = {"nginx, static": f"{OPENLY}{told['name']}", "nginx, X-Accel": told["ours"]}
        for title, part in (
            ("the whole file", None),
            ("parts of 8 MiB", (MEBIBYTE, 9 * MEBIBYTE - 1)),
            ("parts of 256 KiB", (MEBIBYTE, MEBIBYTE + 2**18 - 1)),
        ):
            expected = part[1] - part[0] + 1 if part else size
            sides = {
                name: partial(nginx_rate, before.port, address, part, expected) for name, address in addresses.items()
            }
            found = in_turns(sides, rounds)
            print(f"\n{title}, 4 readers")
            for name, values in found.items():
                print(f"  {name:28}{spread(values).text(0, ' MiB/s'):>34}")
            # A part, however small, is a question to the application: its bytes are few beside that.
            goal = "each asks the application" if part else "goal ≥ 0.9"
            print_ratio("X-Accel ÷ static", ratio(found["nginx, X-Accel"], found["nginx, static"]), goal)


def nginx_rate(port: int, address: str, part: tuple[int, int] | None, expected_bytes: int) -> float:
    """MiB a second of four readers, as often as it takes to read some 128 MiB."""
    call = partial(download, port, address, part=part)
    times = max(1, 32 * MEBIBYTE // expected_bytes)
    rates = [together(4, call, expected_bytes=expected_bytes)[0] for _ in range(times)]
    return len(rates) / sum(1 / rate for rate in rates) / MEBIBYTE


@dataclass(slots=True)
class Streamed:
    """What was seen of one way to send a file, one value a round."""

    alone: list[float]  # MiB a second, one reader
    together: list[float]  # MiB a second in all, eight readers
    first_byte: list[float]  # milliseconds, of one reader
    growth: list[float]  # MiB at the peak, eight readers


def by_the_application(server: Server, told: Mapping[str, str], size: int, rounds: int) -> dict[str, Streamed]:
    """Our streaming beside FileResponse, through the same edge and middleware."""
    found = {}
    sides = {"ours": told["ours"], "FileResponse": f"/file-response/{told['name']}"}
    for name in sides:
        found[name] = Streamed([], [], [], [])
    order = list(sides)
    for number in range(rounds + 1):
        order.reverse()
        for name in order:
            seen = found[name] if number else Streamed([], [], [], [])
            one = download(server.port, sides[name])
            seen.alone.append(one.bytes / one.seconds / MEBIBYTE)
            seen.first_byte.append(one.first_byte_seconds * 1000)
            with peak_of(server, seen.growth):
                rate, _ = together(8, partial(download, server.port, sides[name]), expected_bytes=size)
            seen.together.append(rate / MEBIBYTE)
    return found


def print_streamed(title: str, found: Mapping[str, Streamed]) -> None:
    """The table of one server."""
    print(f"\n{title:16}{'1 reader, MiB/s':>24}{'8 readers, MiB/s':>24}{'first byte, ms':>24}{'grows, MiB':>20}")
    for name, seen in found.items():
        columns = [spread(seen.alone).text(0), spread(seen.together).text(0), spread(seen.first_byte).text(1)]
        print(f"  {name:14}{columns[0]:>24}{columns[1]:>24}{columns[2]:>24}{spread(seen.growth).text(0):>20}")
    ours, theirs = found["ours"], found["FileResponse"]
    print_ratio("ours ÷ FileResponse, 1 reader", ratio(ours.alone, theirs.alone), "goal ≥ 3")
    print_ratio("ours ÷ FileResponse, 8 readers", ratio(ours.together, theirs.together), "goal ≥ 3")


def p95_milliseconds(server: Server, requests: int) -> float:
    """Of so many requests for a page, one after the other."""
    times = []
    for _ in range(requests):
        started = perf_counter()
        server.http.get(PAGE).raise_for_status()
        times.append((perf_counter() - started) * 1000)
    return quantiles(times, n=20)[-1]


def pages_meanwhile(server: Server, address: str, *, readers: int, rounds: int, requests: int) -> None:
    """The 95th percentile of a page, idle and while they read."""
    for title, pace in (("as fast as they can", None), ("at 8 Mbit/s each", PACE_BYTES_A_SECOND)):
        idle, busy = [], []
        for number in range(rounds + 1):
            quiet = p95_milliseconds(server, requests)
            with crowd(server, address, readers=readers, pace=pace):
                loaded = p95_milliseconds(server, requests)
            if number:
                idle.append(quiet)
                busy.append(loaded)
            sleep(0.5)  # those who left are gone
        print(f"\n{readers} readers, half of them stalled, the others {title}: p95 of {PAGE}")
        print(f"  {'idle':28}{spread(idle).text(1, ' ms'):>34}\n  {'meanwhile':28}{spread(busy).text(1, ' ms'):>34}")
        print_ratio("meanwhile ÷ idle", ratio(busy, idle), "goal ≤ 2")


@contextmanager
def serving(installation: Installation, server: str) -> Iterator[Server]:
    """This module's application."""
    port = a_free_port()
    application = "benchmarks.streaming:application"
    arguments = {
        "daphne": ["daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", application],
        "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log", application],
    }[server]
    environment = installation.environment(PORT=str(port), LOG_LEVEL="ERROR", **PRODUCTION)
    environment["PYTHONPATH"] = str(ROOT)
    log = installation.data_dir / f"{server}.log"
    command = [sys.executable, "-m", *arguments]
    with running(command, environment=environment, port=port, log=log, ready="/health") as process:
        yield process


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each side takes its turn (5)")
    parser.add_argument("--size", type=int, default=512, help="of the file, in MiB (512)")
    parser.add_argument("--readers", type=int, default=200, help="of the crowd (200)")
    parser.add_argument("--requests", type=int, default=60, help="for pages in each round (60)")
    parser.add_argument("--only", choices=["nginx", "application", "pages"], help="one of the three parts")
    options = parser.parse_args()
    rounds, size = max(2, options.rounds), options.size * MEBIBYTE
    print(f"Python {platform.python_version()}, {rounds} rounds, a file of {options.size} MiB; median (quartiles)")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, installed(Path(name)) as installation:
        installation.collect_static()
        told = in_library(installation, f"SIZE = {size}\n{FILM}")
        if options.only in {None, "nginx"}:
            if shutil.which("nginx"):
                by_nginx(installation, told, size, rounds)
            else:
                print("\nnginx is not here: `make services` installs it.")
        for server in SERVERS:
            with serving(installation, server) as process:
                if options.only in {None, "application"}:
                    print_streamed(server, by_the_application(process, told, size, rounds))
                if options.only in {None, "pages"}:
                    print(f"\n{server}")
                    large = told["large"]
                    pages_meanwhile(process, large, readers=options.readers, rounds=rounds, requests=options.requests)


if __name__ == "__main__":
    main()
elif __name__ == "benchmarks.streaming":  # as a server imports it
    application = served()
