"""Each process restarted in turn, under requests and WebSockets that never pause: nobody notices, nothing is lost, and
the metrics go on."""

import asyncio
import math
import re
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from bambisleep.tests.environment import LONG
from e2e import chat, restarting
from e2e.crowd import LIMITS, Crowd
from e2e.nginx import BEHIND_NGINX, nginx
from e2e.redis import redis
from e2e.restarting import Instance, Load
from e2e.servers import Installation, Server, prometheus, query, wait_for

pytestmark = pytest.mark.needs("nginx", "prometheus", "postgresql", "redis-server")

PROCESSES = 3 if LONG else 2
IN_FLIGHT = (
    {"readers": 65, "deployers": 20, "joiners": 5, "watchers": 10}
    if LONG
    else {"readers": 12, "deployers": 4, "joiners": 1, "watchers": 3}
)
# With a hundred in flight, a scrape on a small machine takes longer than two seconds; this is as prometheus.yml has it.
SCRAPED_EVERY = "15s" if LONG else "2s"
ROOMS = 10 if LONG else 2
PEOPLE = 20 if LONG else 15  # in each room
PAUSE_SECONDS = 4.0 if LONG else 2.0  # between what one of them says
FILM_BYTES = (24 if LONG else 8) * 2**20
DRAIN_SECONDS = 6.0 if LONG else 4.5  # nginx keeps an idle connection for 4
RESTART = 1012
STEP_SECONDS = 2  # between two looks at what Prometheus has
# Twenty who record deployments wait for one row, each for those before: on a small machine longer than one may.
STATEMENT_SECONDS = "60" if LONG else "8"
POOL_SIZE = "28" if LONG else "12"  # what one process may be asked at once, while another is away
COUNTED = {"deployment": "/dora/deployments", "member": "/auth/register", "film": "/watch/media/<uuid:key>/"}


@dataclass(slots=True)
class Site:
    """Everything that runs."""

    installation: Installation
    instances: list[Instance]
    nginx: Server
    directory: Path
    prometheus: Server
    load: Load
    tokens: list[str]


@pytest.fixture(scope="module")
def site(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        store = stack.enter_context(redis(tmp_path_factory.mktemp("redis")))
        settings = {
            "REDIS_URL": store.url,
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            "DATABASE_POOL_SIZE": POOL_SIZE,
            "DATABASE_STATEMENT_SECONDS": STATEMENT_SECONDS,
            **LIMITS,
        }
        installation.collect_static()
        chat.make_rooms(installation, members=ROOMS * PEOPLE, **BEHIND_NGINX)
        make = f"""
from realtime.models import Room
for number in range({ROOMS}):
    Room.objects.create(slug=f"room-{{number}}", name=f"Room {{number}}", audience="members")
"""
        chat.run(installation, make, **BEHIND_NGINX)
        names = [f"member{number}" for number in range(ROOMS * PEOPLE)]
        tokens = list(chat.tokens(installation, *names, **BEHIND_NGINX).values())
        film = restarting.make_film(installation, size_bytes=FILM_BYTES)
        token = restarting.deploy_token(installation, **BEHIND_NGINX)
        found = stack.enter_context(restarting.instances(installation, PROCESSES, **settings))
        servers = [instance.server for instance in found]
        directory = tmp_path_factory.mktemp("nginx")
        proxy = stack.enter_context(nginx(directory, servers))
        monitor = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), *servers, every=SCRAPED_EVERY))
        wait_for(lambda: query(monitor, "sum(up)") == PROCESSES, "each process was scraped", seconds=60)
        load = Load(proxy.port, film, token)
        stack.callback(load.give_up)
        yield Site(installation, found, proxy, directory, monitor, load, tokens)


def test_nobody_notices_that_each_process_is_restarted_in_turn(site: Site) -> None:
    load = site.load
    before = site.installation.count("delivery_deployment"), site.installation.count("accounts_user")

    async def everything() -> list[Crowd]:
        async with AsyncExitStack() as stack:
            rooms = [await _enter(stack, site, number) for number in range(ROOMS)]
            clients = [client for room in rooms for client in room.clients]
            talk = [
                asyncio.create_task(room.talk(client, f"person {number}", PAUSE_SECONDS))
                for room in rooms
                for number, client in enumerate(room.clients)
            ]
            await asyncio.to_thread(load.begin, **IN_FLIGHT)
            await asyncio.to_thread(
                wait_for, lambda: len(load.slowest) == len(IN_FLIGHT), "everybody asks", seconds=240
            )
            for instance in site.instances:
                said = sum(len(room.acknowledged) for room in rooms)
                status = await asyncio.to_thread(instance.stop, seconds=60)
                assert status == 0
                await asyncio.to_thread(instance.start)
                await asyncio.to_thread(load.more, 1, seconds=300 if LONG else 90)
                for client in clients:
                    await client.until(lambda c=client: c.is_ready, "they are back", seconds=60)  # type: ignore[misc]
                assert sum(len(room.acknowledged) for room in rooms) > said, "people talk on meanwhile"
            await asyncio.to_thread(load.end)
            for room in rooms:
                room.is_over = True
            await asyncio.gather(*talk)
            for number, room in enumerate(rooms):
                await room.all_heard(len(_log(site, number)))
        return rooms

    rooms = asyncio.run(everything())

    # Requests: each answered as if nothing were, and done once.
    assert load.wrong == []
    assert {status for _, status in load.answers} == {200, 201}
    assert site.installation.count("delivery_deployment") - before[0] == load.total("deployment") > 0
    assert site.installation.count("accounts_user") - before[1] == load.total("member") > 0
    _expect_nothing_failed_at_nginx(site)
    # Messages: each that was acknowledged is there once, and everybody was given all of it, in order.
    for number, room in enumerate(rooms):
        _expect_whole(_log(site, number), room)
    ends = [end for room in rooms for client in room.clients for end in client.ends[:-1]]
    assert len(ends) >= ROOMS * PEOPLE / 2, "most of them were sent elsewhere"
    assert {code for code, _ in ends} == {RESTART}
    assert [client.refusals for room in rooms for client in room.clients if client.refusals] == []
    for instance in site.instances:
        assert [line["in_good_order"] for line in instance.lines("stopped")] == [True]
        assert "Traceback" not in "".join(log.read_text() for log in instance.logs)
    print({"answers": dict(load.answers), "slowest": load.slowest, "messages": sum(len(r.acknowledged) for r in rooms)})  # noqa: T201 -- the figures, with -s


def test_the_metrics_go_on(site: Site) -> None:
    """After the other, which has restarted everything."""
    monitor = site.prometheus
    wait_for(lambda: query(monitor, "sum(up)") == PROCESSES, "each process is scraped again", seconds=60)

    one_at_a_time = _over_time(monitor, "sum(max_over_time(up[1m]))")  # a busy machine may miss one scrape or another
    assert min(one_at_a_time) >= PROCESSES - 1
    for fact in ("max(max_over_time(deployment_frequency_total[1m]))", 'max(max_over_time(users{state="active"}[1m]))'):
        told = _over_time(monitor, fact)
        assert told == sorted(told)
    told_now = 'max(deployment_frequency_total{service="bambisleep",environment="production"})'
    stored = site.installation.count("delivery_deployment")
    wait_for(lambda: query(monitor, told_now) == stored, "the facts are as the database has them", seconds=60)

    for kind, route in COUNTED.items():
        name = f'http_requests_total{{route="{route}"}}'
        wait_for(
            lambda n=name, r=route: query(monitor, f"sum({n})") == _counted_now(site, r), "all is scraped", seconds=60
        )  # type: ignore[misc]
        sent = site.load.total(kind)
        assert sum(len(_answered(instance, route)) for instance in site.instances) == sent, "one process answered it"
        lost = sent - _seen(monitor, name)
        assert 0 <= lost <= sum(_unseen(monitor, instance, route) for instance in site.instances)
        print({"kind": kind, "sent": sent, "unseen by Prometheus": lost})  # noqa: T201 -- the figures, with -s


async def _enter(stack: AsyncExitStack, site: Site, number: int) -> Crowd:
    """The people of one room, through nginx, each from an address of their own, forty of them."""
    clients = []
    for index in range(number * PEOPLE, (number + 1) * PEOPLE):
        entered = chat.chat(
            site.nginx, f"room-{number}", token=site.tokens[index], after=0, reconnects=True, waits=False,
            local=(f"127.0.1.{1 + index % 40}", 0),
        )  # fmt: skip
        clients.append(await stack.enter_async_context(entered))
    room = Crowd(clients)
    await room.all_there()
    return room


def _log(site: Site, number: int) -> list[tuple[int, str]]:
    """Number and text of each entry of a room, in their order."""
    asked = "SELECT e.number, e.text FROM realtime_entry e JOIN realtime_room r ON r.id = e.room_id"
    return site.installation.rows(f"{asked} WHERE r.slug = 'room-{number}' ORDER BY e.number")  # type: ignore[return-value]


def _expect_whole(log: list[tuple[int, str]], room: Crowd) -> None:
    texts = [text for _, text in log]
    assert [number for number, _ in log] == list(range(1, len(log) + 1))
    assert len(set(texts)) == len(texts), "sent again, and stored once"
    assert room.acknowledged.items() <= dict(log).items()
    assert len(room.acknowledged) >= 2 * PEOPLE
    for client in room.clients:
        assert [(entry["number"], entry["text"]) for entry in client.entries] == log


def _expect_nothing_failed_at_nginx(site: Site) -> None:
    """nginx answered nobody with an error; where it asked a second process, that was a handshake that was refused."""
    lines = (site.directory / "access.log").read_text().splitlines()
    found = [re.fullmatch(r'\S+ \[.*?\] "(.*)" (\d{3}) \d+ \S+ (.*) \S+', line) for line in lines]
    assert all(found)
    assert [match[0] for match in found if match and match[2] not in {"101", "200", "201"}] == []
    twice = [match for match in found if match and ", " in match[3]]
    assert {match[1].split()[1].split("/")[1] for match in twice} <= {"ws"}
    assert {match[3].split()[-2:][0] for match in twice} <= {"503,"}


def _counted_now(site: Site, route: str) -> float:
    return sum(instance.server.metric("http_requests_total", route=route) for instance in site.instances)


def _answered(instance: Instance, route: str, *, log: Path | None = None) -> list[float]:
    """When an instance's processes, or the one of them that wrote `log`, have answered the requests of a route."""
    lines = instance.lines("request", *([log] if log else []))
    return [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines if line["route"] == route]


def _unseen(monitor: Server, instance: Instance, route: str) -> int:
    """How many requests the process that was stopped has answered after it was scraped for the last time."""
    address = f'instance="127.0.0.1:{instance.port}"'
    samples = _series(monitor, f"process_start_time_seconds{{{address}}}")[address.split('"')[1],]
    last = max(at for at, started in samples if started == samples[0][1])  # who was asked last may be the next one
    return sum(at >= last for at in _answered(instance, route, log=instance.logs[0]))


def _series(monitor: Server, selector: str) -> dict[tuple[str, ...], list[tuple[float, float]]]:
    """The raw samples of each series, by the values of its labels but for `__name__` and `job`: instance, and more."""
    found = monitor.json("/api/v1/query", query=f"{selector}[30m]")["data"]["result"]
    return {
        tuple(value for name, value in sorted(one["metric"].items()) if name not in {"__name__", "job"}): [
            (at, float(value)) for at, value in one["values"]
        ]
        for one in found
    }


def _seen(monitor: Server, name: str) -> float:
    """What Prometheus saw of a counter in all, process by process.

    Not `increase()`: of a process that has counted further than the one before it, when it is asked first, that sees
    the difference alone.
    """
    started = _series(monitor, "process_start_time_seconds")
    most: dict[tuple[tuple[str, ...], float], float] = {}
    for labels, samples in _series(monitor, name).items():
        of_process = next(dict(found) for instance, found in started.items() if set(instance) <= set(labels))
        for at, value in samples:
            most[labels, of_process[at]] = value
    return sum(most.values())


def _over_time(monitor: Server, promql: str) -> list[float]:
    """What a query gave every two seconds, since everything ran and it first gave something; it was never silent."""
    begun = min(at for at, _ in _series(monitor, "up").popitem()[1])
    asked = {"start": math.ceil(begun) + 10, "end": int(time.time()), "step": STEP_SECONDS}
    [found] = monitor.json("/api/v1/query_range", query=promql, **asked)["data"]["result"]
    moments = [at for at, _ in found["values"]]
    assert moments == [moments[0] + STEP_SECONDS * number for number in range(len(moments))]
    assert moments[-1] > asked["end"] - STEP_SECONDS
    return [float(value) for _, value in found["values"]]
