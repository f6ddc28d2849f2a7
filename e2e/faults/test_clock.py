"""The clock jumps by an hour, forward and back: no browser is signed out, and nothing waits for the hour to pass."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

import pytest

from e2e.crowd import LIMITS
from e2e.faults.conftest import Whole
from e2e.faults.life import Life, life
from e2e.nginx import BEHIND_NGINX
from e2e.servers import Server, free_port, running, wait_for

pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx")

HOUR = 3600
FACTS_DELAY_SECONDS = 15  # the house's promise


def test_an_hour_forward_and_back(whole: Whole) -> None:
    for number in range(2):
        whole.site.stop_quietly(number)  # theirs would be the right time
    try:
        with _process(whole) as server, life(whole.site, server) as people:
            for wrong_by in (HOUR, 0, -HOUR, 0):
                _jump(whole, server, wrong_by)
                people.recover()
                _facts_follow(server, people)
        assert people.statuses()[503] == 0
        people.expect_answers()
    finally:
        for number in range(2):
            whole.site.start(number)


@contextmanager
def _process(whole: Whole) -> Iterator[Server]:
    port = free_port()
    directory = whole.site.installation.data_dir
    settings = {**BEHIND_NGINX, **LIMITS, "REDIS_URL": whole.site.redis.url, "CLOCK_FILE": str(directory / "clock")}
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    command.append("e2e.faults.jumping:application")
    environment = whole.site.installation.environment(PORT=str(port), **settings)
    log = directory / f"uvicorn-{port}-clock.log"
    with running(command, environment=environment, port=port, log=log, ready="/health") as server:
        yield server


def _jump(whole: Whole, server: Server, wrong_by: int) -> None:
    (whole.site.installation.data_dir / "clock").write_text(str(wrong_by))
    server.process.send_signal(signal.SIGUSR1)

    def has_jumped() -> bool:
        told = parsedate_to_datetime(server.http.get("/health/live").headers["Date"]).timestamp()
        return abs(told - time.time() - wrong_by) < 60

    wait_for(has_jumped, f"its clock is wrong by {wrong_by} s")


def _facts_follow(server: Server, people: Life) -> None:
    """What is recorded now is told soon."""
    known = len(people.deployed)
    wait_for(lambda: len(people.deployed) > known, "one more is recorded", seconds=10)
    told = len(people.deployed)
    wait_for(
        lambda: server.metric("deployment_frequency_total", service=f"life-{people.name}") >= told,
        "the facts follow",
        seconds=FACTS_DELAY_SECONDS + 10,
    )
