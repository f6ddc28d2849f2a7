"""A cache that outlives its Redis: while Redis does not answer, each process remembers in its own memory.

For what may be forgotten or differ between processes for a while (rate limits, codes just used), and must never take
sign-in down with it. What must survive belongs in the database.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from .metrics import counter

FAILOVERS = counter("cache_failovers_total", "Cache operations answered from the process's memory, Redis being away.")
PAUSE_SECONDS = 5.0  # after a failure Redis is left alone for that long, so that a hung one costs one timeout

log = structlog.get_logger("bambisleep.cache")


# Django makes an instance for each request: what must outlive one is kept by location.
_redis: dict[str, RedisCache] = {}
_away_until: dict[str, float] = {}  # seconds of time.monotonic
_lock = threading.Lock()


class FailoverCache(BaseCache):
    """Redis at `LOCATION`, and this process's memory while that is away."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._location = location
        with _lock:
            self._redis = _redis.setdefault(location, RedisCache(location, dict(params)))
        self._memory = LocMemCache(location, {})

    def _call(self, operation: Callable[[Any], Any]) -> Any:
        if time.monotonic() >= _away_until.get(self._location, 0.0):
            try:
                return operation(self._redis)
            except (RedisError, OSError) as error:
                _away_until[self._location] = time.monotonic() + PAUSE_SECONDS
                log.warning("cache_away", error=str(error)[:200], pause_seconds=PAUSE_SECONDS)
        FAILOVERS.inc()
        return operation(self._memory)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """Store where there is nothing yet."""
        timeout = self._timeout(timeout)
        return self._call(lambda cache: cache.add(key, value, timeout, version))

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Look up."""
        return self._call(lambda cache: cache.get(key, default, version))

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Store."""
        timeout = self._timeout(timeout)
        self._call(lambda cache: cache.set(key, value, timeout, version))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """Keep for longer."""
        timeout = self._timeout(timeout)
        return self._call(lambda cache: cache.touch(key, timeout, version))

    def delete(self, key: Any, version: int | None = None) -> Any:
        """Forget."""
        return self._call(lambda cache: cache.delete(key, version))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> Any:
        """Add to a number."""
        return self._call(lambda cache: cache.incr(key, delta, version))

    def has_key(self, key: Any, version: int | None = None) -> Any:
        """Whether there is something."""
        return self._call(lambda cache: cache.has_key(key, version))

    def clear(self) -> None:
        """Forget everything, in both places."""
        self._memory.clear()
        self._call(lambda cache: cache.clear())

    def _timeout(self, timeout: Any) -> Any:
        return self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
