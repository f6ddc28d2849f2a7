"""The cache, with its Redis there, gone, and hung."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from observability import cache as module
from observability.cache import FailoverCache

Metric = Callable[..., float]
pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Redis of the test's own, on a socket in a directory, and its URL."""
    path = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, "redis-server did not start"
        time.sleep(0.02)
    yield process, f"unix://{path}"
    os.kill(process.pid, signal.SIGCONT)
    process.terminate()
    process.wait(10)


@pytest.fixture
def cache(redis: tuple[Any, str]) -> Any:
    return FailoverCache(redis[1], {"OPTIONS": {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}})


def test_with_redis_two_processes_share_what_is_stored(redis: tuple[Any, str], cache: Any) -> None:
    cache.set("a", [1, 2], 60)

    assert FailoverCache(redis[1], {}).get("a") == [1, 2]
    assert cache.add("a", 3) is False
    assert cache.add("b", 3) is True
    assert cache.incr("b") == 4
    assert cache.has_key("b")
    assert cache.touch("b", 60)
    assert cache.delete("b")
    assert cache.get("b", "nothing") == "nothing"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_without_redis_the_process_remembers_by_itself_and_counts_it(
    redis: tuple[Any, str], cache: Any, how: signal.Signals, metric: Metric
) -> None:
    cache.set("a", 1)
    before = metric("cache_failovers_total")
    os.kill(redis[0].pid, how)
    started = time.monotonic()

    assert cache.add("a", 2) is True
    for _ in range(50):
        assert cache.get("a") == 2

    assert time.monotonic() - started < 1.5
    assert metric("cache_failovers_total") == before + 51


def test_what_one_instance_finds_out_the_next_one_knows(redis: tuple[Any, str], cache: Any, metric: Metric) -> None:
    """Django makes an instance for each request."""
    os.kill(redis[0].pid, signal.SIGSTOP)
    started = time.monotonic()

    for _ in range(20):
        FailoverCache(redis[1], {"OPTIONS": {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}}).get("a")

    assert time.monotonic() - started < 3


def test_it_returns_to_redis_when_that_is_back(
    redis: tuple[Any, str], cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.2)
    cache.set("a", "in redis")
    os.kill(redis[0].pid, signal.SIGSTOP)
    assert cache.get("a") is None
    os.kill(redis[0].pid, signal.SIGCONT)

    deadline = time.monotonic() + 10
    while cache.get("a") != "in redis":
        assert time.monotonic() < deadline, "it did not return"
        time.sleep(0.05)
