"""Redis, which holds nothing that must not be lost: the cache, and the word from process to process."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import redis
from django.conf import settings
from django.utils import timezone

from .clocks import compared
from .findings import Finding, check, error, note, ok, warning

OLDEST = 6
FULL = 0.9  # of maxmemory, or of maxclients


@check("redis", seconds=8)
def redis_is_good() -> Iterator[Finding]:
    """Its version, what it does when it is full, whether it writes, and its clock."""
    if not settings.REDIS_URL:
        yield note(
            "REDIS_URL is not set: each process has a cache, and limits, of its own.",
            "Set it where several processes serve the site.",
        )
        return
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3)
    asked_at = timezone.now()
    try:
        info: dict[str, Any] = client.info()
        seconds, microseconds = client.time()
    except (redis.RedisError, OSError) as problem:
        yield error(
            f"It does not answer: {problem}",
            "Is it up, and is REDIS_URL right? Meanwhile each process has limits of its own, and the chat is slower.",
        )
        return
    finally:
        client.close()
    yield from _judged(info)
    yield compared("Redis'", datetime.fromtimestamp(seconds + microseconds / 1e6, UTC), asked_at=asked_at)


def _judged(info: dict[str, Any]) -> Iterator[Finding]:
    version = str(info["redis_version"])
    if int(version.split(".")[0]) < OLDEST:
        yield warning(f"Redis {version} is old.", f"Use version {OLDEST} or newer.")
    else:
        yield ok(f"Redis {version}, {info.get('used_memory_human', '?')} in use.")
    limit, policy = int(info.get("maxmemory") or 0), str(info.get("maxmemory_policy", ""))
    if limit and policy == "noeviction":
        yield warning(
            "It refuses to write when its memory is full (maxmemory-policy noeviction).",
            "What is in it may be forgotten: maxmemory-policy allkeys-lru.",
        )
    elif not limit:
        yield note("Its memory has no limit (maxmemory 0).", "Set maxmemory 256mb and maxmemory-policy allkeys-lru.")
    if limit and policy == "noeviction" and int(info["used_memory"]) > FULL * limit:
        yield error("Its memory is full.", "Raise maxmemory, or let it forget (maxmemory-policy allkeys-lru).")
    if info.get("rdb_last_bgsave_status", "ok") != "ok" or info.get("aof_last_write_status", "ok") != "ok":
        yield error(
            "It cannot write to its disk, and may refuse everything until it can.",
            'Make room, or switch persistence off: save "" and appendonly no. Nothing in it has to last.',
        )
    most = int(info.get("maxclients") or 0)
    if most and int(info["connected_clients"]) > FULL * most:
        yield warning(f"{info['connected_clients']} of {most} connections are in use.", "Raise maxclients.")
    if info.get("role") not in (None, "master"):
        yield error("This is a replica, which takes no writes.", "Let REDIS_URL lead to the primary.")
