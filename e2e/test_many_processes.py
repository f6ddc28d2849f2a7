"""Three processes on PostgreSQL behind nginx, scraped by a real Prometheus: events add up exactly, facts are alike."""

import http.client
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.nginx import BEHIND_NGINX, nginx, process_on
from e2e.servers import Installation, Server, free_port, prometheus, query, wait_for
from observability.facts import METRICS as FACTS

pytestmark = pytest.mark.needs("nginx", "prometheus", "postgresql")

SEED = 20
REQUESTS = 3000
WORKERS = 12
HANG_UP = "499"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JUNK_TOKEN = {"Authorization": "Bearer not.a.token"}

Key = tuple[str, str, str]  # method, route, status


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: how it is sent, and as what it must be counted."""

    weight: int
    method: str
    target: str
    route: str
    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    attempts: tuple[str, str] | None = None  # auth_attempts_total: type, success
    served: bool = True  # whether the route serves the method

    @property
    def key(self) -> Key:
        """The labels of http_requests_total."""
        method = self.method if self.served or self.route == "unmatched" else "OTHER"
        return method, self.route, str(self.status)

    @property
    def timed(self) -> tuple[str, str]:
        """The labels of http_request_duration_seconds."""
        if not self.served:
            return "OTHER", "unmatched"
        return "GET" if self.method == "HEAD" else self.method, self.route


KINDS = [
    Kind(300, "GET", "/", "/", 200),
    Kind(20, "HEAD", "/", "/", 200),
    Kind(300, "GET", "/dora", "/dora", 200),
    Kind(60, "GET", "/dora?days=none", "/dora", 400),
    Kind(60, "POST", "/dora", "/dora", 405, body="{}", headers=JSON, served=False),
    Kind(200, "GET", "/nowhere", "unmatched", 404),
    Kind(60, "DELETE", "/nowhere/at/all", "unmatched", 404, served=False),
    Kind(60, "GET", "/content/..%5c..%5cetc/passwd", "unmatched", 400),
    Kind(60, "GET", "/content/../../etc/passwd", "unmatched", 400),
    Kind(150, "GET", "/static/site.css", "/static/", 200),
    Kind(100, "GET", "/auth/me", "/auth/me", 401),
    Kind(100, "GET", "/auth/me", "/auth/me", 401, headers=JUNK_TOKEN, attempts=("jwt", "false")),
    Kind(150, "POST", "/auth/refresh", "/auth/refresh", 401, '{"refresh": "junk"}', JSON, ("jwt", "false")),
    Kind(60, "POST", "/auth/refresh", "/auth/refresh", 400, "{", JSON, ("jwt", "false")),
    Kind(60, "POST", "/auth/login", "/auth/login", 400, '{"username": "mara"}', JSON, ("login", "false")),
    Kind(60, "POST", "/auth/register", "/auth/register", 400, "[]", JSON, ("register", "false")),
    Kind(60, "PUT", "/auth/login", "/auth/login", 405, "{}", JSON, served=False),
    Kind(60, "GET", "/admin/", "/admin/", 302),
    Kind(60, "POST", "/admin/login/", "/admin/", 403, "username=a", FORM),
    Kind(10, "GET", "/api/schema", "/api/schema", 200),
]  # fmt: skip
# Hung up on while Argon2 works on them (50 ms and more).
LOGIN = Kind(0, "POST", "/auth/login", "/auth/login", 401, '{"username": "nobody", "password": "wrong"}', JSON)
# Hung up on after the first byte of their answer.
PAGE = Kind(0, "GET", "/", "/", 200)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the plan. `leave_after` is None where the answer is read to its end; else the client hangs up
    after so many seconds, or at the first byte of the answer where that comes earlier."""

    id: str
    kind: Kind
    leave_after: float | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Three processes behind nginx, and the Prometheus that scrapes them."""

    installation: Installation
    directory: Path
    processes: list[Server]
    nginx: Server
    prometheus: Server

    def counted(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """The sums of an event metric over the processes, by `labels`, from their own exposition."""
        sums: Counter[tuple[str, ...]] = Counter()
        for process in self.processes:
            for found, value in process.samples(name):
                sums[tuple(found[label] for label in labels)] += int(value)
        return +sums

    def scraped(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """The same as Prometheus has it."""
        promql = f"sum by ({', '.join(labels)}) (last_over_time({name}[10s]))"  # a busy machine may miss a scrape
        result = self.prometheus.json("/api/v1/query", query=promql)["data"]["result"]
        return +Counter(
            {tuple(row["metric"].get(label, "") for label in labels): int(float(row["value"][1])) for row in result}
        )

    def facts(self, process: Server) -> dict[str, str]:
        """Every series of every fact, as one process tells it."""
        families = text_string_to_metric_families(process.http.get("/metrics").text)
        named = {name.removesuffix("_total") for name in FACTS} | set(FACTS)
        samples = (sample for family in families if family.name in named for sample in family.samples)
        return {f"{sample.name}{sorted(sample.labels.items())}": str(sample.value) for sample in samples}


@pytest.fixture(scope="module")
def site(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The whole of it, with static files collected, two deployments recorded, and everything scraped once."""
    installation.collect_static()
    for number in (1, 2):
        commit = ("--no-commits", "--commit", str(number) * 40, "--version", f"1.{number}")
        done = installation.manage("record_deploy", *commit, **BEHIND_NGINX)
        assert done.returncode == 0, done.stderr
    with ExitStack() as stack:
        processes = [stack.enter_context(process_on(installation, free_port())) for _ in range(3)]
        directory = tmp_path_factory.mktemp("nginx")
        proxy = stack.enter_context(nginx(directory, processes))
        monitor = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), *processes))
        wait_for(lambda: query(monitor, "sum(up)") == 3, "each process was scraped")
        yield Site(installation, directory, processes, proxy, monitor)


def test_every_request_is_counted_once(site: Site) -> None:
    plan = _plan()
    assert len(plan) == REQUESTS

    wrong = _send(site.nginx, plan)

    assert wrong == []
    left = [request for request in plan if request.leave_after is not None]
    wait_for(lambda: _passed_on(site.directory).keys() >= {request.id for request in left}, "nginx has logged them all")
    never_arrived = [request for request in left if not _passed_on(site.directory)[request.id]]
    arrived = [request for request in plan if request not in never_arrived]
    assert len(arrived) > REQUESTS - 10, "nearly every client that hung up had been passed on before"
    expected = Counter(request.kind.key for request in arrived if request.leave_after is None)
    hung_up = Counter(request.kind.key for request in arrived if request.leave_after is not None)

    labels = ("method", "route", "status")
    wait_for(lambda: site.counted("http_requests_total", *labels).total() >= len(arrived), "the last ones are counted")
    for counted in (site.counted, _settled(site, "http_requests_total", *labels)):
        found = counted("http_requests_total", *labels)
        # A request that was hung up on counts as what it would have been, or as 499.
        extra = found - expected
        assert expected - found == Counter()
        assert _by_route(extra) == _by_route(hung_up)
        assert {key[2] for key in extra} <= {HANG_UP, "429"} | {key[2] for key in hung_up}  # 429: the lock-out

        timed = Counter(request.kind.timed for request in arrived)
        assert counted("http_request_duration_seconds_count", "method", "route") == timed

        errors = Counter[tuple[str, ...]]()
        for (method, route, status), number in found.items():
            if status >= "400":
                errors[method, route, "server_error" if status >= "500" else "client_error"] += number
        assert counted("http_requests_errors_total", "method", "route", "type") == errors

        attempts = Counter(request.kind.attempts for request in arrived if request.kind.attempts)
        attempted = counted("auth_attempts_total", "type", "success")
        assert attempted["jwt", "false"] == attempts["jwt", "false"] > 0
        assert attempted["register", "false"] == attempts["register", "false"] > 0
        climbs = sum("etc/passwd" in request.kind.target for request in arrived)
        assert counted("security_events_total", "type")["directory_traversal",] == climbs > 0


def test_facts_are_alike_and_as_the_database_has_them(site: Site) -> None:
    name = {"username": "mara", "email": "mara@example.org", "password": "a long enough phrase"}
    assert site.nginx.http.post("/auth/register", json=name).status_code == 201

    wait_for(lambda: site.processes[0].metric("users") == 1, "the facts were brought up to date", seconds=30)
    for process in site.processes:
        assert process.metric("users", state="active") == site.installation.count("accounts_user") == 1
        deployments = process.metric("deployment_frequency_total", service="bambisleep", environment="production")
        assert deployments == site.installation.count("delivery_deployment") == 2
    _wait_for_equal_facts(site)
    for fact in ("users", "deployment_frequency_total", "deployment_last_timestamp_seconds"):
        spread = f"max without (instance) ({fact}) - min without (instance) ({fact})"
        wait_for(lambda promql=spread: query(site.prometheus, promql) == 0, f"Prometheus sees {fact} alike")
        assert query(site.prometheus, f"count({fact})") % 3 == 0


def test_a_killed_process_comes_back_with_the_same_facts_and_no_request_twice(site: Site) -> None:
    facts = _wait_for_equal_facts(site)
    before = site.counted("http_requests_total", "route")["/dora",]
    scraped = _settled(site, "http_requests_total", "route")
    assert scraped("http_requests_total", "route")["/dora",] == before
    instance = site.processes[0]
    lost = int(instance.metric("http_requests_total", route="/dora"))
    assert lost > 100, "a request counted twice would be seen"
    began = time.time()

    os.kill(instance.process.pid, signal.SIGKILL)
    instance.process.wait(10)
    instance.http.close()
    plan = [Request(f"while-down-{number:04}", Kind(1, "GET", "/dora", "/dora", 200)) for number in range(100)]
    assert _send(site.nginx, plan) == []
    with process_on(site.installation, instance.port) as restarted:
        assert site.facts(restarted) == facts
        site.processes[0] = restarted
        wait_for(lambda: query(site.prometheus, "sum(up)") == 3, "it is scraped again")
        # nginx tries the address again a second after the last failure.
        again = [Request(f"after-it-{number:04}", Kind(1, "GET", "/dora", "/dora", 200)) for number in range(300)]
        while restarted.metric("http_requests_total", route="/dora") == 0:
            assert _send(site.nginx, again) == []
            plan += again
            assert time.time() - began < 60
        assert site.counted("http_requests_total", "route")["/dora",] == before - lost + len(plan)
        _settled(site, "http_requests_total", "route")

        window = int(time.time() - began) + 4
        series = f'http_requests_total{{route="/dora",status="200"}}[{window}s]'
        increase = query(site.prometheus, f"sum(increase({series}))")
        assert increase is not None
        # Prometheus extends what it saw by less than a scrape at each end of the window.
        assert len(plan) <= round(increase, 3) <= len(plan) * window / (window - 2.5)
        assert query(site.prometheus, f"sum(resets({series}))") == 1


def _plan() -> list[Request]:
    """The same requests at every run: what they are, in which order, and who hangs up when."""
    chooser = random.Random(SEED)
    kinds = chooser.choices(KINDS, [kind.weight for kind in KINDS], k=REQUESTS - 60)
    sent: list[tuple[Kind, float | None]] = [(kind, None) for kind in kinds]
    sent += [(LOGIN, 0.02 + 0.04 * chooser.random()) for _ in range(20)] + [(PAGE, 20.0)] * 40
    chooser.shuffle(sent)
    return [Request(f"planned-{number:04}", kind, leave) for number, (kind, leave) in enumerate(sent)]


def _send(server: Server, plan: Sequence[Request]) -> list[str]:
    """Send a plan by a few clients at once, each with an address and a connection of its own; what was not answered as
    it should be."""
    with ThreadPoolExecutor(WORKERS) as pool:
        shares = pool.map(partial(_send_share, server.port, plan), range(WORKERS))
        return [complaint for share in shares for complaint in share]


def _send_share(port: int, plan: Sequence[Request], worker: int) -> list[str]:
    wrong = []
    address = (f"127.0.1.{worker + 1}", 0)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=address)
    for request in plan[worker::WORKERS]:
        if request.leave_after is not None:
            _hang_up(port, request)
            continue
        status = _status(connection, request)
        if status != request.kind.status:
            wrong.append(f"{request.id}: {request.kind.method} {request.kind.target} was answered {status}")
    connection.close()
    return wrong


def _status(connection: http.client.HTTPConnection, request: Request) -> int:
    headers = {"X-Request-ID": request.id, **request.kind.headers}
    connection.request(request.kind.method, request.kind.target, request.kind.body or None, headers)
    response = connection.getresponse()
    response.read()
    return response.status


def _hang_up(port: int, request: Request) -> None:
    """Send a request whole, and leave in time."""
    kind = request.kind
    lines = [f"{kind.method} {kind.target} HTTP/1.1", "Host: localhost", f"X-Request-ID: {request.id}"]
    lines += [f"{name}: {value}" for name, value in kind.headers.items()]
    lines += [f"Content-Length: {len(kind.body)}", "", kind.body]
    with socket.create_connection(("127.0.0.1", port), timeout=request.leave_after) as connection:
        connection.sendall("\r\n".join(lines).encode())
        with suppress(TimeoutError):
            connection.recv(1)


def _passed_on(directory: Path) -> dict[str, bool]:
    """Of each request by its id, whether nginx passed it on: where a client leaves at once, it may not."""
    lines = [line.split(maxsplit=2) for line in (directory / "sent.log").read_text().splitlines()]
    return {traced: sent not in {"-", "0"} for traced, _, sent in lines}


def _settled(site: Site, name: str, *labels: str) -> Callable[..., Counter[tuple[str, ...]]]:
    """`site.scraped`, once Prometheus has seen what the processes tell."""
    wait_for(lambda: site.scraped(name, *labels) == site.counted(name, *labels), "Prometheus has scraped it all")
    return site.scraped


def _by_route(counts: Counter[Key]) -> Counter[tuple[str, ...]]:
    sums: Counter[tuple[str, ...]] = Counter()
    for (method, route, _), number in counts.items():
        sums[method, route] += number
    return sums


def _wait_for_equal_facts(site: Site) -> dict[str, str]:
    """The facts, once all processes tell the same."""

    def alike() -> dict[str, str] | None:
        first, *others = [site.facts(process) for process in site.processes]
        return first if all(other == first for other in others) else None

    facts = wait_for(alike, "every process tells the same facts")
    assert facts
    return facts
