"""Bringing the facts up to date: off the scrape path, by one process at a time, at most 15 seconds late.

Whichever process wins a conditional UPDATE refreshes; the lease it holds is renewed fact by fact, so that the death of
its holder costs seconds. A fact whose tables did not change is left out. One that fails or takes too long is named by
`bambisleep_fact_up` and leaves the others alone: each runs in a transaction of its own.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError, close_old_connections, connection, transaction
from django.db.models import F, Max, Q
from django.utils import timezone
from django_prometheus.migrations import ExportMigrations

from .facts import FACTS, Fact, Sample
from .models import FactRefresh, FactSample
from .threads import has_ended

log = structlog.get_logger("bambisleep.facts")

# A change this recent is computed again: a transaction may commit after a younger one that was already seen.
SETTLING = timedelta(seconds=60)
# However quiet the tables, nothing stays unchecked longer (rows deleted by hand leave no younger `updated_at`).
AT_LEAST_EVERY = timedelta(minutes=5)
AFTER_FAILURE = timedelta(seconds=60)
# However often it is asked for meanwhile: then the process does what else is due, and whoever is next goes on.
MOST_ROUNDS = 3


def refresh(*, force: bool = False) -> bool:
    """Bring every fact up to date, unless another process is at it; then ask that one to run once more.

    Args:
        force: compute facts whose tables did not change, too.

    Returns:
        Whether this process did it.
    """
    if not _take_lease(due_only=False):
        FactRefresh.objects.filter(pk=1).update(requested=F("requested") + 1)
        return False
    _run(force=force)
    return True


def refresh_if_due() -> bool:
    """Bring the facts up to date if the interval has passed and no other process is at it."""
    if not _take_lease(due_only=True):
        return False
    _run(force=False)
    return True


def request_refresh() -> None:
    """After this transaction, have the facts brought up to date at once, without making the caller wait."""
    transaction.on_commit(refresher.wake, robust=True)


_at_each_tick: list[Callable[[], None]] = []


def at_each_tick(function: Callable[[], None]) -> Callable[[], None]:
    """Have every serving process call `function` every few seconds, in the background; it may use the database.

    For what each process keeps of its own, such as the names of its series; what all share is a fact.
    """
    _at_each_tick.append(function)
    return function


def tick() -> None:
    """Call what is to be called every few seconds; one that fails for want of the database is called again later."""
    for function in _at_each_tick:
        try:
            function()
        except DatabaseError as error:
            log.warning("tick_failed", function=function.__qualname__, error=str(error).strip()[:300])


class Refresher:
    """The background thread of a serving process. `start` may be called often; the first call counts."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._asked = False
        self.is_stopping = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread, once."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="facts", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Refresh now instead of at the next tick. Does nothing where the thread does not run (a command)."""
        self._asked = True
        self._wake.set()

    def stop(self, deadline: float) -> bool:
        """End the thread once the fact that it is at is done, and what is due at each tick once more.

        Args:
            deadline: how long to wait for that, by time.monotonic.

        Returns:
            Whether it has ended.
        """
        self.is_stopping = True
        self._wake.set()
        return has_ended(self._thread, deadline)

    def _run(self) -> None:
        failing = False
        counted_migrations = False
        while True:
            asked, self._asked = self._asked, False
            self._wake.clear()
            try:
                if self.is_stopping:
                    tick()
                    return
                if not counted_migrations:
                    ExportMigrations()  # type: ignore[no-untyped-call]
                    counted_migrations = True
                refresh() if asked else refresh_if_due()
                tick()
                failing = False
            except DatabaseError as error:
                if not failing:
                    log.warning("facts_unavailable", error=str(error).strip()[:300])
                failing = True
            finally:
                close_old_connections()
            if not self.is_stopping:
                self._wake.wait(settings.FACTS_INTERVAL_SECONDS / 2)


refresher = Refresher()


def _take_lease(*, due_only: bool) -> bool:
    now = timezone.now()
    # What lies further ahead than is ever given was written by a clock that has been set back since, or is wrong.
    free = FactRefresh.objects.filter(Q(lease_until__lte=now) | Q(lease_until__gt=now + 2 * _lease()), pk=1)
    if due_only:
        is_due = Q(due_at__lte=now) | Q(due_at__gt=now + 2 * _interval() + _lease())
        free = free.filter(is_due | Q(requested__gt=0))
    if free.update(lease_until=now + _lease()):
        return True
    if FactRefresh.objects.filter(pk=1).exists():
        return False
    try:
        with transaction.atomic():
            FactRefresh.objects.create(pk=1, lease_until=now + _lease(), due_at=now)
    except IntegrityError:
        return False  # another process got there first
    return True


def _lease() -> timedelta:
    return timedelta(seconds=settings.FACTS_TIMEOUT_SECONDS + 3)


def _interval() -> timedelta:
    return timedelta(seconds=settings.FACTS_INTERVAL_SECONDS)


def _run(*, force: bool) -> None:
    row = FactRefresh.objects.filter(pk=1)
    is_done = False
    try:
        for _ in range(MOST_ROUNDS):
            asked = row.values_list("requested", flat=True).first() or 0
            stored = FactSample.objects.in_bulk()
            for fact in list(FACTS.values()):
                if refresher.is_stopping:
                    return
                row.update(lease_until=timezone.now() + _lease())
                _refresh_one(fact, stored.get(fact.name), force=force)
            FactSample.objects.exclude(fact__in=FACTS).delete()
            # Whoever asked while we were at it may have changed what we had already read.
            if row.filter(requested=asked).update(requested=0):
                is_done = True
                return
    finally:
        now = timezone.now()
        row.update(lease_until=now, due_at=now + _interval() if is_done else now)


def _refresh_one(fact: Fact, stored: FactSample | None, *, force: bool) -> None:
    now = timezone.now()
    started = time.perf_counter()
    try:
        with _time_limit(settings.FACTS_TIMEOUT_SECONDS):
            mark, settled = _mark(fact, now)
            if stored and not force and _still_true(fact, stored, mark, settled, now):
                FactSample.objects.filter(pk=fact.name).update(checked_at=now)
                return
            samples = [_plain(sample) for sample in fact.compute()]
    except Exception as error:  # noqa: BLE001 - whatever one fact does wrong must not take the others with it
        message = f"{type(error).__name__}: {error}".strip()[:500]
        log.warning("fact_failed", fact=fact.name, error=message)
        values: dict[str, Any] = {"error": message, "checked_at": now}
    else:
        values = {"samples": samples, "mark": mark, "computed_at": now, "checked_at": now, "error": ""}
    values["duration_seconds"] = time.perf_counter() - started
    FactSample.objects.update_or_create(fact=fact.name, defaults=values)


def _still_true(fact: Fact, stored: FactSample, mark: str, settled: bool, now: datetime) -> bool:
    if stored.error:
        return abs(now - stored.checked_at) < AFTER_FAILURE and stored.mark == mark
    if stored.computed_at is None or abs(now - stored.computed_at) > AT_LEAST_EVERY:
        return False
    return stored.mark == mark and settled and not fact.windowed


def _mark(fact: Fact, now: datetime) -> tuple[str, bool]:
    """The newest change of each table it reads, and whether these are old enough to have settled."""
    parts: list[str] = []
    settled = True
    for model in fact.reads:
        change = model._default_manager.aggregate(change=Max("updated_at"))["change"]
        parts.append(str(change))
        if change and now - change < SETTLING:
            settled = False
    return json.dumps(parts), settled


def _plain(sample: Sample) -> list[Any]:
    return [sample.metric, list(sample.labels), sample.value]


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Abort queries after `seconds`. On PostgreSQL in a transaction of its own, since a timeout aborts the whole one;
    on SQLite without one, since `atomic()` would take the write lock for a read."""
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
            yield
        return
    connection.ensure_connection()
    deadline = time.monotonic() + seconds
    connection.connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        yield
    finally:
        connection.connection.set_progress_handler(None, 0)
