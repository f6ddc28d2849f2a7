"""Connections that end in every way there is: nothing is left of them, and the gauge tells the truth."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bambisleep.tests.environment import LONG
from e2e import chat, frames
from e2e.chat import make_rooms, run, tokens
from e2e.frames import CLOSE, TEXT, frame, raw
from e2e.servers import PRODUCTION, ROOT, Installation, Server, free_port, running, wait_for

pytestmark = pytest.mark.once

CONNECTIONS = 10_000 if LONG else 480
WARM_UP = CONNECTIONS // 5 if CONNECTIONS > 2000 else 240
AT_ONCE = 80
STALLED = 4  # more: each takes half a minute to be cut off
KILLED = 40  # connections of a process that is killed
TASKS = "/-/tasks"  # e2e/probe.py, which only a server imports
GROWTH_BYTES = 24 * 2**20

SETTINGS = {
    **PRODUCTION,  # in development Django keeps the last queries of each thread
    "CHAT_IDLE_SECONDS": "3",
    "CHAT_AUTH_SECONDS": "5",
    "CHAT_CONNECTIONS_PER_ADDRESS": "100000",
    "CHAT_CONNECTIONS_PER_USER": "100000",
}
# Something to read: the answer to one question is 200 KB.
TALK = """
from realtime.models import Entry, Room
room = Room.objects.get(slug="lobby")
Entry.objects.bulk_create(Entry(room=room, number=n, text="x" * 2000) for n in range(1, 101))
Room.objects.filter(pk=room.pk).update(last_number=100)
"""
CROWD = """
import socket, sys, time
from e2e.frames import HANDSHAKE
port, number = map(int, sys.argv[1:])
held = []
for _ in range(number):
    held.append(socket.create_connection(("127.0.0.1", port)))
    held[-1].sendall(HANDSHAKE.format(path="/ws/chat/lobby/", port=port, more="").encode())
    assert b" 101 " in held[-1].recv(4096)
print("open", flush=True)
time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A server and its probe."""

    server: Server
    token: str = field(repr=False)

    def descriptors(self) -> int:
        """How many are open, but for the database's, which come and go with its threads."""
        found = []
        for descriptor in Path(f"/proc/{self.server.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                found.append(str(descriptor.readlink()))
        return sum("sqlite3" not in target for target in found)

    def resident_bytes(self) -> int:
        """Its memory."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def tasks(self) -> Counter[str]:
        """The coroutines that run."""
        return Counter(self.server.http.get(TASKS).json())

    def is_quiet(self) -> bool:
        """Whether nobody is connected, as the gauge and the tasks have it."""
        left = [name for name in self.tasks() if name.startswith(("Connection.", "Edge._websocket", "Hub."))]
        return not left and self.server.metric("websocket_connections_total") == 0


@pytest.fixture(params=["daphne", "uvicorn"])
def site(request: pytest.FixtureRequest, tmp_path: Path, installation: Installation) -> Iterator[Site]:
    if not installation.count("realtime_room"):
        make_rooms(installation, **PRODUCTION)
        run(installation, TALK, **PRODUCTION)
    port = free_port()
    command = {
        "daphne": ["daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", "e2e.probe:application"],
        "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log", "e2e.probe:application"],
    }[request.param]
    with running(
        [sys.executable, "-m", *command],
        environment=installation.environment(PORT=str(port), PYTHONPATH=str(ROOT), **SETTINGS),
        port=port,
        log=tmp_path / "server.log",
        ready="/health",
    ) as server:
        yield Site(server, tokens(installation, "mara", **PRODUCTION)["mara"])


# --- Ways to end: each returns what it saw ---


async def closes(site: Site) -> object:
    async with chat.chat(site.server, "members", token=site.token) as client:
        if not client.of_type("hello"):
            return f"no hello: {client.closed}"
    return client.closed and client.closed[0]


async def closes_with_nothing(site: Site) -> object:
    async with raw(site.server, "lobby") as connection:
        await connection.send(frame(CLOSE))
        return await connection.ends()


async def drops(site: Site) -> object:
    async with raw(site.server, "lobby") as connection:
        await connection.read()
        connection.cut()
        return connection.status


async def drops_while_it_comes_in(site: Site) -> object:
    _, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    handshake = frames.HANDSHAKE.format(path="/ws/chat/lobby/", port=site.server.port, more="").encode()
    writer.write(handshake)
    await writer.drain()
    writer.transport.abort()
    return None


async def drops_half_a_message(site: Site) -> object:
    async with raw(site.server, "lobby") as connection:
        await connection.send(frame(TEXT, b"x" * 100, length=60_000))
        connection.cut()
        return connection.status


async def falls_silent(site: Site) -> object:
    async with raw(site.server, "lobby") as connection:
        return await connection.ends()


async def says_nothing_at_the_door(site: Site) -> object:
    async with raw(site.server, "members") as connection:
        return await connection.ends()


async def fails_the_handshake(site: Site) -> object:
    async with raw(site.server, "lobby", headers="Sec-WebSocket-Key: twice\r\n") as connection:
        return connection.status


async def comes_from_another_page(site: Site) -> object:
    async with raw(site.server, "lobby", headers="Origin: http://evil.example\r\n") as connection:
        return connection.status


async def has_a_wrong_token(site: Site) -> object:
    async with raw(site.server, "members") as connection:
        await connection.say({"type": "auth", "token": "nonsense"})
        return await connection.ends()


async def sends_too_much(site: Site) -> object:
    async with raw(site.server, "lobby") as connection:
        await connection.send(frame(TEXT, b"x" * 70_000))
        return await connection.ends()


async def breaks_the_protocol(site: Site) -> object:
    async with raw(site.server, "lobby") as connection:
        await connection.send(frame(TEXT, b"x", masked=False))
        return await connection.ends()


async def does_not_read(site: Site) -> object:
    """Asks for much and takes nothing; with a small buffer, so that the kernel's are soon full."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", site.server.port))
        handshake = frames.HANDSHAKE.format(path="/ws/chat/lobby/", port=site.server.port, more="").encode()
        await loop.sock_sendall(connection, handshake)
        await loop.sock_recv(connection, 200)
        question = frame(TEXT, json.dumps({"type": "history", "limit": 100}).encode())
        with suppress(ConnectionError):
            for _ in range(60):
                await loop.sock_sendall(connection, question)
            async with asyncio.timeout(120):  # until it is cut off: then writing fails
                while True:
                    await loop.sock_sendall(connection, frame(frames.PONG))
                    await asyncio.sleep(0.5)
    return None


WAYS: dict[Callable[[Site], Awaitable[object]], set[object]] = {
    closes: {1000},
    closes_with_nothing: {1000, 1005},
    drops: {101},
    drops_while_it_comes_in: {None},
    drops_half_a_message: {101},
    falls_silent: {4408},
    says_nothing_at_the_door: {4401},
    fails_the_handshake: {400},
    comes_from_another_page: {403},
    has_a_wrong_token: {4401},
    sends_too_much: {1009},
    breaks_the_protocol: {1002},
}


async def crowd(site: Site, number: int) -> Counter[str]:
    """That many connections, in turn of every way; what was seen that should not be."""
    free = asyncio.Semaphore(AT_ONCE)
    wrong: Counter[str] = Counter()
    ways = list(WAYS)

    async def one(way: Callable[[Site], Awaitable[object]]) -> None:
        async with free:
            seen = await way(site)
        if seen not in WAYS[way]:
            wrong[f"{way.__name__}: {seen}"] += 1

    await asyncio.gather(*(one(ways[n % len(ways)]) for n in range(number)))
    return wrong


def killed(site: Site) -> None:
    """A client's process with many connections ends at once."""
    command = [sys.executable, "-c", CROWD, str(site.server.port), str(KILLED)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == b"open\n"
            wait_for(lambda: site.server.metric("websocket_connections_total") >= KILLED, "all are connected")
        finally:
            client.send_signal(signal.SIGKILL)


def test_nothing_is_left_of_connections_that_ended_in_every_way(site: Site) -> None:
    asyncio.run(crowd(site, WARM_UP))  # as many at once as later, so that memory has been as high
    wait_for(site.is_quiet, "the first are gone")
    wait_for(lambda: site.descriptors() <= 40, "their descriptors are closed")
    descriptors, resident, tasks = site.descriptors(), site.resident_bytes(), site.tasks()

    async def all_of_them() -> Counter[str]:
        stalled = [asyncio.create_task(does_not_read(site)) for _ in range(STALLED)]
        wrong = await crowd(site, CONNECTIONS)
        await asyncio.gather(*stalled)
        return wrong

    wrong = asyncio.run(all_of_them())
    killed(site)
    assert wrong == Counter()
    wait_for(site.is_quiet, "nobody is connected any more", seconds=40)
    wait_for(lambda: site.descriptors() <= descriptors + 2, f"back to {descriptors} descriptors", seconds=40)
    # A request's task may outlive its answer by a moment.
    wait_for(lambda: site.tasks().total() <= tasks.total(), f"back to {tasks}")
    assert site.resident_bytes() <= resident + GROWTH_BYTES
    assert site.server.metric("websocket_connections_total") == 0
    assert site.server.metric("websocket_disconnects_total", reason="slow") >= STALLED
    assert site.server.metric("websocket_disconnects_total", reason="lost") >= KILLED
    errors = site.server.samples("http_requests_errors_total")
    assert [labels for labels, value in errors if value and labels.get("status", "").startswith("5")] == []
    assert "Traceback" not in site.server.output
