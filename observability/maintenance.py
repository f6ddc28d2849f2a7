"""Periodic work, run by timers as management commands: what was done, and when it last succeeded.

    with maintenance.performed("backup") as run:
        run.detail = "1.2 GiB"

A command ends before anybody could scrape it, so its success is a row, and a fact.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.db import DatabaseError
from django.utils import timezone

from .facts import Sample, fact, gauge
from .models import MaintenanceTask
from .refresh import refresh

LAST_SUCCESS = gauge("maintenance_last_success_timestamp_seconds", "When a periodic task last succeeded.", "task")


@fact(LAST_SUCCESS, reads=[MaintenanceTask])
def maintenance() -> Iterator[Sample]:
    """When each task last succeeded; nothing of one that never did."""
    for task, at in MaintenanceTask.objects.values_list("task", "succeeded_at"):
        if at is not None:
            yield LAST_SUCCESS.sample(at.timestamp(), task)


@dataclass(slots=True)
class Performance:
    """One run that is under way."""

    detail: str = ""  # what came of it, in a few words, for the admin


@contextmanager
def performed(task: str) -> Iterator[Performance]:
    """Record that `task` succeeds, or with what it fails; the exception passes through.

    Args:
        task: a name that stands in a metric's label: of one of the product's own commands, never of what was typed.
    """
    performance, started, clock = Performance(), timezone.now(), time.monotonic()
    try:
        yield performance
    except BaseException as error:
        # Whatever it was, it is raised; the database may be what failed.
        with suppress(DatabaseError):
            reason = f"{type(error).__name__}: {error}"[:500]
            _store(task, failed_at=timezone.now(), error=reason, started_at=started)
        raise
    _store(
        task,
        started_at=started,
        succeeded_at=timezone.now(),
        duration_seconds=time.monotonic() - clock,
        detail=performance.detail[:200],
        error="",
    )
    refresh()


def _store(task: str, **values: object) -> None:
    MaintenanceTask.objects.update_or_create(task=task, defaults=values)
