"""Many people in one room of several processes, who talk at a pace; and whether everybody was given everything."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e import chat
from e2e.chat import Client
from e2e.nginx import BEHIND_NGINX, process_on
from e2e.postgresql import Database
from e2e.redis import Redis, redis
from e2e.servers import Installation, Server, free_port, installed

ROOM = "lobby"
LIMITS = {"CHAT_CONNECTIONS_PER_ADDRESS": "2000", "CHAT_CONNECTIONS_PER_USER": "2000"}


@dataclass(slots=True)
class Site:
    """Processes on one database and a Redis of their own, each of which can be replaced."""

    installation: Installation
    redis: Redis
    ports: list[int] = field(default_factory=list)
    running: dict[int, tuple[ExitStack, Server]] = field(default_factory=dict)

    @property
    def processes(self) -> list[Server]:
        """Those that run, in their order."""
        return [self.running[number][1] for number in sorted(self.running)]

    @property
    def settings(self) -> dict[str, str]:
        """What the processes run with."""
        return {**BEHIND_NGINX, "REDIS_URL": self.redis.url, **LIMITS}

    def tokens(self, number: int) -> list[str]:
        """Access tokens of the first members."""
        names = [f"member{index}" for index in range(number)]
        return list(chat.tokens(self.installation, *names, **self.settings).values())

    def start(self, number: int) -> None:
        """Start a process, on the port that it always has."""
        stack = ExitStack()
        process = process_on(
            self.installation, self.ports[number], server="uvicorn", REDIS_URL=self.redis.url, **LIMITS
        )
        self.running[number] = stack, stack.enter_context(process)

    def stop(self, number: int, signal_number: int) -> int:
        """Stop a process, and return how it ended, which must come in time."""
        stack, server = self.running.pop(number)
        with stack:
            server.process.send_signal(signal_number)
            return server.process.wait(10)

    def stop_quietly(self, number: int) -> None:
        """Stop a process, if it runs."""
        if number in self.running:
            self.running.pop(number)[0].close()

    def output(self) -> str:
        """What all processes have printed, those that were replaced too."""
        logs = sorted(self.installation.data_dir.glob("uvicorn-*.log"))
        return "".join(log.read_text() for log in logs)

    def log(self) -> list[tuple[int, str]]:
        """Number and text of each entry, in their order."""
        return self.installation.rows("SELECT number, text FROM realtime_entry ORDER BY number")  # type: ignore[return-value]


@contextmanager
def site(directory: Path, *, processes: int, members: int, database: Database | None = None) -> Iterator[Site]:
    """So many processes of uvicorn, and a room with members.

    Args:
        database: an empty one, where it is to be taken away; else one on the server that the tests run on.
    """
    with ExitStack() as stack:
        if database is None:
            installation = stack.enter_context(installed(directory))
        else:
            installation = Installation(directory, database.url)
            assert installation.manage("migrate", "-v0").returncode == 0
        found = Site(installation, stack.enter_context(redis(directory)))
        installation.collect_static()
        chat.make_rooms(installation, members=members, **found.settings)
        with ThreadPoolExecutor(processes) as threads:
            for number in range(processes):
                found.ports.append(free_port())
                stack.callback(found.stop_quietly, number)
            list(threads.map(found.start, range(processes)))
        yield found


@dataclass(slots=True)
class Crowd:
    """People who are in the room; the first of them talk."""

    clients: list[Client]
    acknowledged: dict[int, str] = field(default_factory=dict)  # number and text of each message that was
    is_over: bool = False
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # so that no two say the same

    async def talk(self, client: Client, name: str, pause_seconds: float) -> None:
        """Say one thing after the other, each until it is acknowledged, until it is over."""
        number = 0
        while not self.is_over:
            number += 1
            text = f"{name} of {self.name} says {number}"
            self.acknowledged[await client.say(text, seconds=90)] = text
            await asyncio.sleep(pause_seconds)

    async def all_there(self, *, seconds: float = 60) -> None:
        """Wait until everybody is connected."""
        for client in self.clients:
            await client.until(lambda client=client: client.is_ready, "they are back", seconds=seconds)  # type: ignore[misc]

    async def more_is_said(self, messages: int, *, seconds: float = 60) -> None:
        """Wait until so many more messages are acknowledged."""
        wanted = len(self.acknowledged) + messages
        async with asyncio.timeout(seconds):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110 -- many tasks add to it
                await asyncio.sleep(0.05)

    async def all_heard(self, last: int, *, seconds: float = 60) -> None:
        """Wait until everybody was given the entry of that number."""
        for client in self.clients:
            await client.until(
                lambda client=client: bool(client.numbers) and client.numbers[-1] >= last,  # type: ignore[misc]
                "it has arrived",
                seconds=seconds,
            )


@asynccontextmanager
async def crowd(
    found: Site, tokens: Sequence[str], *, talkers: int, pause_seconds: float, reconnects: bool = True
) -> AsyncIterator[Crowd]:
    """They come, spread over the processes, and some talk until the end of the block; then everybody has heard all."""
    async with AsyncExitStack() as stack:
        here: list[Client] = []
        servers = found.processes
        for number, token in enumerate(tokens):
            first = number % len(servers)
            order = [*servers[first:], *servers[:first]]
            entered = chat.chat(order, ROOM, token=token, after=0, reconnects=reconnects, waits=False)
            here.append(await stack.enter_async_context(entered))
        people = Crowd(here)
        await people.all_there()
        tasks = [
            asyncio.create_task(people.talk(client, f"talker {number}", pause_seconds))
            for number, client in enumerate(here[:talkers])
        ]
        try:
            yield people
            people.is_over = True
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(_expect_everything, found, people)
        await people.all_heard(len(found.log()))
        expect_no_gap(found, people.clients)


def _expect_everything(found: Site, people: Crowd) -> None:
    """What was acknowledged is stored, once, under the number that was told, and the numbers have no gap."""
    log = found.log()
    texts = [text for _, text in log]
    assert [number for number, _ in log] == list(range(1, len(log) + 1))
    assert len(set(texts)) == len(texts), "sent again, and stored once"
    assert people.acknowledged.items() <= dict(log).items()


def expect_no_gap(found: Site, clients: Sequence[Client]) -> None:
    """Each was given every entry of the room, once, in order, over all of their connections."""
    log = found.log()
    for client in clients:
        assert [(entry["number"], entry["text"]) for entry in client.entries] == log


def expect_quiet_logs(found: Site, *, most_lines: int) -> None:
    """No traceback, and not a line for everything that failed."""
    lines = [line for line in found.output().splitlines() if "bambisleep.chat" in line or "channels" in line]
    assert "Traceback" not in found.output()
    assert len(lines) <= most_lines, "\n".join(lines[:20])
