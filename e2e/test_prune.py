"""manage.py prune, killed in the middle, and run twice at once: nothing young goes, and the next run goes on."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import psycopg

from bambisleep.tests.environment import LONG
from e2e.servers import ROOT, Installation, wait_for

OLD = 200_000 if LONG else 40_000  # rows
YOUNG = 100
EVENTS = "observability_security_event"
INSERT = (
    "INSERT INTO observability_security_event (at, type, path, request_id, detail) WITH RECURSIVE n(i) AS "
    "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) SELECT {at}, 'bad_host', '', '', '' FROM n"
)


def fill(installation: Installation) -> None:
    url = installation.database_url
    connection: Any = psycopg.connect(url) if url else sqlite3.connect(installation.data_dir / "db.sqlite3")
    with closing(connection), connection:
        connection.execute(INSERT.format(number=OLD, at="'2020-01-01 00:00:00+00:00'"))
        connection.execute(INSERT.format(number=YOUNG, at="CURRENT_TIMESTAMP"))


def start(installation: Installation) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "prune"],
        cwd=ROOT,
        env=installation.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def succeeded(installation: Installation) -> list[Any]:
    query = "SELECT succeeded_at FROM observability_maintenance_task WHERE task = 'prune'"
    return [at for (at,) in installation.rows(query) if at is not None]


def test_a_run_that_is_killed_loses_nothing_and_two_at_once_finish_it(installation: Installation) -> None:
    fill(installation)
    killed = start(installation)
    wait_for(lambda: installation.count(EVENTS) < OLD + YOUNG, "it has begun", seconds=120)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    left = installation.count(EVENTS)
    assert YOUNG < left < OLD + YOUNG
    assert left % 1000 == YOUNG  # whole batches went
    assert succeeded(installation) == []

    both = [start(installation) for _ in range(2)]
    told = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert installation.count(EVENTS) == YOUNG
    gone = [int(line.split()[1].replace(",", "")) for output, _ in told for line in output.splitlines()]
    assert sum(gone) == left - YOUNG  # each row was counted by who deleted it
    assert len(succeeded(installation)) == 1
