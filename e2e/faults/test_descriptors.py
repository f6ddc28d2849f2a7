"""256 file descriptors, and more WebSockets than that: whoever is one too many is told so, and pages go on. Where all
are taken at one blow, connections break, and it is over as soon as there are some again."""

import asyncio
import resource
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from e2e import chat
from e2e.crowd import LIMITS, ROOM
from e2e.faults.conftest import Whole
from e2e.faults.life import Life, life
from e2e.nginx import process_on
from e2e.servers import Server, free_port, wait_for

pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx")

DESCRIPTORS, SOCKETS = 256, 300


@pytest.fixture
def server(whole: Whole) -> Iterator[Server]:
    """A process that may open 256."""
    settings = {**LIMITS, "REDIS_URL": whole.site.redis.url}
    with process_on(whole.site.installation, free_port(), server="uvicorn", **settings) as found:
        resource.prlimit(found.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        yield found


def test_more_sockets_than_descriptors_and_then_all_taken_at_one_blow(whole: Whole, server: Server) -> None:
    with life(whole.site, server) as people:
        refused = asyncio.run(_crowd(server, people))
        people.expect_answers()
        assert people.statuses()[503] == 0
        with ExitStack() as stack:
            for _ in range(2 * DESCRIPTORS):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
            wait_for(lambda: 0 in people.statuses() or 503 in people.statuses(), "it is felt", seconds=30)
        people.recover()
    people.expect_answers(breaks=True)
    assert refused.keys() == {503}
    assert SOCKETS - DESCRIPTORS < refused[503] < SOCKETS


async def _crowd(server: Server, people: Life) -> Counter[int]:
    """So many come one after the other, and stay; with which statuses those were refused who were."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(chat.chat(server, ROOM, after=0)) for _ in range(SOCKETS)]
        await asyncio.to_thread(people.go_on, 1)
        await asyncio.to_thread(people.recover)
        return Counter(client.closed[0] for client in clients if client.closed is not None)
