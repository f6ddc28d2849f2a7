"""Redis and PostgreSQL go away in the middle of a talk, and come back: nothing that was acknowledged is lost, nobody is
sent away, and all heals by itself."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import httpx
import pytest

from e2e import chat, crowd
from e2e.crowd import Crowd, Site
from e2e.postgresql import Database, postgresql
from e2e.servers import wait_for

pytestmark = pytest.mark.needs("postgresql", "redis-server")

MEMBERS, TALKERS = 12, 4
SECONDS_TO_HEAL = 10
SECONDS_OF_PATIENCE = 10  # in which whoever asks for a page has it; the timeouts are far below
POOL = 20  # connections of one process: DATABASE_POOL_SIZE


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgresql() as found:
        yield found


@pytest.fixture(scope="module")
def site(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("data")
    with crowd.site(directory, processes=2, members=MEMBERS, database=database) as found:
        yield found


@pytest.fixture(scope="module")
def tokens(site: Site) -> list[str]:
    return site.tokens(MEMBERS)


def test_redis_stopped_and_started_costs_nothing(site: Site, tokens: list[str]) -> None:
    async def everything() -> None:
        async with _talk(site, tokens) as people:
            await people.more_is_said(TALKERS)
            with site.redis.away():
                await _all_are_told(people, live=False)
                last = max(people.acknowledged)
                await people.more_is_said(2 * TALKERS)
                await people.all_heard(last + TALKERS)  # by the database
            await _all_are_told(people, live=True)
            await people.more_is_said(TALKERS)
            assert [client.ends for client in people.clients] == [[]] * MEMBERS

    asyncio.run(everything())
    assert all(process.metric("chat_wake_ups_total", outcome="failed") > 0 for process in site.processes)
    crowd.expect_quiet_logs(site, most_lines=20)


def test_redis_hung_keeps_nobody_waiting(site: Site, tokens: list[str]) -> None:
    async def everything() -> None:
        async with _talk(site, tokens) as people:
            await people.more_is_said(TALKERS)
            with site.redis.hung():
                await _all_are_told(people, live=False)
                for process in site.processes:
                    await asyncio.to_thread(_walk, process.url)
                last = max(people.acknowledged)
                async with asyncio.timeout(SECONDS_OF_PATIENCE):
                    await people.clients[0].say("while it hangs")
                await people.more_is_said(TALKERS)
                await people.all_heard(last + TALKERS)
            await _all_are_told(people, live=True)
            assert [client.ends for client in people.clients] == [[]] * MEMBERS

    asyncio.run(everything())
    crowd.expect_quiet_logs(site, most_lines=40)


def test_postgresql_restarted_loses_nothing_that_was_acknowledged(
    site: Site, tokens: list[str], database: Database
) -> None:
    pids = [process.process.pid for process in site.processes]

    async def everything() -> None:
        async with _talk(site, tokens) as people:
            await people.more_is_said(TALKERS)
            with database.away():
                for client in people.clients[:TALKERS]:
                    await client.until(lambda client=client: _is_asked_to_try_again(client), "asked to try again")  # type: ignore[misc]
                before = len(people.acknowledged)
                await people.clients[-1].send({"type": "ping"})
                await people.clients[-1].until(lambda: people.clients[-1].of_type("pong"), "a pong, without a database")
            began = time.monotonic()
            await people.more_is_said(1)
            assert time.monotonic() - began < SECONDS_TO_HEAL
            assert len(people.acknowledged) > before
            await people.more_is_said(2 * TALKERS)
            assert [client.ends for client in people.clients] == [[]] * MEMBERS

    asyncio.run(everything())
    assert [process.process.pid for process in site.processes] == pids
    for process in site.processes:
        wait_for(lambda process=process: process.http.get("/health/ready").status_code == 200, "it is ready")  # type: ignore[misc]
        _walk(process.url)
    [(used,)] = site.installation.rows("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    assert used - 1 <= len(site.processes) * POOL  # but for the one that asks
    crowd.expect_quiet_logs(site, most_lines=200)


def _talk(site: Site, tokens: list[str]) -> AbstractAsyncContextManager[Crowd]:
    return crowd.crowd(site, tokens, talkers=TALKERS, pause_seconds=1, reconnects=False)


async def _all_are_told(people: Crowd, *, live: bool) -> None:
    """Everybody has heard, as the last of it, whether messages arrive at once."""
    for client in people.clients:
        await client.until(
            lambda client=client: [told["live"] for told in client.of_type("status")[-1:]] == [live],  # type: ignore[misc]
            f"told that it is {'live' if live else 'not live'}",
            seconds=60,
        )


def _is_asked_to_try_again(client: chat.Client) -> bool:
    return any(error["code"] == "try_again" and error["retry_after"] > 0 for error in client.of_type("error"))


def _walk(url: str) -> None:
    """Pages, and a sign-in, each within seconds."""
    with httpx.Client(base_url=url, trust_env=False, timeout=SECONDS_OF_PATIENCE) as visitor:
        assert visitor.get("/chat/").status_code == 200
        assert visitor.get(f"/chat/{crowd.ROOM}/").status_code == 200
        answer = visitor.post("/auth/login", json={"username": "mara", "password": chat.PASSWORD})
        assert answer.status_code == 200
