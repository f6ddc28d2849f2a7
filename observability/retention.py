"""How long rows are kept, and deleting what need not be kept any longer: what `manage.py prune` does.

A room says in its `retention.py`, which is loaded at start as its `facts.py` is, what it does not keep for ever:

    @keeps("mails", "Mails that no server took.", days="MAILS_DAYS")
    def mails(before: datetime) -> Iterator[Outdated]:
        yield Rows(OutgoingMail.objects.filter(created_at__lt=before))

What a fact counter adds up is not among it: a counter never falls.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

BATCH = 1_000  # rows of one transaction, so that none holds its locks for long

log = structlog.get_logger("bambisleep.retention")


class Outdated(Protocol):
    """What need not be kept any longer."""

    def count(self) -> int:
        """How many there are."""

    def clear(self) -> Iterator[int]:
        """Do away with them, in steps that each stand when the next one fails; yields how many a step took."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to be deleted, in any order or in that of the query. `instead` does something else with a batch of them,
    inside its transaction, after which they must not be in the query any more."""

    rows: QuerySet[Any]
    ordered: bool = False
    instead: Callable[[QuerySet[Any]], None] | None = None

    def count(self) -> int:
        """How many there are."""
        return self.rows.count()

    def clear(self) -> Iterator[int]:
        """Delete them, batch by batch; those that another run has in hand are left to it."""
        rows = self.rows if self.ordered else self.rows.order_by()
        while True:
            with transaction.atomic():
                free = rows.select_for_update(skip_locked=True)
                keys = list(free.values_list("pk", flat=True)[:BATCH])
                batch = self.rows.model._base_manager.filter(pk__in=keys)
                if keys and self.instead is not None:
                    self.instead(batch)
                elif keys:
                    batch.delete()
            if not keys:
                return
            yield len(keys)


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that is not kept for ever, under the name by which `prune --only` knows it."""

    name: str
    meaning: str
    days: str  # the setting that says for how many days; "": it is `period`
    period: timedelta
    outdated: Callable[[datetime], Iterable[Outdated]]
    if_named: Callable[[], bool] = lambda: False  # whether it goes only where `prune --only` names it

    @property
    def how_long(self) -> str:
        """For people: "90 days (SECURITY_EVENTS_DAYS)"."""
        if self.if_named():
            return f"until --only {self.name}"
        if self.days:
            days = getattr(settings, self.days)
            return f"{f'{days} days' if days else 'for ever'} ({self.days})"
        hours = self.period / timedelta(hours=1)
        if not hours:
            return "until it expires"
        return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours" if hours > 1 else "1 hour"

    def at(self, now: datetime) -> list[Outdated]:
        """What is outdated at that moment."""
        period = timedelta(days=getattr(settings, self.days)) if self.days else self.period
        return [] if self.days and not period else list(self.outdated(now - period))


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is with one of them."""

    kept: Kept
    number: int  # of what is gone, or would be
    is_done: bool = False
    error: str = ""


KEPT: dict[str, Kept] = {}


def keeps(
    name: str,
    meaning: str,
    *,
    days: str = "",
    period: timedelta = timedelta(0),
    if_named: Callable[[], bool] = lambda: False,
) -> Callable[[Callable[[datetime], Iterable[Outdated]]], Callable[[datetime], Iterable[Outdated]]]:
    """Mark a function that says what is outdated, where it must be from `before`.

    Args:
        meaning: what it is, a sentence.
        days: the setting that says for how many days it is kept; 0 there: for ever.
        period: how long it is kept, where that is no setting.
        if_named: asked at each run; where it is true, `prune` leaves it alone unless told of it by name.

    Raises:
        ValueError: where the name is taken.
    """
    if name in KEPT:
        raise ValueError(f"{name} is declared twice.")

    def mark(function: Callable[[datetime], Iterable[Outdated]]) -> Callable[[datetime], Iterable[Outdated]]:
        KEPT[name] = Kept(name, meaning, days, period, function, if_named)
        return function

    return mark


def prune(names: Iterable[str], *, dry_run: bool = False, now: datetime | None = None) -> Iterator[Step]:
    """Do away with what is outdated. It may be stopped at any moment, and run twice at once.

    Args:
        names: of `KEPT`.
        dry_run: only count it.

    Yields:
        A step for each batch, and one that is done for each name: with an error where it could not be finished, which
        keeps none of the others.
    """
    now = now or timezone.now()
    for name in names:
        kept, number = KEPT[name], 0
        try:
            for outdated in kept.at(now):
                if dry_run:
                    number += outdated.count()
                    continue
                for cleared in outdated.clear():
                    number += cleared
                    yield Step(kept, number)
        except Exception as error:
            log.exception("not_pruned", name=name)
            yield Step(kept, number, is_done=True, error=f"{type(error).__name__}: {error}".strip())
        else:
            yield Step(kept, number, is_done=True)
