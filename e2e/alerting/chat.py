"""The chat of the story: a crowd that talks, is cut off all at once, returns, and lives through a planned restart."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from e2e import chat
from e2e.chat import Client
from e2e.monitoring import Monitoring
from e2e.servers import Installation, Server, wait_for

TALKERS = ("member0", "member1", "member2")
GUESTS = 37
CONNECTIONS = 'websocket_connections_total{job="bambisleep"}'
OPEN = f"sum({CONNECTIONS})"
AVERAGE = f"avg_over_time({OPEN}[20s:1s])"
FIRING = 'ALERTS{alertname="WebSocketConnectionDrop", alertstate="firing"}'


class Crowd:
    """Clients in a thread of their own: three of five at the first process, the others at the second, and at whichever
    is there when one is gone."""

    def __init__(self, tokens: dict[str, str], sites: Sequence[Server]) -> None:
        self.sites = sites
        self.tokens = tokens
        self.clients: list[Client] = []
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="crowd", daemon=True)

    @property
    def size(self) -> int:
        """How many they are when all are there."""
        return len(TALKERS) + GUESTS

    def run(self, coroutine: Coroutine[Any, Any, None], seconds: float = 60) -> None:
        """Run something where they are, to its end."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def start(self) -> None:
        """Come, and begin to talk."""
        self._thread.start()
        self.run(self._join())
        self.run(self._talk_on())

    def are_cut_off(self) -> None:
        """All connections are reset without a word, as when what stands before the site dies; nobody returns."""
        self.run(self._cut())

    def return_(self) -> None:
        """They come back, to talk on."""
        self.run(self._join())

    def leave(self) -> None:
        """For good."""
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _order(self, number: int) -> list[Server]:
        first, second = self.sites
        return [first, second] if number % 5 < 3 else [second, first]

    async def _join(self) -> None:
        tokens = [*(self.tokens[name] for name in TALKERS), *[None] * GUESTS]
        self.clients = [
            await self._stack.enter_async_context(chat.chat(self._order(number), "lobby", token=token, reconnects=True))
            for number, token in enumerate(tokens)
        ]

    async def _cut(self) -> None:
        for client in self.clients:
            client.options["reconnects"] = False
            if client.socket is not None:
                client.socket.transport.abort()

    async def _talk_on(self) -> None:
        async def talk(number: int) -> None:
            while True:
                client = self.clients[number]
                with suppress(ConnectionError, TimeoutError, chat.Refused):
                    await client.say("Good night, everybody.", seconds=5)
                    await client.send({"type": "ping"})
                    await client.send("no message of the protocol" if number == 0 else {"type": "history"})
                await asyncio.sleep(random.uniform(4, 6))  # what is invalid is forgiven every five seconds

        for number in range(len(TALKERS)):
            self._stack.push_async_callback(_cancel, asyncio.create_task(talk(number)))


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@contextmanager
def crowd(installation: Installation, sites: Sequence[Server]) -> Iterator[Crowd]:
    """People in the lobby until the end of the block."""
    chat.make_rooms(installation, members=len(TALKERS))
    found = Crowd(chat.tokens(installation, *TALKERS), sites)
    found.start()
    try:
        yield found
    finally:
        found.leave()


def settle(people: Crowd, watch: Monitoring, *, seconds: float = 60) -> None:
    """Wait until Prometheus has seen all of them for a while."""
    wait_for(
        lambda: (watch.value(OPEN) or 0) == people.size and (watch.value(AVERAGE) or 0) > 0.9 * people.size,
        "everybody has been there for a while",
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class Restart:
    """What Prometheus saw of the planned restart of one process."""

    began_again: bool  # whether a process was another one afterwards
    most_at_one: float  # connections
    fired: bool


def restart(people: Crowd, watch: Monitoring, stop: Callable[[], object], start: Callable[[], object]) -> Restart:
    """Stop the second process, whose people go to the first, and start it again."""
    settle(people, watch)
    began = time.time()
    stop()
    wait_for(lambda: watch.value(f"max({CONNECTIONS})") == people.size, "they are all at the other one", seconds=60)
    start()
    wait_for(lambda: watch.value('count(up{job="bambisleep"} == 1)') == 2, "it is scraped again", seconds=60)
    settle(people, watch)
    window = f"{int(time.time() - began) + 5}s"  # with the last that was scraped of the old process
    return Restart(
        began_again=bool(watch.value(f'max(changes(process_start_time_seconds{{job="bambisleep"}}[{window}])) > 0')),
        most_at_one=watch.value(f"max(max_over_time({CONNECTIONS}[{window}]))") or 0,
        fired=watch.value(f"max(count_over_time({FIRING}[{window}]))") is not None,
    )
