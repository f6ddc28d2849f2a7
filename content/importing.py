"""Bringing files of the server's own disk into the library, of gigabytes too: a copy that was interrupted goes on.

    brought = bring(Path("evening.mp4"), item=item)

What is copied already waits in `incoming/` under a name made of what the source is: its place, size and time.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from observability.problems import Conflict

from . import files, inspection
from .files import Progress
from .formats import Inspected, Refused
from .models import RESERVED_SLUGS, Collection, FileKind, Item, Kind, MediaFile, Role


@dataclass(frozen=True, slots=True)
class Draft:
    """The item that is to be made for a file."""

    title: str = ""  # by default after the file
    kind: Kind | None = None  # by default what the file is
    collection: Collection | None = None


@dataclass(frozen=True, slots=True)
class Brought:
    """A file of the library, and whether it is there since now only."""

    file: MediaFile
    is_new: bool


def look(path: Path, *, item: Item | None, role: Role, draft: Draft | None) -> Inspected:
    """What the file is; raises Refused where `bring` would."""
    inspected = inspection.inspect(path)
    files.expect_fit(item, role, inspected.kind)
    if draft is not None and draft.kind == Kind.ARTICLE and role == Role.MAIN:
        raise Refused("An article has no recording or film: choose another kind, or another role.")
    if path.stat().st_size > settings.LIBRARY_MAX_FILE_BYTES:
        raise Refused(f"This file is too large: at most {settings.LIBRARY_MAX_FILE_BYTES:,} bytes are taken.")
    return inspected


def bring(
    path: Path,
    *,
    item: Item | None = None,
    role: Role = Role.MAIN,
    draft: Draft | None = None,
    progress: Progress | None = None,
) -> Brought:
    """Take the file at `path` in; it stays where it is. What is in the library already is not copied again.

    Args:
        item: what it belongs to.
        draft: makes an item for it, in the same moment.
        progress: is told how many bytes are done of how many.

    Raises:
        Refused, files.NoRoom: nothing is kept.
        Conflict: another process is bringing the same file.
    """
    inspected = look(path, item=item, role=role, draft=draft)
    if (there := _there(path, inspected, item, role, draft, progress)) is not None:
        return Brought(there, is_new=False)
    with _copy(path, progress) as (copy, sha256):
        prepared = files.prepare(
            copy, original_name=path.name, item=item, role=role, move=True, sha256=sha256, progress=progress
        )
        with transaction.atomic():
            if draft is not None:
                made = _make(draft, files.clean_name(path.name), prepared.inspected.kind)
                prepared = replace(prepared, item=made)
            return Brought(files.enter(prepared), is_new=True)


def _there(
    path: Path, inspected: Inspected, item: Item | None, role: Role, draft: Draft | None, progress: Progress | None
) -> MediaFile | None:
    """What this file is in the library already: in that role of that item, or of any where one is to be made."""
    if inspected.kind == FileKind.IMAGE:
        return None  # kept as it was written anew, by which it is known again
    rows = MediaFile.objects.filter(size_bytes=path.stat().st_size, role=role)
    rows = rows.filter(item=item) if draft is None else rows.filter(item__isnull=False)
    return rows.filter(sha256=files.hashed(path, progress)).first() if rows.exists() else None


def _make(draft: Draft, name: str, kind: FileKind) -> Item:
    title = draft.title or Path(name).stem.replace("_", " ").strip() or "Untitled"
    return Item.objects.create(
        kind=draft.kind or Kind(kind), title=title[:200], slug=_free_slug(title), collection=draft.collection
    )


def _free_slug(title: str) -> str:
    """A slug for an item of that title, which no other has."""
    stem = slugify(title)[:70].strip("-") or "item"
    taken = set(Item.objects.filter(slug__startswith=stem).values_list("slug", flat=True)) | RESERVED_SLUGS
    number = 1
    while (slug := stem if number == 1 else f"{stem}-{number}") in taken:
        number += 1
    return slug


@contextmanager
def _copy(source: Path, progress: Progress | None) -> Iterator[tuple[Path, str]]:
    """A copy of `source` and its SHA-256; begun anew, or gone on with where the last attempt ended."""
    before = source.stat()
    identity = f"{source.resolve()}\0{before.st_size}\0{before.st_mtime_ns}"
    copy = files.incoming() / f"import-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:32]}.part"
    descriptor = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as target, source.open("rb") as file:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("Another process is importing this very file.") from None
        try:
            sha256 = _copied(file, target, before.st_size, progress)
            after = source.stat()
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise Refused("The file changed while it was read: try again when it is finished.")
            yield copy, sha256
        except (Refused, files.NoRoom):
            copy.unlink(missing_ok=True)
            raise


def _copied(source: BinaryIO, target: BinaryIO, size: int, progress: Progress | None) -> str:
    """Copy what is missing of `source`; what was copied before counts where it is the same."""
    os.utime(target.fileno())  # it is not left lying: a sweep may come by
    done = min(os.fstat(target.fileno()).st_size, size)
    digest = files.hash_of(source, done, progress and (lambda part, _: progress(part, size)))
    if files.hash_of(target, done).digest() != digest.digest():
        source.seek(0)
        digest, done = hashlib.sha256(), 0
    target.truncate(done)
    target.seek(done)
    if shutil.disk_usage(files.incoming()).free < size - done:
        raise files.NoRoom("There is not enough room for this file on the library's disk.")
    with files.full_disk_told():
        while block := source.read(files.BLOCK_BYTES):
            target.write(block)
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, max(size, done))
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()
