"""Counting what is opened: as an event by its path, of which there are many but bounded, and by day for the audience.

The days' numbers are kept in the process and written every few seconds, so that a page view costs no write.
"""

import atexit
import threading
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

import structlog
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from observability.refresh import at_each_tick

from .metrics import ACCESS, MOST_PATHS, OTHER, TYPES
from .models import Item, Opening, Visibility, label

log = structlog.get_logger("bambisleep.content")

Key = tuple[int, int, date]  # item, user (0: nobody is signed in), day in UTC
NOBODY = 0
MOST_WAITING = 20_000  # keys
AT_ONCE = 200  # rows in one transaction


def opened(item: Item, user: Any) -> None:
    """Note that `user`, who may be anonymous, opened an item that they may see whole."""
    ACCESS.labels(type=_type(item.visibility), path=paths.name(label(item))).inc()
    waiting.add((item.pk, user.pk if isinstance(user, User) else NOBODY, timezone.now().date()))


class Paths:
    """The values of the label `path` in this process: what was published when it was first asked, and what came since,
    until there are `MOST_PATHS`. None is ever taken back."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def name(self, path: str) -> str:
        """The path itself, or "other" where there are too many."""
        with self._lock:
            if path in self._known:
                return path
            if len(self._known) >= MOST_PATHS:
                return OTHER
            self._known.add(path)
            return path

    def create(self, published: Iterable[tuple[str, str]]) -> None:
        """Have a series stand at 0 for each path and type, before it is first opened: else its first view is lost."""
        for path, kind in published:
            ACCESS.labels(type=kind, path=self.name(path))


class Waiting:
    """Openings that are not written yet."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._lost = 0

    def add(self, key: Key, number: int = 1) -> None:
        """Note openings. Where very many wait, because the database is away, only for those that are noted already."""
        with self._lock:
            if key in self._numbers or len(self._numbers) < MOST_WAITING:
                self._numbers[key] += number
            else:
                self._lost += number

    def take(self) -> dict[Key, int]:
        """Everything, which is the taker's to write or to give back."""
        with self._lock:
            taken, self._numbers = self._numbers, defaultdict(int)
            if self._lost:
                log.warning("openings_lost", number=self._lost)
                self._lost = 0
            return taken


paths = Paths()
waiting = Waiting()


@at_each_tick
def refresh() -> None:
    """Create the series of what is published."""
    newest = Item.objects.published().order_by("-published_at", "-pk").only("slug", "visibility")[:MOST_PATHS]
    paths.create((label(item), _type(item.visibility)) for item in newest)


def flush() -> int:
    """Write what waits; what cannot be written waits on.

    Returns:
        How many openings were written.

    Raises:
        DatabaseError: where it cannot be written now.
    """
    taken = waiting.take()
    keys = sorted(taken)  # all in the same order, so that two processes do not wait for each other in a circle
    written = 0
    try:
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            written += _write({key: taken[key] for key in some})
            for key in some:
                del taken[key]
    finally:
        for key, number in taken.items():
            waiting.add(key, number)
    return written


def add(item: int, user: Any, day: date, number: int) -> None:
    """Add to the openings of an item on a day, by one member or (None) by everybody who is not signed in."""
    row = Opening.objects.filter(item_id=item, user_id=user, day=day)
    if row.update(number=F("number") + number):
        return
    try:
        with transaction.atomic():
            Opening.objects.create(item_id=item, user_id=user, day=day, number=number)
    except IntegrityError:  # another process got there first
        row.update(number=F("number") + number)


@at_each_tick
def _flush_at_each_tick() -> None:
    atexit.unregister(_flush_at_exit)
    atexit.register(_flush_at_exit)  # once, and in a process that ticks alone: others open nothing
    flush()


def _write(numbers: dict[Key, int]) -> int:
    """In one transaction. Of items and users that are gone meanwhile, nothing is kept, and of users, nobody's."""
    written = 0
    with transaction.atomic():
        items = set(Item.objects.filter(pk__in={item for item, _, _ in numbers}).values_list("pk", flat=True))
        users = set(User.objects.filter(pk__in={user for _, user, _ in numbers}).values_list("pk", flat=True))
        for (item, user, day), number in numbers.items():
            if item in items:
                add(item, user if user in users else None, day, number)
                written += number
    return written


def _flush_at_exit() -> None:
    try:
        flush()
    except DatabaseError as error:
        log.warning("openings_lost", error=str(error).strip()[:300])
    finally:
        connection.close()


def _type(visibility: str) -> str:
    return TYPES[0] if visibility == Visibility.PUBLIC else TYPES[1]
