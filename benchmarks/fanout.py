"""What it costs to reach everybody in a room: our chat beside a bare Channels consumer, which stores nothing.

Both in one process of uvicorn, with the same channel layer, in memory and on Redis, in a directory that this makes and
drops; members are sockets in a process of their own. Ours checks who is there, stores each message in the database and
gives it a number before anybody is given it; theirs is `group_send` and `send_json`. The sides take turns, and what is
printed is the ratio within a round. It is no test, and fails only where something does not run, or a message is lost.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.memory import resident_mebibytes
from benchmarks.sides import print_ratio, ratio, spread
from e2e.library import in_library
from e2e.redis import redis
from e2e.servers import PRODUCTION, ROOT, Installation, Server, installed, running
from e2e.servers import free_port as a_free_port

SIDES = {"ours": "/ws/chat/fanout/", "bare": "/ws/bare/"}
MEMBERS = (10, 100, 500)
# Of the paced part: what one process does without hurry, and more than people write.
DELIVERIES_A_SECOND = 1000
MESSAGES_A_SECOND = 10
TALKERS = 8  # of the part that goes as fast as it can: each sends its next message when it has got its last
UNLIMITED = {
    "CHAT_CONNECTIONS_PER_ADDRESS": "10000",
    "CHAT_CONNECTIONS_PER_USER": "10000",
    "CHAT_MESSAGES_PER_MINUTE": "1000000",
    "CHAT_BURST": "1000000",
    "CHAT_IDLE_SECONDS": "3600",
}
ROOM = """
from realtime.models import Room
Room.objects.create(slug="fanout", name="Fan-out", audience="public")
User.objects.bulk_create(User(username=f"m{n}", email=f"m{n}@example.org", password="!") for n in range(SIZE))
"""
TOKENS = """
from accounts import tokens
told["tokens"] = [tokens.issue(user).access for user in User.objects.filter(username__startswith="m")[:SIZE]]
"""
SENT_AT = re.compile(rb"@(\d+\.\d+)@")


def served() -> Any:
    """The whole site, and beside it, without its edge, the consumer that the manual of Channels begins with."""
    from bambisleep import asgi  # first: it sets Django up

    from channels.generic.websocket import AsyncJsonWebsocketConsumer  # isort: skip

    class Bare(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            await self.channel_layer.group_add("bare", self.channel_name)
            await self.accept()

        async def disconnect(self, code: int) -> None:
            await self.channel_layer.group_discard("bare", self.channel_name)

        async def receive_json(self, content: dict[str, Any]) -> None:
            await self.channel_layer.group_send("bare", {"type": "chat.message", "text": content["text"]})

        async def chat_message(self, event: dict[str, Any]) -> None:
            await self.send_json({"type": "entry", "text": event["text"]})

    bare = Bare.as_asgi()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await (bare if scope.get("path") == SIDES["bare"] else asgi.application)(scope, receive, send)

    return application


# --- Members ----------------------------------------------------------------------------------------------------------


class Member(asyncio.Protocol):
    """A WebSocket client that does no more than it must, so that what is measured is the server."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.latencies: list[float] = []
        self.ready = asyncio.get_running_loop().create_future()  # the handshake is done
        self.heard = asyncio.Event()
        self.problem = ""
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Shake hands."""
        self._transport = transport
        head = f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        """Note for each message when it came."""
        now = perf_counter()
        self._buffer += data
        if not self.ready.done():
            head, found, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"The handshake was answered {head[:200]!r}.")
            self.ready.set_result(None)
        while (payload := self._frame()) is not None:
            if b'"type":"error"' in payload:
                self.problem = payload.decode()
                self.heard.set()
            if sent := SENT_AT.search(payload):
                self.latencies.append(now - float(sent[1]))
                self.heard.set()
            elif b'"type":"hello"' in payload or b'"type":"standing"' in payload:
                self.heard.set()

    def _frame(self) -> bytes | None:
        data = self._buffer
        if len(data) < 2:
            return None
        size, begins = data[1], 2
        if size == 126:
            size, begins = int.from_bytes(data[2:4], "big"), 4
        if len(data) < begins + size:
            return None
        self._buffer = data[begins + size :]
        if data[0] & 15 == 8:
            self.problem = f"Closed: {data[begins : begins + size]!r}"
        if data[0] & 15 == 9:
            self._send(0x8A, data[begins : begins + size])
        return data[begins : begins + size]

    def say(self) -> None:
        """Send a message that tells when it was sent."""
        now = perf_counter()
        self.send({"type": "chat", "id": f"{now:.9f}".replace(".", "-"), "text": f"Good night. @{now:.6f}@"})

    def send(self, message: dict[str, str]) -> None:
        """Send any message."""
        self._send(0x81, json.dumps(message).encode())

    def _send(self, first: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
        self._transport.write(bytes([first]) + length + b"\0\0\0\0" + payload)  # a mask of zeros is one

    def leave(self) -> None:
        """Close the connection."""
        self._transport.close()


async def join(port: int, side: str, number: int, tokens: Sequence[str]) -> list[Member]:
    """So many members, each with an account of their own in ours; they are all there when it returns."""
    loop = asyncio.get_running_loop()
    members: list[Member] = []
    for start in range(0, number, 25):
        some = []
        for index in range(start, min(start + 25, number)):
            _, member = await loop.create_connection(lambda: Member(SIDES[side]), "127.0.0.1", port)
            some.append(member)
            await member.ready
            if side == "ours":
                await asyncio.wait_for(member.heard.wait(), 30)
                member.heard.clear()
                member.send({"type": "auth", "token": tokens[index]})
        if side == "ours":
            for member in some:
                await asyncio.wait_for(member.heard.wait(), 30)
                if member.problem:
                    raise RuntimeError(member.problem)
        members += some
    return members


def fresh_tokens(installation: Installation, number: int) -> list[str]:
    """Access tokens, which are good for ten minutes."""
    found: list[str] = in_library(installation, f"SIZE = {number}\n{TOKENS}")["tokens"]
    return found


async def all_heard(members: Sequence[Member], messages: int) -> None:
    """Wait until everybody was given so many messages, or fail."""
    deadline = perf_counter() + 60
    while min(len(member.latencies) for member in members) < messages:
        for problem in filter(None, (member.problem for member in members)):
            raise RuntimeError(problem)
        if perf_counter() > deadline:
            raise RuntimeError(f"Lost: {sorted({len(member.latencies) for member in members})} of {messages}.")
        await asyncio.sleep(0.02)


async def paced(members: Sequence[Member], messages: int) -> list[float]:
    """Somebody says something now and then: how long it took to each, in milliseconds."""
    for member in members:
        member.latencies.clear()
    pause = max(len(members) / DELIVERIES_A_SECOND, 1 / MESSAGES_A_SECOND)
    started = perf_counter()
    for number in range(messages):
        await asyncio.sleep(max(0.0, started + number * pause - perf_counter()))
        members[number % len(members)].say()
    await all_heard(members, messages)
    return [latency * 1000 for member in members for latency in member.latencies]


async def hurried(members: Sequence[Member], messages: int) -> float:
    """Some talk as fast as they hear themselves: messages a second."""
    for member in members:
        member.latencies.clear()

    async def talk(member: Member) -> None:
        for _ in range(messages // TALKERS):
            said = len(member.latencies)
            member.say()
            while len(member.latencies) <= said:
                member.heard.clear()
                await asyncio.wait_for(member.heard.wait(), 30)

    started = perf_counter()
    await asyncio.gather(*(talk(member) for member in members[:TALKERS]))
    await all_heard(members, messages // TALKERS * TALKERS)
    return messages // TALKERS * TALKERS / (perf_counter() - started)


# --- Measuring --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """What was seen of a side, one value a round."""

    p50: list[float] = field(default_factory=list)  # milliseconds
    p99: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)  # messages a second


async def take_turns(port: int, number: int, rounds: int, messages: int, tokens: Sequence[str]) -> dict[str, Seen]:
    """Both sides with so many members each; those of the side whose turn it is not stay, and are silent."""
    crowds = {side: await join(port, side, number, tokens) for side in SIDES}
    found = {side: Seen() for side in SIDES}
    order = list(SIDES)
    gc.collect()
    gc.freeze()
    for turn in range(rounds + 1):
        order.reverse()
        for side in order:
            latencies = await paced(crowds[side], messages)
            rate = await hurried(crowds[side], max(messages // 2, TALKERS))
            if turn:
                cuts = quantiles(latencies, n=100)
                found[side].p50.append(cuts[49])
                found[side].p99.append(cuts[98])
                found[side].rate.append(rate)
    gc.unfreeze()
    for crowd in crowds.values():
        for member in crowd:
            member.leave()
    return found


def print_seen(number: int, found: dict[str, Seen]) -> None:
    """The table of one size."""
    print(f"\n  {number} members{'p50, ms':>20}{'p99, ms':>26}{'messages/s':>26}")
    for side, seen in found.items():
        columns = [spread(seen.p50).text(1), spread(seen.p99).text(1), spread(seen.rate).text(0)]
        print(f"    {side:10}" + "".join(f"{column:>26}" for column in columns))
    ours, bare = found["ours"], found["bare"]
    print_ratio("p50, ours ÷ bare", ratio(ours.p50, bare.p50), "")
    print_ratio("p99, ours ÷ bare", ratio(ours.p99, bare.p99), "goal ≤ 2")
    print_ratio("messages/s, ours ÷ bare", ratio(ours.rate, bare.rate), "")


def memory(installation: Installation, number: int, **settings: str) -> dict[str, float]:
    """What one connection holds, in KiB, each side in a process of its own, beyond what the first few took."""

    async def grown(server: Server, side: str) -> float:
        first = await join(server.port, side, 50, tokens)
        before = resident_mebibytes(server.process.pid, "VmRSS")
        more = await join(server.port, side, number, tokens)
        await asyncio.sleep(1)
        after = resident_mebibytes(server.process.pid, "VmRSS")
        for member in [*first, *more]:
            member.leave()
        return (after - before) * 1024 / number

    tokens = fresh_tokens(installation, number)
    found = {}
    for side in SIDES:
        with serving(installation, **settings) as server:
            found[side] = asyncio.run(grown(server, side))
    return found


@contextmanager
def serving(installation: Installation, **settings: str) -> Iterator[Server]:
    """This module's application."""
    port = a_free_port()
    environment = installation.environment(PORT=str(port), LOG_LEVEL="ERROR", **PRODUCTION, **UNLIMITED, **settings)
    environment["PYTHONPATH"] = str(ROOT)
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "benchmarks.fanout:application"]
    log = installation.data_dir / f"uvicorn-{port}.log"
    command = [sys.executable, "-m", "uvicorn", *arguments]
    with running(command, environment=environment, port=port, log=log, ready="/health") as process:
        yield process


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each side takes its turn (5)")
    parser.add_argument("--messages", type=int, default=120, help="that are said in each (120)")
    parser.add_argument("--members", type=int, nargs="+", default=MEMBERS, help="how many are in the room (10 100 500)")
    parser.add_argument("--layer", choices=["memory", "redis"], help="one of the two")
    options = parser.parse_args()
    rounds, most = max(2, options.rounds), max(*options.members, 500)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} rounds; median (quartiles)")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        installation = stack.enter_context(installed(directory))
        in_library(installation, f"SIZE = {most}\n{ROOM}")
        layers: dict[str, dict[str, str]] = {"memory": {}}
        if shutil.which("redis-server"):
            layers["redis"] = {"REDIS_URL": stack.enter_context(redis(directory)).url}
        else:
            print("\nredis-server is not here: `make services` installs it.")
        for layer, settings in layers.items():
            if options.layer in {None, layer}:
                print(f"\nlayer: {layer}")
                with serving(installation, **settings) as server:
                    for number in options.members:
                        tokens = fresh_tokens(installation, number)
                        turns = take_turns(server.port, number, rounds, options.messages, tokens)
                        print_seen(number, asyncio.run(turns))
        held = memory(installation, 500)
        print(f"\n  memory of a connection, KiB: ours {held['ours']:.0f}, bare {held['bare']:.0f}")


if __name__ == "__main__":
    main()
elif __name__ == "benchmarks.fanout":  # as a server imports it
    application = served()
