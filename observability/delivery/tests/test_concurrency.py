"""Many pipelines telling of the same deployments at once, and processes that die while they do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import OperationalError, connection, connections, transaction
from psycopg_pool import PoolTimeout

from bambisleep.tests.client import Answer, AsgiClient
from observability.delivery import deployments, tokens
from observability.delivery.deployments import Commit
from observability.delivery.models import DeployedCommit, Deployment, Pipeline, Standing

ROOT = Path(__file__).parents[3]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CALLERS, DEPLOYMENTS, COMMITS = 200, 20, 5

# A pipeline of its own: says "ready", and after a word on standard input each outcome of telling all deployments.
TELL_ALL = """
import sys
import django
django.setup()
from observability.delivery.tests.test_concurrency import DEPLOYMENTS, tell
print("ready", flush=True)
sys.stdin.readline()
for number in range(DEPLOYMENTS):
    print(tell(number), flush=True)
"""


def commits_of(number: int) -> list[Commit]:
    """Its own, and one that the deployment before brought too."""
    numbers = range(number * (COMMITS - 1), number * (COMMITS - 1) + COMMITS)
    return [Commit(f"{each:040x}", NOON - timedelta(hours=1)) for each in numbers]


def tell(number: int) -> str:
    """Record one of the deployments; gives the outcome."""
    return deployments.record(
        service="web",
        environment="production",
        version=f"1.{number}",
        sha=f"{number:040x}",
        finished_at=NOON + timedelta(hours=number),
        commits=commits_of(number),
    ).outcome


def tell_patiently(number: int) -> str:
    """The same; what finds no free connection tells again, as pipelines do."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return tell(number)
        except OperationalError as error:
            if not isinstance(error.__cause__, PoolTimeout) or time.monotonic() > deadline:
                raise


def post(number: int, token: str) -> Answer:
    """The same over HTTP; what finds no free connection is told again, as pipelines do after a 503."""
    body = {
        "service": "web",
        "version": f"1.{number}",
        "sha": f"{number:040x}",
        "deployed_at": (NOON + timedelta(hours=number)).isoformat(),
        "commits": [{"sha": each.sha, "authored_at": each.authored_at.isoformat()} for each in commits_of(number)],
    }
    deadline = time.monotonic() + 60
    while True:
        answer = AsgiClient().post("/dora/deployments", json=body, headers={"Authorization": f"Bearer {token}"})
        if answer.status != 503 or time.monotonic() > deadline:
            return answer
        assert answer.headers["retry-after"]
        time.sleep(0.5)


def at_once(callers: int, act: Callable[[int], Any]) -> list[Any]:
    """What `act` gives for each number, called from as many threads, all of which start together."""
    all_there = threading.Barrier(callers, timeout=30)

    def call(number: int) -> Any:
        try:
            all_there.wait()
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(callers) as threads:
        return list(threads.map(call, range(callers)))


def assert_each_is_there_once() -> None:
    """Every deployment with every commit, and each commit counted once."""
    assert Pipeline.objects.filter(service="web").count() == 1
    versions = list(Deployment.objects.values_list("version", flat=True))
    assert sorted(versions) == sorted(f"1.{number}" for number in range(DEPLOYMENTS))
    standings = Counter(DeployedCommit.objects.values_list("standing", flat=True))
    assert standings == {
        Standing.FIRST_DEPLOYMENT: COMMITS,
        Standing.COUNTED: (DEPLOYMENTS - 1) * (COMMITS - 1),
        Standing.ALREADY_DEPLOYED: DEPLOYMENTS - 1,
    }


@contextmanager
def pipeline() -> Iterator[subprocess.Popen[str]]:
    """A process that is ready to tell all deployments to this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    environment = {**os.environ, "DATABASE_URL": urlunsplit(url), "DJANGO_SETTINGS_MODULE": "bambisleep.settings"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", TELL_ALL], cwd=ROOT, env=environment, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def start(process: "subprocess.Popen[str]") -> None:
    """Let it tell."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def outcomes(process: "subprocess.Popen[str]") -> list[str]:
    """What it said of each, once it has come to its end."""
    assert process.stdout is not None
    said = process.stdout.read().split()
    assert process.wait(timeout=30) == 0
    return said


def wait_until(condition: Callable[[], bool]) -> None:
    """Up to half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "It did not come about."
        threading.Event().wait(0.01)


def count(query: str) -> int:
    """The number that a query of PostgreSQL's own tables gives."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'delivery_deployedcommit'::regclass"
AT_WORK = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
AND backend_type = 'client backend' AND state <> 'idle'
"""


@pytest.mark.django_db(transaction=True)
def test_of_eight_that_tell_of_one_deployment_at_once_one_creates_it() -> None:
    assert sorted(at_once(8, lambda _: tell(1))) == ["created", *["unchanged"] * 7]
    assert (Deployment.objects.count(), DeployedCommit.objects.count()) == (1, COMMITS)


@pytest.mark.needs("postgresql")
@pytest.mark.django_db(transaction=True)
def test_two_hundred_that_record_twenty_at_once_make_twenty_rows() -> None:
    found = at_once(CALLERS, lambda number: tell_patiently(number % DEPLOYMENTS))

    assert Counter(found) == {"created": DEPLOYMENTS, "unchanged": CALLERS - DEPLOYMENTS}
    assert_each_is_there_once()


@pytest.mark.needs("postgresql")
@pytest.mark.django_db(transaction=True)
def test_two_hundred_that_post_twenty_at_once_get_200_or_201() -> None:
    _, token = tokens.issue(name="the pipeline", scopes=["deployments:write"])

    answers = at_once(CALLERS, lambda number: post(number % DEPLOYMENTS, token))

    assert Counter(answer.status for answer in answers) == {201: DEPLOYMENTS, 200: CALLERS - DEPLOYMENTS}
    assert_each_is_there_once()


@pytest.mark.needs("postgresql")
@pytest.mark.django_db(transaction=True)
def test_one_killed_between_a_deployment_and_its_commits_leaves_nothing_and_a_retry_leaves_all() -> None:
    with pipeline() as process:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE delivery_deployedcommit IN EXCLUSIVE MODE")
            start(process)
            wait_until(lambda: count(WAITING) == 1)
            process.send_signal(signal.SIGKILL)
            assert process.wait(timeout=30) == -signal.SIGKILL
        wait_until(lambda: count(AT_WORK) == 0)
    assert (Deployment.objects.count(), DeployedCommit.objects.count()) == (0, 0)

    with pipeline() as again:
        start(again)
        assert outcomes(again) == ["created"] * DEPLOYMENTS
    assert_each_is_there_once()


@pytest.mark.needs("postgresql")
@pytest.mark.django_db(transaction=True)
def test_of_three_that_tell_all_one_is_killed_and_told_again_and_every_row_is_there_once() -> None:
    with pipeline() as first, pipeline() as second, pipeline() as killed:
        for process in (killed, first, second):
            start(process)
        wait_until(lambda: Deployment.objects.count() >= 3)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=30)
        said = outcomes(first) + outcomes(second)
    with pipeline() as retried:
        start(retried)
        assert outcomes(retried) == ["unchanged"] * DEPLOYMENTS

    assert len(said) == 2 * DEPLOYMENTS
    assert set(said) <= {"created", "unchanged"}
    assert_each_is_there_once()
