"""Taking a file into the library: inspected, hashed, stored under a name of ours, and only then written down.

    file = keep(path, original_name="Evening.mp4", by=user, item=item, role=Role.MAIN)

A file is in the library once its row is committed, and gone once its row is. Around both, a note in `incoming/` names
the file in question: whatever is cut off in between, `settle_notes` asks the row and puts the storage right.
"""

import errno
import hashlib
import os
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog
from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import DatabaseError, transaction

from accounts.models import User
from observability.problems import Conflict, Problem

from . import inspection, pictures
from .inspection import Inspected, Refused
from .models import FileKind, Item, Kind, MediaFile, Role

INCOMING = "incoming"
BLOCK_BYTES = 2**20
NAME_CHARACTERS = 200
Progress = Callable[[int, int], None]  # bytes done, bytes in all

log = structlog.get_logger("bambisleep.content")


class NoRoom(Problem):
    """The disk of the library is full (507)."""

    status = 507


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that may be taken in: inspected, hashed, and waiting in `incoming/`."""

    path: Path
    original_name: str
    item: Item | None
    role: Role
    inspected: Inspected
    size_bytes: int
    sha256: str
    is_copy: bool  # it goes in any case
    moved: Path | None  # to be deleted once the file is in


def keep(
    source: Path,
    *,
    original_name: str,
    by: User | None = None,
    item: Item | None = None,
    role: Role = Role.MAIN,
    move: bool = False,
    progress: Progress | None = None,
) -> MediaFile:
    """Take the file at `source` in, as `role` of `item`; a poster or main file that the item has is replaced.

    Pictures are written anew, so that nothing but the picture is kept. The same content in the same place again changes
    nothing.

    Args:
        original_name: as people call it; never part of a path.
        by: who puts it in.
        move: `source` may be deleted, once all is done.
        progress: is told now and then how many bytes of how many are done.

    Raises:
        Refused: it is nothing that the library takes, or not in this role.
        formats.NotExamined: this machine came to no answer.
        NoRoom: the disk is full. Nothing is left behind.
    """
    prepared = prepare(source, original_name=original_name, item=item, role=role, move=move, progress=progress)
    return enter(prepared, by=by)


def prepare(
    source: Path,
    *,
    original_name: str,
    item: Item | None = None,
    role: Role = Role.MAIN,
    move: bool = False,
    progress: Progress | None = None,
    sha256: str = "",
) -> Prepared:
    """The part of `keep` that takes its time: look at the file, hash it, copy it where it must be.

    Args:
        sha256: of a file that may be moved, where it is known already.
    """
    inspected = inspection.inspect(source)
    expect_fit(item, role, inspected.kind)
    size = source.stat().st_size
    if size > settings.LIBRARY_MAX_FILE_BYTES:
        raise Refused(f"This file is too large: at most {settings.LIBRARY_MAX_FILE_BYTES:,} bytes are taken.")
    moved = source if move else None
    if move and inspected.kind != FileKind.IMAGE and source.stat().st_dev == incoming().stat().st_dev:
        digest = sha256 or hashed(source, progress)
        return Prepared(source, clean_name(original_name), item, role, inspected, size, digest, False, moved)
    copy = incoming() / f"stage-{uuid.uuid4().hex}.part"
    try:
        with full_disk_told():
            if inspected.kind == FileKind.IMAGE:
                with _new_file(copy) as file:
                    inspected = pictures.write_anew(source, file)
                size, digest = copy.stat().st_size, hashed(copy)
            else:
                size, digest = _copied(source, copy, progress)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return Prepared(copy, clean_name(original_name), item, role, inspected, size, digest, True, moved)


def enter(prepared: Prepared, *, by: User | None = None, key: uuid.UUID | None = None) -> MediaFile:
    """The part of `keep` that is done at once, or not at all: the file gets its name, then its row.

    Args:
        key: what the row's address is to be; by default made here.
    """
    note: Path | None = None
    try:
        file = _same(prepared)
        if file is None:
            random = uuid.uuid4().hex
            name = f"{random[:2]}/{random}.{prepared.inspected.extension}"
            with full_disk_told():
                written = note = write_note(name)
                _place(prepared.path, name)
            with transaction.atomic():
                file = _written_down(prepared, name, by, key or uuid.uuid4())
                transaction.on_commit(lambda: settle(written), robust=True)
    except BaseException:
        if note is not None:
            settle(note)
        raise
    finally:
        if prepared.is_copy:
            prepared.path.unlink(missing_ok=True)
    if (moved := prepared.moved) is not None:
        transaction.on_commit(lambda: moved.unlink(missing_ok=True), robust=True)
    return file


def expect_fit(item: Item | None, role: Role, kind: FileKind) -> None:
    """Raise Refused unless a file of that kind may have that role there."""
    if role != Role.MAIN and kind != FileKind.IMAGE:
        raise Refused(f"This is a film or recording, and {role.label} must be a picture file.")
    if role == Role.MAIN and kind == FileKind.IMAGE:
        raise Refused(
            "This is a picture, and the recording or film must be audio or video: choose another role for it."
        )
    if item is not None:
        expect_role(item, role)


def expect_role(item: Item, role: Role) -> None:
    """Raise Refused unless `item` may have a file in that role."""
    if role == Role.MAIN and item.kind == Kind.ARTICLE:
        raise Refused("An article has no recording or film: change its kind, or choose another role for the file.")


def clean_name(name: str) -> str:
    """`name` as it may be shown: without folders, signs that are not seen or turn others round, and not too long."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    seen = "".join(" " if sign.isspace() else sign for sign in last if sign.isspace() or sign.isprintable())
    printable = " ".join(unicodedata.normalize("NFC", seen).split())
    if len(printable) > NAME_CHARACTERS:
        stem, dot, extension = printable.rpartition(".")
        tail = dot + extension if stem and len(extension) <= 10 else ""
        printable = printable[: NAME_CHARACTERS - len(tail)] + tail
    return printable if printable.strip(".") else "unnamed"


def incoming() -> Path:
    """Where what is not in the library yet waits, on the library's own disk; nothing is served of it."""
    storage = storages["library"]
    home = Path(storage.location) if isinstance(storage, FileSystemStorage) else Path(settings.LIBRARY_DIR)
    directory = home / INCOMING
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    return directory


def hashed(path: Path, progress: Progress | None = None, *, most: int | None = None) -> str:
    """SHA-256 of a file, or of its first `most` bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hash_of(file, path.stat().st_size if most is None else most, progress).hexdigest()


def hash_of(file: BinaryIO, size: int, progress: Progress | None = None) -> "hashlib._Hash":
    """SHA-256 of the next `size` bytes of a file, to go on with."""
    digest, done = hashlib.sha256(), 0
    while done < size and (block := file.read(min(BLOCK_BYTES, size - done))):
        digest.update(block)
        done += len(block)
        if progress is not None:
            progress(done, size)
    return digest


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Make NoRoom of what the system says where a disk, or a quota, is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        log.error("library_disk_full")
        raise NoRoom("There is no room left on the library's disk. Nothing was kept: make room, then try again.") from (
            error
        )


def write_note(name: str) -> Path:
    """Note down that the file of that name is about to come or to go."""
    note = incoming() / f"{name.rpartition('/')[2]}.note"
    note.write_text(name)
    return note


def settle(note: Path) -> None:
    """Delete the file that a note names, unless there is a row for it; then the note.

    Without a database, or where the system refuses (no file descriptor is left, say), the note stays for a sweep.
    """
    try:
        name = note.read_text()
        if name and not MediaFile.objects.filter(name=name).exists():
            storages["library"].delete(name)
        note.unlink()
    except FileNotFoundError:  # another was faster
        pass
    except (DatabaseError, OSError) as error:
        log.warning("file_settled_later", note=note.name, error=str(error).strip()[:300])


def forget(name: str) -> None:
    """Delete a file of the library once the transaction in which its row is deleted is committed."""
    note = write_note(name)
    transaction.on_commit(lambda: settle(note), robust=True)


def _same(prepared: Prepared) -> MediaFile | None:
    rows = MediaFile.objects.filter(item=prepared.item, role=prepared.role, sha256=prepared.sha256)
    return rows.order_by("pk").first()


def _written_down(prepared: Prepared, name: str, by: User | None, key: uuid.UUID) -> MediaFile:
    """The row, in place of the one whose role it takes; within a transaction."""
    item, role = prepared.item, prepared.role
    if item is not None:
        if Item.objects.select_for_update().filter(pk=item.pk).first() is None:
            raise Conflict("The item was deleted in the meantime.")
        if (same := _same(prepared)) is not None:
            return same
        if role != Role.ILLUSTRATION:
            for old in MediaFile.objects.filter(item=item, role=role):
                old.delete()
    inspected = prepared.inspected
    return MediaFile.objects.create(
        key=key,
        item=item,
        role=role,
        name=name,
        original_name=prepared.original_name,
        kind=inspected.kind,
        content_type=inspected.content_type,
        size_bytes=prepared.size_bytes,
        sha256=prepared.sha256,
        duration_seconds=inspected.duration_seconds,
        width=inspected.width,
        height=inspected.height,
        uploaded_by=by,
    )


def _place(staged: Path, name: str) -> None:
    """Give a file its name in the storage: a second name for the same bytes where that can be had."""
    storage: Storage = storages["library"]
    if not isinstance(storage, FileSystemStorage):
        with staged.open("rb") as file:
            storage.save(name, File(file))
        return
    place = Path(storage.path(name))
    place.parent.mkdir(mode=0o750, exist_ok=True)
    try:
        os.link(staged, place)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS}:
            raise
        _copied(staged, place, None)  # a file system without second names
    place.chmod(storage.file_permissions_mode or 0o640)
    sync(place)
    sync(place.parent)


def _copied(source: Path, to: Path, progress: Progress | None) -> tuple[int, str]:
    """Copy; how many bytes it were, and their SHA-256."""
    digest, done, total = hashlib.sha256(), 0, source.stat().st_size
    with source.open("rb") as origin, _new_file(to) as file:
        while block := origin.read(BLOCK_BYTES):
            file.write(block)
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, max(total, done))
    return done, digest.hexdigest()


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that did not exist, for its owner alone, on the disk for certain when it is closed."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Have what a file or a directory holds on the disk for certain."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
