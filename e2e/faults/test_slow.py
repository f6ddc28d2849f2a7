"""PostgreSQL and Redis far away: each answer of theirs takes so much longer, and nothing but time is lost."""

import pytest

from bambisleep.tests.environment import LONG
from e2e.crowd import LIMITS
from e2e.faults.conftest import Whole
from e2e.faults.life import life
from e2e.faults.line import line
from e2e.nginx import process_on
from e2e.servers import free_port

pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx")


def test_each_answer_of_both_comes_late(whole: Whole) -> None:
    with line(whole.database.port) as database, line(whole.site.redis.port) as redis:
        settings = {
            **LIMITS,
            "DATABASE_URL": f"postgres://site@127.0.0.1:{database.port}/postgres",
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        }
        process = process_on(whole.site.installation, free_port(), server="uvicorn", **settings)
        with process as server, life(whole.site, server) as people:
            redis.delay_seconds = 0.2  # less than its timeout: never given up
            people.go_on(30 if LONG else 3)
            redis.delay_seconds = 2.0  # more than that
            people.go_on(30 if LONG else 3)
            database.delay_seconds = 0.1
            people.go_on(30 if LONG else 3)
            redis.delay_seconds = database.delay_seconds = 0.0
            people.recover()
            assert people.statuses()[503] == 0
    people.expect_answers()
