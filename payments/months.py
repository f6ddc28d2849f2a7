"""Calendar months in UTC, by which the admin shows revenue and subscribers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from django.db.models import Case, IntegerField, Value, When


@dataclass(frozen=True, slots=True)
class Month:
    """From its first moment to the next month's."""

    start: datetime
    end: datetime


def last(number: int, now: datetime) -> list[Month]:
    """The last `number` months, oldest first; the one that `now` is in is the last."""
    now = now.astimezone(UTC)
    current = now.year * 12 + now.month - 1
    edges = [datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC) for index in range(current - number + 1, current + 2)]
    return [Month(start, end) for start, end in pairwise(edges)]


def index_of(field: str, months: list[Month]) -> Case:
    """The place in `months` of a row's `field`, which lies in one of them. Compared by the database itself: SQLite
    would call back into Python, once a row, to cut a time to its month."""
    whens = [When(**{f"{field}__lt": month.end}, then=Value(index)) for index, month in enumerate(months)]
    return Case(*whens, output_field=IntegerField())
