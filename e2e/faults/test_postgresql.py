"""PostgreSQL restarted, stopped, out of connections, locked: told to whoever asks, in time, and over by itself."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest

from bambisleep.tests.environment import LONG
from e2e.faults.conftest import Whole
from e2e.faults.life import life
from e2e.postgresql import Database

pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx")

OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'site' AND application_name <> 'taker'"


def test_restarted_under_way_and_killed_and_stopped_for_a_while(whole: Whole) -> None:
    with life(whole.site, whole.nginx) as people:
        with whole.database.away():
            pass
        people.recover()
        whole.database.kill()
        whole.database.start()
        people.recover()
        with whole.database.away():
            people.go_on(60 if LONG else 3)
        assert people.statuses("/dora")[503] > 0
        people.recover()
    people.expect_answers()


def test_out_of_connections(whole: Whole) -> None:
    with life(whole.site, whole.nginx) as people:
        with _all_taken(whole.database):
            people.go_on(30 if LONG else 3)
        assert people.statuses("/dora")[503] > 0
        people.recover()
    people.expect_answers()


def test_a_table_locked_for_longer_than_anybody_waits(whole: Whole) -> None:
    with life(whole.site, whole.nginx) as people:
        with psycopg.connect(whole.database.url, application_name="taker") as connection:
            connection.execute("LOCK TABLE delivery_deployment IN ACCESS EXCLUSIVE MODE")
            people.go_on(40 if LONG else 12)
        assert people.statuses("deploy")[503] > 0
        for habit in ("/", "/content/", "login", "upload"):
            assert people.statuses(habit)[503] == 0, "what does not touch the table goes on"
        people.recover()
    people.expect_answers(limit=13)


@contextmanager
def _all_taken(database: Database) -> Iterator[None]:
    """Every connection that PostgreSQL gives is somebody else's, until the end of the block."""
    with ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(database.url, autocommit=True, application_name="taker"))
        for _ in range(5):
            first.execute(OTHERS)
            with suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(psycopg.connect(database.url, application_name="taker"))
        yield
