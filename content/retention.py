"""What of the library is not kept for ever: what is on its way in and goes no further, files without a row, viewers.

Viewings stay, since watch time is the sum of them; what goes with time is whose they were.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db.models import QuerySet

from observability.retention import BATCH, Outdated, Rows, keeps

from . import catalogue, uploads, viewings
from .models import MediaFile, Opening, Player, Upload, Viewing

OURS = re.compile(r"[0-9a-f]{32}\.[a-z0-9]{1,8}")  # in a directory that is named as they begin


@keeps("uploads", "Uploads that nobody went on with, and what was cut off.", period=uploads.KEPT)
def unfinished_uploads(before: datetime) -> Iterator[Outdated]:
    """Rows and bytes."""
    yield LeftLying(before)


@keeps(
    "library-files",
    "Files of the library that no row names, such as after a restore.",
    days="ORPHANED_FILES_DAYS",
    # In a bucket they may be another installation's, or of a database yet to be restored, and no backup holds them.
    if_named=lambda: bool(settings.LIBRARY_BUCKET),
)
def library_files(before: datetime) -> Iterator[Outdated]:
    """On this machine or in a bucket."""
    yield Orphans(before)


@keeps("page-loads", "Page loads of players, whose tokens have expired.", period=2 * viewings.TOKEN_LIFE)
def page_loads(before: datetime) -> Iterator[Outdated]:
    """What they told is counted in their viewings."""
    yield Rows(Player.objects.filter(updated_at__lt=before))


@keeps("viewers", "Who looked at what; the viewings and their watch time stay, as nobody's.", days="VIEWERS_DAYS")
def viewers(before: datetime) -> Iterator[Outdated]:
    """Viewings and openings are parted from their members, as when an account is erased."""
    yield Rows(Viewing.objects.filter(user__isnull=False, last_beacon_at__lt=before), instead=_part_viewings)
    yield Rows(Opening.objects.filter(user__isnull=False, day__lt=before.date()), instead=_part_openings)


def _part_viewings(rows: QuerySet[Viewing]) -> None:
    for pk in rows.values_list("pk", flat=True):
        Viewing.objects.filter(pk=pk).update(user=None, device=uuid.uuid4().hex)


def _part_openings(rows: QuerySet[Opening]) -> None:
    for opening in rows.order_by("item_id", "day", "pk"):
        catalogue.add(opening.item_id, None, opening.day, opening.number)
        opening.delete()


@dataclass(frozen=True, slots=True)
class LeftLying:
    """Uploads on which nothing has come since."""

    before: datetime

    def count(self) -> int:
        """How many."""
        return Upload.objects.filter(updated_at__lt=self.before).count()

    def clear(self) -> Iterator[int]:
        """Give them up."""
        yield uploads.sweep(self.before + uploads.KEPT)


@dataclass(frozen=True, slots=True)
class Orphans:
    """Files in the storage that have been there since before, and that no row names."""

    before: datetime

    def count(self) -> int:
        """How many."""
        return sum(len(names) for names in self._found())

    def clear(self) -> Iterator[int]:
        """Delete them."""
        storage = storages["library"]
        for names in self._found():
            for name in names:
                storage.delete(name)
            yield len(names)

    def _found(self) -> Iterator[list[str]]:
        storage = storages["library"]
        try:
            directories = sorted(storage.listdir("")[0])
        except FileNotFoundError:  # nothing was ever taken in
            return
        for directory in directories:
            if not re.fullmatch(r"[0-9a-f]{2}", directory):
                continue
            files = storage.listdir(directory)[1]
            names = [f"{directory}/{file}" for file in files if OURS.fullmatch(file) and file.startswith(directory)]
            for start in range(0, len(names), BATCH):
                batch = names[start : start + BATCH]
                known = set(MediaFile.objects.filter(name__in=batch).values_list("name", flat=True))
                yield [name for name in batch if name not in known and _since(storage, name) < self.before]


def _since(storage: Storage, name: str) -> datetime:
    """Since when the file has been there; its content may be older."""
    try:
        return storage.get_created_time(name)
    except NotImplementedError:  # a bucket
        return storage.get_modified_time(name)
