"""Redis restarted, killed, stopped, hung, out of connections: nobody waits for it, nobody is refused for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis as Client

from bambisleep.tests.environment import LONG
from e2e.faults.conftest import Whole
from e2e.faults.life import life
from e2e.redis import Redis

pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx")

SECONDS = 60 if LONG else 2


def test_restarted_killed_stopped_hung_and_out_of_connections(whole: Whole) -> None:
    redis = whole.site.redis
    with life(whole.site, whole.nginx) as people:
        with redis.away():
            people.go_on(SECONDS)
        people.recover()
        redis.process.send_signal(signal.SIGKILL)
        redis.process.wait(10)
        redis.start()
        people.recover()
        with redis.hung():
            people.go_on(SECONDS)
        people.recover()
        with _all_taken(redis):
            people.go_on(SECONDS)
        people.recover()
        assert people.statuses()[503] == 0
    people.expect_answers()


@contextmanager
def _all_taken(redis: Redis) -> Iterator[None]:
    """No connection is given, and those that were are ended."""
    with Client(port=redis.port) as client:
        before = client.config_get("maxclients")["maxclients"]  # type: ignore[index]
        client.config_set("maxclients", 1)
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub")
        try:
            yield
        finally:
            client.config_set("maxclients", before)
