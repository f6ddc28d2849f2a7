"""What a scrape costs beside one of an empty installation, as history grows; and what keeping the facts current costs.

On PostgreSQL, in a database that this makes and drops. Each size of history is a schema of it, filled by INSERT from
generate_series, and one connection goes from schema to schema; so all sizes are measured by turns in one process, and
no size has a warmer process or a luckier minute than another. It prints ratios to put into a decision; it is no test,
and it fails only where something does not run.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SERVER_URL = os.environ.get(
    "TEST_DATABASE_URL", "postgres://bambisleep_test:bambisleep_test@127.0.0.1:5432/bambisleep_test"
)
DATABASE_NAME = f"bambisleep_benchmark_{os.getpid()}"
DATA_DIR = tempfile.TemporaryDirectory(prefix="benchmark-")
(Path(DATA_DIR.name) / "static").mkdir()
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "bambisleep.settings",
    "DEBUG": "false",
    "SECRET_KEY": os.urandom(40).hex(),
    "ALLOWED_HOSTS": "testserver",
    "DATA_DIR": DATA_DIR.name,
    "DATABASE_URL": urlunsplit(urlsplit(SERVER_URL)._replace(path=f"/{DATABASE_NAME}")),
    "DATABASE_POOL_SIZE": "1",  # the one connection that goes from schema to schema
    "REDIS_URL": "",
    "METRICS_TOKEN": "",
    "LOG_LEVEL": "ERROR",
}

import django  # noqa: E402

django.setup()

import psycopg  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.db.models import F  # noqa: E402
from psycopg import sql  # noqa: E402

from benchmarks.sides import Side, by_turns, ratio, spread  # noqa: E402
from observability.exposition import read_snapshot, threads  # noqa: E402
from observability.facts import FACTS, Fact  # noqa: E402
from observability.http.edge import Edge  # noqa: E402
from observability.http.handler import Handler  # noqa: E402
from observability.http.routes import expect_known_routes  # noqa: E402
from observability.models import FactSample  # noqa: E402
from observability.refresh import AT_LEAST_EVERY, refresh  # noqa: E402

# --- The histories ----------------------------------------------------------------------------------------------------

# Three services, one of them as busy as the others together, in two environments, over three years that ended an hour
# ago: nothing is younger than the facts take to settle.
PIPELINES = """
INSERT INTO delivery_pipeline (service, environment, updated_at)
SELECT service, environment, now() - interval '3 years'
FROM unnest(ARRAY['bambisleep', 'encoder', 'mailer']) AS service, unnest(ARRAY['production', 'staging']) AS environment
"""
MORE_PIPELINES = """
INSERT INTO delivery_pipeline (service, environment, updated_at)
SELECT 'service-' || i, 'production', now() - interval '3 years' FROM generate_series(1, %(rows)s) AS i
"""
ROWS = {
    "deployments": """
INSERT INTO delivery_deployment (service, environment, version, sha, external_id, status, kind, started_at, finished_at,
    url, actor, previous_sha, failure_recorded_at, recorded_at, updated_at)
SELECT (ARRAY['bambisleep', 'bambisleep', 'encoder', 'mailer'])[1 + i / 2 %% 4],
    (ARRAY['production', 'staging'])[1 + i %% 2], '1.' || i, md5(i::text), 'run-' || i, status,
    CASE WHEN i %% 13 = 0 THEN 'hotfix' WHEN i %% 31 = 0 THEN 'rollback' ELSE 'planned' END,
    finished_at - interval '4 minutes', finished_at, 'https://ci.example/runs/' || i, 'ci', md5((i - 8)::text),
    CASE WHEN status = 'succeeded' THEN NULL ELSE finished_at END, finished_at, finished_at
FROM (SELECT i, now() - interval '1 hour' - interval '3 years' * (1 - i::float / %(rows)s) AS finished_at,
    CASE WHEN i %% 17 = 0 THEN 'failed' WHEN i %% 43 = 0 THEN 'rolled_back' ELSE 'succeeded' END AS status
    FROM generate_series(1, %(rows)s) AS i) AS made
""",
    # Four to a deployment; of ten, nine count, and one had been deployed before.
    "deployed commits": """
INSERT INTO delivery_deployedcommit (deployment_id, service, environment, sha, authored_at, deployed_at, lead_seconds,
    standing, observed_lead_seconds)
SELECT id, service, environment, md5('commit' || i), finished_at - make_interval(secs => lead), finished_at, lead,
    CASE WHEN status <> 'succeeded' THEN 'pending' WHEN kind = 'rollback' THEN 'rollback'
        WHEN i %% 10 = 0 THEN 'already_deployed' ELSE 'counted' END,
    CASE WHEN status = 'succeeded' AND kind <> 'rollback' AND i %% 10 <> 0 THEN lead END
FROM (SELECT i, -ln(1 - random()) * 86400 AS lead FROM generate_series(0, %(rows)s - 1) AS i) AS made
JOIN delivery_deployment ON id = 1 + i / 4 * 4 + i / 4 %% 4
""",
    # Two of five were caused by a deployment, and the last twenty are open.
    "incidents": """
INSERT INTO delivery_incident (service, environment, title, description, severity, started_at, resolved_at,
    deployment_id, fingerprint, url, observed_recovery_seconds, recorded_at, updated_at)
SELECT service, environment, 'HighErrorRate', 'More than 5 %% of requests fail.',
    (ARRAY['critical', 'warning', 'warning', 'info'])[1 + i %% 4], finished_at,
    CASE WHEN open THEN NULL ELSE finished_at + make_interval(secs => lasted) END,
    CASE WHEN i %% 5 < 2 THEN id END, md5('incident' || i), 'https://prometheus.example/graph',
    CASE WHEN i %% 5 < 2 AND NOT open THEN lasted END, finished_at, finished_at
FROM (SELECT i, -ln(1 - random()) * 1800 AS lasted, i > %(rows)s - 20 AS open
    FROM generate_series(1, %(rows)s) AS i) AS made
JOIN delivery_deployment ON id = i
""",
    "users": """
INSERT INTO accounts_user (password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined,
    email, updated_at)
SELECT 'argon2$' || md5(i::text), false, 'member' || i, '', '', false, i %% 50 <> 0, at,
    'member' || i || '@example.org', at
FROM (SELECT i, now() - interval '1 hour' - interval '3 years' * random() AS at
    FROM generate_series(1, %(rows)s) AS i) AS made
""",
    # Kept for two weeks and deleted a week later: two of three are live.
    "sessions": """
INSERT INTO django_session (session_key, session_data, expire_date)
SELECT md5('session' || i), repeat(md5(i::text), 6), now() - interval '1 week' + interval '3 weeks' * random()
FROM generate_series(1, %(rows)s) AS i
""",
    "refresh families": """
INSERT INTO accounts_refreshfamily (id, user_id, current_jti, created_at, updated_at, expires_at, revoked_at)
SELECT gen_random_uuid(), i, md5('token' || i), at, at, at + interval '2 weeks', CASE WHEN i %% 5 = 0 THEN at END
FROM (SELECT i, now() - interval '1 hour' - interval '3 weeks' * random() AS at
    FROM generate_series(1, %(rows)s) AS i) AS made
""",
}
CHANGES = {
    "a deployment": "delivery_deployment",
    "an incident": "delivery_incident",
    "a user": "accounts_user",
    "a refresh family": "accounts_refreshfamily",
}


@dataclass(frozen=True, slots=True)
class History:
    """One size, in a schema of its own: its pipelines beside the default one, and the rows of each other table."""

    name: str
    schema: str
    rows: int = 0
    pipelines: bool = True
    more_pipelines: int = 0


def histories(sizes: Sequence[int], more_pipelines: int) -> list[History]:
    """The base of every ratio first."""
    return [
        History("empty", "empty", pipelines=False),
        History("6 pipelines, no rows", "pipelines"),
        *(History(f"{size:,} rows".replace(",", " "), f"rows_{size}", size) for size in sizes),
        History(f"{more_pipelines} pipelines, no rows", "series", more_pipelines=more_pipelines),
    ]


@contextmanager
def own_database() -> Iterator[str]:
    """The database that DATABASE_URL names, for as long as it takes; gives the server's version."""
    name = sql.Identifier(DATABASE_NAME)
    with psycopg.connect(SERVER_URL, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield str(server.info.parameter_status("server_version"))
        finally:
            connections.close_all()
            connection.close_pool()
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def make(history: History) -> None:
    """Make its schema, fill it, and compute the facts for the first time."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {history.schema}")
        use(history.schema)
        call_command("migrate", verbosity=0)
        # Durability is no part of the question, and the workers of a parallel query would escape the measurement.
        cursor.execute("SET synchronous_commit = off; SET max_parallel_workers_per_gather = 0")
        if history.pipelines:
            cursor.execute(PIPELINES)
        if history.more_pipelines:
            cursor.execute(MORE_PIPELINES, {"rows": history.more_pipelines})
        if history.rows:
            with indexes_made_afterwards(history.schema):
                for statement in ROWS.values():
                    cursor.execute(statement, {"rows": history.rows})
        cursor.execute("VACUUM (ANALYZE)")  # of every schema; none that is done has anything left to do
    refresh(force=True)


@contextmanager
def indexes_made_afterwards(schema: str) -> Iterator[None]:
    """Leave off the schema's indexes, but those that are constraints, until its tables are full: faster."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = %s AND indexname NOT IN "
            "(SELECT conname FROM pg_constraint WHERE connamespace = %s::regnamespace)",
            [schema, schema],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        for _, definition in indexes:
            cursor.execute(definition)


def use(schema: str) -> None:
    """Turn the one connection to a schema."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('search_path', %s, false)", [schema])


# --- A scrape, as Prometheus sends it ---------------------------------------------------------------------------------

HEADERS = [
    (b"host", b"testserver"),
    (b"user-agent", b"Prometheus/3.5.0"),
    (b"accept", b"application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=1.0.0;q=0.5,*/*;q=0.1"),
    (b"accept-encoding", b"gzip"),
    (b"x-prometheus-scrape-timeout-seconds", b"10"),
]


async def scrape(application: Any, headers: Sequence[tuple[bytes, bytes]] = HEADERS) -> bytes:
    """One scrape, and its body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/metrics",
        "raw_path": b"/metrics",
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 50_000),
        "server": ("testserver", 3000),
    }
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]
    statuses, body = [], bytearray()

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        await asyncio.get_running_loop().create_future()  # a client that stays until it is answered
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        body.extend(message.get("body", b""))

    await application(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"/metrics was answered {statuses}.")
    return bytes(body)


async def snapshot() -> list[FactSample]:
    """What a scrape asks of the database, on a thread as there."""
    return await asyncio.get_running_loop().run_in_executor(threads, read_snapshot)


class Turns:
    """Calls under one schema, as a side of `by_turns`: the call that it makes first and does not count turns the
    connection, and the wall time of the others is kept."""

    def __init__(self, schema: str, call: Callable[[], Any], calls: int) -> None:
        self.schema = schema
        self.call = call
        self.calls = calls
        self.made = 0
        self.seconds = 0.0
        self.batches: list[float] = []

    async def __call__(self) -> None:
        """Make the call."""
        if self.made == 0:
            await asyncio.get_running_loop().run_in_executor(threads, self._turn)
        started = perf_counter()
        await self.call()
        if self.made:
            self.seconds += perf_counter() - started
        self.made += 1
        if self.made > self.calls:
            self.batches.append(self.seconds / self.calls)
            self.made, self.seconds = 0, 0.0

    def walls(self, passes: int) -> list[float]:
        """Microseconds of wall time a call, one value for each round that `by_turns` reported."""
        rounds = [self.batches[start : start + passes] for start in range(passes, len(self.batches), passes)]
        return [statistics.fmean(batches) * 1e6 for batches in rounds]

    def _turn(self) -> None:
        use(self.schema)
        connections.close_all()


def statements_of(loop: asyncio.AbstractEventLoop, schema: str, call: Callable[[], Any]) -> list[str]:
    """The SQL that one call sends, but for the pool's empty query, which asks whether the connection still stands."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def recorded(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if query:
            sent.append(str(query))
        return execute(self, query, *args, **kwargs)

    use(schema)
    connections.close_all()
    loop.run_until_complete(call())
    psycopg.Cursor.execute = recorded  # type: ignore[method-assign]
    try:
        loop.run_until_complete(call())
    finally:
        psycopg.Cursor.execute = execute  # type: ignore[method-assign]
    return sent


def print_scrapes(loop: asyncio.AbstractEventLoop, measured: Sequence[History], rounds: int) -> None:
    """Tables 1 and 2: the whole of /metrics, and reading the snapshot alone; then the goals. The same series without a
    row behind them show what is due to history, and not to having more to say."""
    expect_known_routes()
    application = Edge(Handler())
    passes = 3
    series, calls = {}, {}
    for history in measured:
        use(history.schema)
        connections.close_all()
        body = loop.run_until_complete(scrape(application, HEADERS[:2]))
        series[history.name] = sum(not line.startswith(b"#") for line in body.splitlines())
        calls[history.name] = 1 if history.more_pipelines else 4
    kinds: dict[str, Callable[[], Any]] = {"/metrics": lambda: scrape(application), "read_snapshot": snapshot}
    turns = {
        (kind, history.name): Turns(history.schema, call, calls[history.name] * (1 if kind == "/metrics" else 4))
        for kind, call in kinds.items()
        for history in measured
    }
    sides = {f"{kind} {name}": Side(turn, turn.calls) for (kind, name), turn in turns.items()}
    costs = by_turns(loop, sides, rounds, passes)
    base, no_rows = measured[0].name, measured[1].name
    for number, (kind, call) in enumerate(kinds.items(), 1):
        print(f"\n{number}. {kind}" + (", through the edge, compressed" if kind == "/metrics" else " alone"))
        row("", "series, SQL", "wall ms", "× empty", "CPU ms", "× empty", "CPU × 6 pipelines")
        for history in measured:
            wall, cpu = turns[kind, history.name].walls(passes), costs[f"{kind} {history.name}"]
            statements = len(statements_of(loop, history.schema, call))
            row(
                history.name,
                f"{series[history.name]}, {statements}",
                spread([value / 1000 for value in wall]).text(2),
                spread(ratio(wall, turns[kind, base].walls(passes))).text(2),
                spread([value / 1000 for value in cpu]).text(2),
                spread(ratio(cpu, costs[f"{kind} {base}"])).text(2),
                spread(ratio(cpu, costs[f"{kind} {no_rows}"])).text(2),
            )
    biggest = max(measured, key=lambda history: history.rows)
    print("\nGoals, by CPU time")
    for kind in kinds:
        cost = costs[f"{kind} {biggest.name}"]
        goal(f"{kind} with {biggest.name}: at most 1.5 × empty", ratio(cost, costs[f"{kind} {base}"]), 1.5)
        goal(f"{kind} with {biggest.name}: at most 1.5 × the same series", ratio(cost, costs[f"{kind} {no_rows}"]), 1.5)


# --- A refresh --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Costs:
    """What something took, once for each time it was done, in seconds."""

    wall: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    process: list[float] = field(default_factory=list)

    def measure(self, act: Callable[[], object]) -> None:
        """Do it once more."""
        pid, before = backend_cpu()
        cpu, wall = process_time(), perf_counter()
        act()
        self.wall.append(perf_counter() - wall)
        self.process.append(process_time() - cpu)
        after_pid, after = backend_cpu()
        if before is not None and after is not None and pid == after_pid:
            self.database.append(after - before)


def backend_cpu() -> tuple[int, float | None]:
    """The connection's server process, and its CPU seconds so far: user and system, to the nanosecond where the kernel
    tells; None where it runs on another machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    process = Path("/proc") / str(pid)
    try:
        if (process / "comm").read_text().strip() != "postgres":
            return pid, None
        try:
            return pid, int((process / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, ValueError):
            times = (process / "stat").read_text().rpartition(")")[2].split()
            return pid, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return pid, None


def print_refreshes(measured: Sequence[History], turns: int) -> None:
    """Tables 3 to 5: each fact, one refresh, and what a minute of refreshes comes to."""
    facts = {(fact.name, history.name): Costs() for fact in FACTS.values() for history in measured}
    full, idle = ({history.name: Costs() for history in measured} for _ in range(2))
    interval = timedelta(seconds=settings.FACTS_INTERVAL_SECONDS)
    busy = {(change, history.name): Costs() for change in CHANGES for history in measured}
    for _ in range(turns):
        for history in measured:
            use(history.schema)
            for fact in FACTS.values():
                facts[fact.name, history.name].measure(partial(computed, fact))
            full[history.name].measure(lambda: refresh(force=True))
            for change, table in CHANGES.items() if history.rows else ():
                with changed(table):
                    busy[change, history.name].measure(refresh)
    for history in measured:
        use(history.schema)
        for _ in range(round(AT_LEAST_EVERY / interval)):
            FactSample.objects.update(computed_at=F("computed_at") - interval, checked_at=F("checked_at") - interval)
            idle[history.name].measure(refresh)
    names = [history.name for history in measured]
    print(f"\n3. Computing each fact (a limit of {settings.FACTS_TIMEOUT_SECONDS:g} s each)")
    row("wall ms (database CPU ms)", *names)
    for fact in FACTS.values():
        row(f"  {fact.name}", *(milliseconds(facts[fact.name, name]) for name in names))
    print("\n4. One refresh")
    row("wall ms (database CPU ms)", *names)
    row("  everything computed", *(milliseconds(full[name]) for name in names))
    row("  nothing changed", *(milliseconds(idle[name]) for name in names))
    for change in CHANGES:
        row(f"  {change} changed", *(milliseconds(busy[change, name]) for name in names))
    minute = timedelta(minutes=1)
    print(f"\n5. CPU seconds a minute, database and process together, at {minute / interval:g} refreshes a minute")
    row("", *names)
    row("  idle", *(a_minute(idle[name], minute / interval) for name in names))
    for change in CHANGES:
        row(f"  {change} each time", *(a_minute(busy[change, name], minute / interval) for name in names))
    print(f"  Idle is the mean of {AT_LEAST_EVERY / minute:g} minutes, gone through by setting the facts back.")
    for history in measured:
        use(history.schema)
        for sample in FactSample.objects.exclude(error=""):
            print(f"  FAILED at {history.name}: {sample.fact}: {sample.error.splitlines()[0]}")


def computed(fact: Fact) -> list[Any]:
    """The fact's samples."""
    return list(fact.compute())


@contextmanager
def changed(table: str) -> Iterator[None]:
    """One row, the youngest, as changed just now; then as it was, and the facts up to date with that."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, updated_at FROM {table} ORDER BY updated_at DESC LIMIT 1")
        key, at = cursor.fetchone()
        cursor.execute(f"UPDATE {table} SET updated_at = now() WHERE id = %s", [key])
        yield
        cursor.execute(f"UPDATE {table} SET updated_at = %s WHERE id = %s", [at, key])
    refresh()


def milliseconds(costs: Costs) -> str:
    """Medians of the wall time and of the database's CPU time."""
    if not costs.wall:
        return "–"
    database = f"{statistics.median(costs.database) * 1000:.1f}" if costs.database else "not measurable"
    return f"{statistics.median(costs.wall) * 1000:.1f} ({database})"


def a_minute(costs: Costs, times: float) -> str:
    """CPU seconds of so many, by their mean."""
    if not costs.wall:
        return "–"
    if not costs.database:
        return "not measurable"
    return f"{(statistics.fmean(costs.database) + statistics.fmean(costs.process)) * times:.3f}"


def goal(sentence: str, ratios: list[float], limit: float) -> None:
    """Whether a goal is met, by the median."""
    found = spread(ratios)
    print(f"  {'met   ' if found.median <= limit else 'MISSED'} {sentence}: {found.text(2)}")


def row(name: str, *cells: str) -> None:
    """One line of a table."""
    print(f"  {name:<28}" + "".join(f"{cell:>23}" for cell in cells))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small histories, few rounds: a look, not a result")
    quick = parser.parse_args().quick
    started = perf_counter()
    loop = asyncio.new_event_loop()
    with own_database() as version:
        measured = histories([1_000, 10_000] if quick else [10_000, 1_000_000], 50 if quick else 200)
        for history in measured:
            make(history)
        made = perf_counter()
        print(f"Python {platform.python_version()}, PostgreSQL {version}, {os.cpu_count()} cores.")
        print_scrapes(loop, measured, 4 if quick else 21)
        print_refreshes(measured, 2 if quick else 5)
    loop.close()
    print(f"\nTook {perf_counter() - started:.0f} s, {made - started:.0f} s of it to make the histories.")


if __name__ == "__main__":
    main()
