"""Three processes, a full room, and every process restarted in turn, and one killed: what was acknowledged is in
everybody's history, exactly once, in order."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from bambisleep.tests.environment import LONG
from e2e import chat, crowd
from e2e.crowd import Site
from e2e.servers import wait_for

pytestmark = pytest.mark.needs("postgresql", "redis-server")

MEMBERS = 500 if LONG else 36
TALKERS = 20 if LONG else 5
PAUSE_SECONDS = 5 if LONG else 1  # one process of clients is given two thousand messages a second, and no more
RESTART = 1012  # what uvicorn closes with when it stops


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with crowd.site(tmp_path_factory.mktemp("data"), processes=3, members=MEMBERS) as found:
        yield found


@pytest.fixture(scope="module")
def tokens(site: Site) -> list[str]:
    return site.tokens(MEMBERS)


def test_each_process_restarted_in_turn_and_one_killed_costs_no_message(site: Site, tokens: list[str]) -> None:
    async def everything() -> None:
        async with crowd.crowd(site, tokens, talkers=TALKERS, pause_seconds=PAUSE_SECONDS) as people:
            await people.more_is_said(2 * TALKERS)
            for number in range(3):
                there = [client for client in people.clients if _process_of(client, site) == number]
                assert len(there) >= MEMBERS // 6, "somebody is at the process that is restarted"
                assert await _told(there, site, number, signal.SIGTERM) == {RESTART}
                await people.all_there()
                await people.more_is_said(1)  # by the others, and those who went to them
                await asyncio.to_thread(site.start, number)
                await _spread(people, site, number)
                await people.more_is_said(TALKERS)

            killed = [client for client in people.clients if _process_of(client, site) == 0]
            assert killed
            assert await _told(killed, site, 0, signal.SIGKILL) == {1006}
            await people.all_there()
            await asyncio.to_thread(site.start, 0)
            await people.more_is_said(2 * TALKERS)

            open_now = sum(process.metric("websocket_connections_total") for process in site.processes)
            assert open_now == MEMBERS

        assert len(people.acknowledged) >= 7 * TALKERS
        assert sum(len(client.ends) for client in people.clients) >= MEMBERS

    asyncio.run(everything())
    wait_for(lambda: _open(site) == 0, "nobody is left")
    crowd.expect_quiet_logs(site, most_lines=40)


def test_the_history_that_is_asked_for_is_the_one_that_was_heard(site: Site, tokens: list[str]) -> None:
    async def read(process: int) -> list[tuple[int, str]]:
        async with chat.chat(site.processes[process], crowd.ROOM, token=tokens[0]) as client:
            found: list[tuple[int, str]] = []
            while True:
                asked = {"type": "history", "after": found[-1][0] if found else 0, "limit": 100}
                answers = len(client.of_type("history"))
                await client.send(asked)
                await client.until(lambda answers=answers: len(client.of_type("history")) > answers, "the history")  # type: ignore[misc]
                answer = client.of_type("history")[-1]
                found += [(entry["number"], entry["text"]) for entry in answer["entries"]]
                if not answer["more"]:
                    return found

    for process in range(3):
        assert asyncio.run(read(process)) == site.log()


async def _told(there: list[chat.Client], site: Site, number: int, how: signal.Signals) -> set[int]:
    """Stop a process; with which codes those end who are there."""
    ends = [len(client.ends) for client in there]
    assert await asyncio.to_thread(site.stop, number, how) in {0, -how}
    for client, before in zip(there, ends, strict=True):
        await client.until(lambda c=client, b=before: len(c.ends) > b, "it has noticed", seconds=60)  # type: ignore[misc]
    return {client.ends[before][0] for client, before in zip(there, ends, strict=True)}


def _process_of(client: chat.Client, site: Site) -> int:
    """At which process the client is."""
    server = client.sites[(client.connections - 1) % len(client.sites)]
    return site.ports.index(server.port)


async def _spread(people: crowd.Crowd, site: Site, number: int) -> None:
    """A third of all go to the process that has just come back, as they would by and by."""

    async def go(client: chat.Client) -> None:
        while _process_of(client, site) != number:
            assert client.socket is not None
            await client.socket.close()
            before = client.connections
            await client.until(lambda b=before: client.connections > b and client.is_ready, "it is back", seconds=60)  # type: ignore[misc]

    await asyncio.gather(*(go(client) for client in people.clients[number :: len(site.ports)]))


def _open(site: Site) -> float:
    return sum(process.metric("websocket_connections_total") for process in site.processes)
