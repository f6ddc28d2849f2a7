"""Who looks at the library: openings, viewings, minutes and how far, of one item or of all; each page in few queries.

What counts as a viewing here counts in the metric too (`content.facts`), and those that still go on are in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from .facts import LEAST_SECONDS
from .models import Item, Opening, Viewing
from .viewings import PARTS

MONTHS = 12


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in UTC: from its first moment to the next one's."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """A twentieth of a recording: where it lies, in hundredths, and in which share of the viewings it was played."""

    begin: int
    end: int
    share: float

    @property
    def percent(self) -> int:
        """The share, in hundredths."""
        return round(100 * self.share)


@dataclass(frozen=True, slots=True)
class Audience:
    """Of one item. Members are counted by account, others by browser."""

    openings: int
    members_who_opened: int
    viewings: int
    viewers: int
    played_seconds: float
    parts: list[Part]  # empty where no viewing tells
    months: list[tuple[Month, float]]  # played seconds

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.openings and not self.viewings

    @property
    def mean_seconds(self) -> float:
        """Of a viewing."""
        return self.played_seconds / self.viewings if self.viewings else 0.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """An item, by its id, among all."""

    item: int
    seconds: float
    viewings: int
    openings: int


def last_months(now: datetime, number: int = MONTHS) -> list[Month]:
    """The last `number` months, oldest first; the one that `now` is in is the last."""
    now = now.astimezone(UTC)
    current = now.year * 12 + now.month - 1
    edges = [datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC) for index in range(current - number + 1, current + 2)]
    return [Month(start, end) for start, end in pairwise(edges)]


def of(item: Item, months: Sequence[Month]) -> Audience:
    """Everything that is known of one item's audience: two queries."""
    opened = Opening.objects.filter(item=item).aggregate(
        number=Coalesce(Sum("number"), 0), members=Count("user", distinct=True)
    )
    played = _counted().filter(item=item)
    for index in range(PARTS):
        played = played.annotate(**{f"part_{index}": F("watched").bitand(1 << index)})
    found: dict[str, Any] = played.aggregate(
        viewings=Count("pk"),
        members=Count("user", distinct=True),
        strangers=Count("device", distinct=True, filter=Q(user=None)),
        seconds=Coalesce(Sum("played_seconds"), 0.0),
        telling=Count("pk", filter=Q(watched__gt=0)),
        **{f"seen_{index}": Count("pk", filter=Q(**{f"part_{index}__gt": 0})) for index in range(PARTS)},
        **_by_month(months),
    )
    step = 100 // PARTS
    parts = [
        Part(index * step, (index + 1) * step, found[f"seen_{index}"] / found["telling"])
        for index in range(PARTS if found["telling"] else 0)
    ]
    return Audience(
        openings=opened["number"],
        members_who_opened=opened["members"],
        viewings=found["viewings"],
        viewers=found["members"] + found["strangers"],
        played_seconds=found["seconds"],
        parts=parts,
        months=[(month, found[f"month_{index}"] or 0.0) for index, month in enumerate(months)],
    )


def ranked(months: Sequence[Month]) -> list[Ranked]:
    """All items, the most played in these months first, then the most opened.

    Each table is read once: a subquery for each item would read the viewings as often as there are columns.
    """
    first, last = months[0].start, months[-1].end
    rows = _counted().filter(started_at__gte=first, started_at__lt=last).order_by().values_list("item")
    played = {
        item: (seconds, number) for item, seconds, number in rows.annotate(s=Sum("played_seconds"), n=Count("pk"))
    }
    days = Opening.objects.filter(day__gte=first.date(), day__lt=last.date()).order_by().values_list("item")
    opened = dict(days.annotate(n=Sum("number")))
    items = [
        (Ranked(pk, *played.get(pk, (0.0, 0)), opened.get(pk, 0)), title)
        for pk, title in Item.objects.order_by().values_list("pk", "title")
    ]
    items.sort(key=lambda item: (-item[0].seconds, -item[0].openings, item[1], item[0].item))
    return [item for item, _ in items]


def by_month(items: Sequence[int], months: Sequence[Month]) -> dict[int, list[float]]:
    """Played seconds in each of the months, of each of the items (ids) that was played at all."""
    played = _counted().filter(item__in=items, started_at__gte=months[0].start).order_by().values("item")
    rows: Any = played.annotate(**_by_month(months))
    return {row["item"]: [row[f"month_{index}"] or 0.0 for index in range(len(months))] for row in rows}


def _counted() -> QuerySet[Viewing]:
    return Viewing.objects.filter(played_seconds__gte=LEAST_SECONDS)


def _by_month(months: Sequence[Month]) -> dict[str, Sum]:
    # Compared by the database itself: SQLite would call back into Python, once a row, to cut a time to its month.
    return {
        f"month_{index}": Sum("played_seconds", filter=Q(started_at__gte=month.start, started_at__lt=month.end))
        for index, month in enumerate(months)
    }
