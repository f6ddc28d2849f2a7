"""What the five measures cost as history grows: computed, and asked for at /dora; and what recording a history costs.

On PostgreSQL, in a database that this makes and drops, each size of history in a schema of its own (benchmarks.scrape
has the how and why). It prints times and ratios to put into a decision; it is no test, and it fails only where
something does not run.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.scrape import goal, indexes_made_afterwards, own_database, row, use  # first: it sets Django up # isort: skip
from django.core.management import call_command, get_commands
from django.db import connection, connections
from django.utils import timezone

from benchmarks.sides import ratio, spread
from observability.delivery import deployments, measures
from observability.delivery.deployments import Commit
from observability.delivery.models import DeployedCommit, Deployment, Incident
from observability.http.edge import Edge
from observability.http.handler import Handler
from observability.http.routes import expect_known_routes

SERVICE, ENVIRONMENT = "bambisleep", "production"
COMMITS = 40
YEARS = 3
WINDOWS = {"30 days": 30, "all history": YEARS * 366}

# --- The histories ----------------------------------------------------------------------------------------------------

PIPELINE = (
    f"INSERT INTO delivery_pipeline (service, environment, updated_at) VALUES ('{SERVICE}', '{ENVIRONMENT}', now())"
)
DEPLOYMENTS = f"""
INSERT INTO delivery_deployment (service, environment, version, sha, external_id, status, kind, started_at, finished_at,
    url, actor, previous_sha, failure_recorded_at, recorded_at, updated_at)
SELECT '{SERVICE}', '{ENVIRONMENT}', '1.' || i, md5(i::text), 'run-' || i, status,
    CASE WHEN i %% 13 = 0 THEN 'hotfix' WHEN i %% 31 = 0 THEN 'rollback' ELSE 'planned' END,
    finished_at - interval '4 minutes', finished_at, '', 'ci', '',
    CASE WHEN status = 'succeeded' THEN NULL ELSE finished_at END, finished_at, finished_at
FROM (SELECT i, now() - interval '1 hour' - interval '{YEARS} years' * (1 - i::float / %(rows)s) AS finished_at,
    CASE WHEN i %% 17 = 0 THEN 'failed' WHEN i %% 43 = 0 THEN 'rolled_back' ELSE 'succeeded' END AS status
    FROM generate_series(1, %(rows)s) AS i) AS made
"""
# Of ten, nine count, and one had been deployed before.
DEPLOYED_COMMITS = f"""
INSERT INTO delivery_deployedcommit (deployment_id, service, environment, sha, authored_at, deployed_at, lead_seconds,
    standing, observed_lead_seconds)
SELECT id, service, environment, md5('commit' || i), finished_at - make_interval(secs => lead), finished_at, lead,
    CASE WHEN status <> 'succeeded' THEN 'pending' WHEN kind = 'rollback' THEN 'rollback'
        WHEN i %% 10 = 0 THEN 'already_deployed' ELSE 'counted' END,
    CASE WHEN status = 'succeeded' AND kind <> 'rollback' AND i %% 10 <> 0 THEN lead END
FROM (SELECT i, -ln(1 - random()) * 86400 AS lead FROM generate_series(0, %(rows)s * {COMMITS} - 1) AS i) AS made
JOIN delivery_deployment ON id = 1 + i / {COMMITS}
"""
# One to ten deployments; two of five were caused by one.
INCIDENTS = """
INSERT INTO delivery_incident (service, environment, title, description, severity, started_at, resolved_at,
    deployment_id, fingerprint, url, observed_recovery_seconds, recorded_at, updated_at)
SELECT service, environment, 'HighErrorRate', '', 'warning', finished_at,
    finished_at + interval '1 second' * (i %% 3000),
    CASE WHEN i %% 50 < 20 THEN id END, md5('incident' || i), '', NULL, finished_at, finished_at
FROM generate_series(10, %(rows)s, 10) AS i JOIN delivery_deployment ON id = i
"""


def schema_of(size: int) -> str:
    """Where the history of so many deployments is."""
    return f"deployments_{size}"


def make(size: int) -> None:
    """Make a schema, and a history of so many deployments in it."""
    schema = schema_of(size)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
        use(schema)
        call_command("migrate", verbosity=0)
        cursor.execute("SET synchronous_commit = off")  # durability is no part of the question
        with indexes_made_afterwards(schema):
            cursor.execute(PIPELINE)
            for statement in (DEPLOYMENTS, DEPLOYED_COMMITS, INCIDENTS):
                cursor.execute(statement, {"rows": size})
        cursor.execute("VACUUM (ANALYZE)")


# --- Asking -----------------------------------------------------------------------------------------------------------


async def get(application: Any, days: int) -> None:
    """GET /dora, as a browser sends it."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/dora",
        "raw_path": b"/dora",
        "query_string": f"days={days}".encode(),
        "root_path": "",
        "headers": [(b"host", b"testserver"), (b"accept", b"application/json")],
        "client": ("127.0.0.1", 50_000),
        "server": ("testserver", 3000),
    }
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]
    statuses = []

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        await asyncio.get_running_loop().create_future()  # a client that stays until it is answered
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await application(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"/dora was answered {statuses}.")


def compute(days: int) -> None:
    """The measures with their trends, without a request around them."""
    window = measures.days_before(timezone.now(), days)
    measures.compute(service=SERVICE, environment=ENVIRONMENT, window=window)


def print_asking(loop: asyncio.AbstractEventLoop, sizes: Sequence[int], rounds: int) -> None:
    """Tables 1 and 2: the measures alone, and /dora; then the goal."""
    expect_known_routes()
    application = Edge(Handler())
    kinds: dict[str, Callable[[int], Any]] = {
        "measures.compute": compute,
        "GET /dora": lambda days: loop.run_until_complete(get(application, days)),
    }
    sides = [(kind, window, size) for kind in kinds for window in WINDOWS for size in sizes]
    times: dict[tuple[str, str, int], list[float]] = {side: [] for side in sides}
    shuffled = random.Random(1)
    for number in range(rounds + 1):
        shuffled.shuffle(sides)
        for side in sides:
            kind, window, size = side
            use(schema_of(size))
            connections.close_all()  # back into the pool of one, for whichever thread asks
            started = perf_counter()
            kinds[kind](WINDOWS[window])
            if number:  # the first warms the caches
                times[side].append((perf_counter() - started) * 1000)
            connections.close_all()
    for number, kind in enumerate(kinds, 1):
        print(f"\n{number}. {kind}: wall ms, and × {sizes[0]} deployments")
        row("", *(name for window in WINDOWS for name in (window, "×")))
        for size in sizes:
            cells = []
            for window in WINDOWS:
                values = times[kind, window, size]
                cells += [spread(values).text(1), spread(ratio(values, times[kind, window, sizes[0]])).text(1)]
            row(f"{size} × {COMMITS} commits", *cells)
    print("\nGoals")
    for window in WINDOWS:
        limit = {"30 days": 0.5, "all history": 5.0}[window]
        values = [each / 1000 for each in times["GET /dora", window, sizes[-1]]]
        goal(f"/dora over {window} with {sizes[-1]} deployments: at most {limit} s", values, limit)


# --- Recording --------------------------------------------------------------------------------------------------------


def history(number: int) -> list[dict[str, Any]]:
    """So many deployments, as `deployments.record` takes them, of ten commits each, one of them deployed before."""
    first = timezone.now() - timedelta(days=300)
    told = []
    for each in range(number):
        at = first + timedelta(minutes=each)
        commits = [Commit(f"{each * 9 + i:040x}", at - timedelta(hours=i + 1)) for i in range(10)]
        told.append({"version": f"1.{each}", "sha": f"{each:040x}", "finished_at": at, "commits": commits})
    return told


def record_all(told: list[dict[str, Any]]) -> None:
    """One call and one transaction a deployment."""
    for each in told:
        deployments.record(service=SERVICE, environment=ENVIRONMENT, **each)


def insert_all(told: list[dict[str, Any]]) -> None:
    """The same rows, without asking what counts."""
    common = {"service": SERVICE, "environment": ENVIRONMENT}
    rows = [
        Deployment(
            **common,
            version=each["version"],
            sha=each["sha"],
            external_id=each["version"],
            status="succeeded",
            finished_at=each["finished_at"],
        )
        for each in told
    ]
    Deployment.objects.bulk_create(rows, batch_size=1000)
    commits = [
        DeployedCommit(deployment=row, **common, sha=commit.sha, authored_at=commit.authored_at)
        for row, each in zip(rows, told, strict=True)
        for commit in each["commits"]
    ]
    DeployedCommit.objects.bulk_create(commits, batch_size=1000)


def import_all(file: Path) -> None:
    """The command, on a file."""
    call_command("import_deploys", str(file), stdout=StringIO(), stderr=StringIO())


def as_line(told: dict[str, Any]) -> str:
    """A deployment in the import format."""
    at: datetime = told["finished_at"]
    commits = [{"sha": each.sha, "authored_at": each.authored_at.isoformat()} for each in told["commits"]]
    return json.dumps(
        {"version": told["version"], "sha": told["sha"], "deployed_at": at.isoformat(), "commits": commits}
    )


def print_recording(number: int, rounds: int) -> None:
    """Table 3: deployments a second, by each way of recording them."""
    use("recording")
    told = history(number)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        file = Path(directory) / "history.jsonl"
        file.write_text("".join(as_line(each) + "\n" for each in told))
        ways: dict[str, Callable[[], None]] = {
            "bare bulk insert": partial(insert_all, told),
            "deployments.record": partial(record_all, told),
        }
        if "import_deploys" in get_commands():
            ways["import_deploys"] = partial(import_all, file)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, act in ways.items():
                Incident.objects.all().delete()
                DeployedCommit.objects.all().delete()
                Deployment.objects.all().delete()
                started = perf_counter()
                act()
                times[way].append(perf_counter() - started)
                if Deployment.objects.count() != number or DeployedCommit.objects.count() != number * 10:
                    raise RuntimeError(f"{way} did not record every row.")
    print(f"\n3. Recording {number} deployments of 10 commits")
    row("", "deployments/s", "rows/s", "× a bare bulk insert")
    for way, seconds in times.items():
        row(
            way,
            spread([number / each for each in seconds]).text(0),
            spread([number * 11 / each for each in seconds]).text(0),
            spread(ratio(seconds, times["bare bulk insert"])).text(1),
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small histories, few rounds: a look, not a result")
    quick = parser.parse_args().quick
    started = perf_counter()
    loop = asyncio.new_event_loop()
    with own_database() as version:
        sizes = [100, 1_000, 10_000] if quick else [100, 10_000, 100_000]
        for size in sizes:
            make(size)
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA recording")
        use("recording")
        call_command("migrate", verbosity=0)
        made = perf_counter()
        print(f"Python {platform.python_version()}, PostgreSQL {version}, {os.cpu_count()} cores.")
        print_asking(loop, sizes, 3 if quick else 7)
        print_recording(200 if quick else 1_000, 2 if quick else 3)
    loop.close()
    print(f"\nTook {perf_counter() - started:.0f} s, {made - started:.0f} s of it to make the histories.")


if __name__ == "__main__":
    main()
