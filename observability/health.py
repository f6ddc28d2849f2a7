"""GET /health, /health/live, /health/ready: is this process alive, and should it get traffic.

live: the process answers; it asks nothing of anyone. ready: what no request can do without answers. /health: every
check with its state and latency. 200, or 503 where a check that matters failed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from .exposition import threads
from .http import draining
from .models import FactSample
from .problems import error_response

DEADLINE_SECONDS = 1.5
FACTS_STALE_SECONDS = 120


class CheckFailed(Exception):
    """A health check's finding, in a sentence that an operator can act on."""


@dataclass(frozen=True, slots=True)
class Check:
    """A named check. `required` ones decide readiness and the status code; the others only report."""

    name: str
    run: Callable[[], str]
    required: bool


def _database() -> str:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")
    return connections[DEFAULT_DB_ALIAS].vendor


_migrated: list[str] = []  # once every migration is applied, this process needs to ask no more


def _migrations() -> str:
    if not _migrated:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            raise CheckFailed(f"{len(plan)} migrations are not applied: run manage.py migrate.")
        _migrated.append("applied")
    return _migrated[0]


def _cache() -> str:
    cache.set("health", "1", timeout=5)
    if cache.get("health") != "1":
        raise CheckFailed("What was written could not be read back.")
    return "redis" if settings.REDIS_URL else "local memory"


def _facts() -> str:
    rows = list(FactSample.objects.values("fact", "checked_at", "error"))
    if not rows:
        raise CheckFailed("Not computed yet.")
    failing = [row["fact"] for row in rows if row["error"]]
    if failing:
        raise CheckFailed(f"Failing: {', '.join(sorted(failing))}.")
    age = (timezone.now() - min(row["checked_at"] for row in rows)).total_seconds()
    if age > FACTS_STALE_SECONDS:
        raise CheckFailed(f"Last checked {age:.0f} s ago.")
    return f"checked {max(age, 0):.0f} s ago"


def _draining() -> str:
    raise CheckFailed("This process is about to stop. Send requests to another.")


DRAINING = Check("draining", _draining, required=True)  # asked only while it is so
CHECKS = (
    Check("database", _database, required=True),
    Check("migrations", _migrations, required=True),
    Check("cache", _cache, required=False),
    Check("facts", _facts, required=False),
)


@csrf_exempt
async def live(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return _refused(request) or _response({"status": "ok"}, 200)


@csrf_exempt
async def ready(request: HttpRequest) -> HttpResponse:
    """200 where every required check passes, else 503 naming the one that does not."""
    return _refused(request) or await _report([check for check in CHECKS if check.required])


@csrf_exempt
async def health(request: HttpRequest) -> HttpResponse:
    """Every check; 503 where a required one fails, `degraded` and 200 where only another does."""
    return _refused(request) or await _report(CHECKS)


def _refused(request: HttpRequest) -> HttpResponse | None:
    if request.method in {"GET", "HEAD"}:
        return None
    return error_response(request, 405, "A health check is a GET.", {"Allow": "GET, HEAD"})


async def _report(checks: Sequence[Check]) -> HttpResponse:
    if draining.is_under_way():
        checks = [DRAINING, *checks]
    results = dict(await asyncio.gather(*(_outcome(check) for check in checks)))
    failed = {check.name for check in checks if results[check.name]["status"] != "ok"}
    required = {check.name for check in checks if check.required}
    status = "unavailable" if failed & required else "degraded" if failed else "ok"
    return _response({"status": status, "checks": results}, 503 if failed & required else 200)


def _response(body: dict[str, Any], status: int) -> HttpResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


async def _outcome(check: Check) -> tuple[str, dict[str, Any]]:
    started = time.perf_counter()
    outcome: dict[str, Any] = {"status": "ok", "required": check.required}
    work: Awaitable[str] = asyncio.get_running_loop().run_in_executor(threads, _run, check)
    try:
        outcome["detail"] = await asyncio.wait_for(work, DEADLINE_SECONDS)
    except TimeoutError:
        outcome.update(status="failed", detail=f"No answer in {DEADLINE_SECONDS} s.")
    except CheckFailed as finding:
        outcome.update(status="failed", detail=str(finding))
    except Exception as error:  # noqa: BLE001 - whatever the driver raises: its class says enough, its text may hold an address
        outcome.update(status="failed", detail=type(error).__name__)
    outcome["latency_ms"] = round((time.perf_counter() - started) * 1000, 1)
    return check.name, outcome


def _run(check: Check) -> str:
    try:
        return check.run()
    finally:
        connections.close_all()
