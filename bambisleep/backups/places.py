"""Where archives are put: a directory, a file or a pipe; written aside, named when complete, cleared away in time."""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from content.files import sync

from .errors import BackupError, Damaged, told

NAME = re.compile(r"bambisleep-(\d{8}T\d{6}Z)\.tar(\.age)?")
TIME = "%Y%m%dT%H%M%SZ"
PARTIAL = ".partial"
DAY = timedelta(days=1)
BLOCK_BYTES = 2**20


def name_of(at: datetime, *, is_encrypted: bool) -> str:
    """What the archive of that moment is called."""
    return f"bambisleep-{at.astimezone(UTC).strftime(TIME)}.tar{'.age' if is_encrypted else ''}"


@contextmanager
def locked() -> Iterator[None]:
    """Only one backup or restore of an installation at a time; BackupError where another runs."""
    with told("DATA_DIR"):
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(settings.DATA_DIR / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError("Another backup or restore is running: wait until it has ended.") from None
        yield
    finally:
        os.close(descriptor)


class Sink:
    """A file to write an archive into, which knows the SHA-256 of what it was given."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest, self.size_bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes, /) -> int:
        """Write all of it."""
        self._file.write(data)
        self.digest.update(data)
        self.size_bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Flush it."""
        self._file.flush()


@contextmanager
def new_file(path: Path) -> Iterator[Sink]:
    """A new file for its owner alone, that has its name only once it is complete, and was read back from the disk."""
    partial = path.with_name(path.name + PARTIAL)
    with told(str(path.parent)):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if path.exists():
            raise BackupError(f"{path} exists: choose another name.")
        for left in path.parent.glob(f"bambisleep-*{PARTIAL}"):
            _remove_unless_held(left)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with suppress(OSError):  # a file system that knows no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                sink = Sink(file)
                yield sink
                file.flush()
                os.fsync(file.fileno())
                _expect_on_disk(file, sink)
            partial.rename(path)
            sync(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _remove_unless_held(partial: Path) -> None:
    """Delete what a run that was killed has left; another installation's run, which goes on, holds its own."""
    with suppress(OSError), partial.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink()


def clear_away(directory: Path, *, now: datetime) -> list[Path]:
    """Delete the archives that need not be kept, and return them.

    Kept are those of the last 24 hours; the last one of each of the newest BACKUP_KEEP_DAYS days that have one; and the
    last one of each of the newest BACKUP_KEEP_WEEKS weeks that have one. Days and weeks are of UTC; nothing is deleted
    where BACKUP_KEEP_DAYS is 0, and no file that is not called as `name_of` calls it.
    """
    if settings.BACKUP_KEEP_DAYS == 0:
        return []
    found = {path: _time_of(path) for path in directory.iterdir() if NAME.fullmatch(path.name)}
    newest_first = sorted(found, key=lambda path: (found[path], path.name), reverse=True)
    kept = {path for path in newest_first if now - found[path] < DAY}
    days: dict[object, Path] = {}
    weeks: dict[object, Path] = {}
    for path in newest_first:
        days.setdefault(found[path].date(), path)
        weeks.setdefault(found[path].isocalendar()[:2], path)
    kept.update(list(days.values())[: settings.BACKUP_KEEP_DAYS], list(weeks.values())[: settings.BACKUP_KEEP_WEEKS])
    gone = [path for path in newest_first if path not in kept]
    with told(str(directory)):
        for path in gone:
            path.unlink(missing_ok=True)
    return gone


def _time_of(path: Path) -> datetime:
    found = NAME.fullmatch(path.name)
    assert found is not None  # noqa: S101  asked of such names alone
    try:
        return datetime.strptime(found[1], TIME).replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)


def _expect_on_disk(file: BinaryIO, sink: Sink) -> None:
    """Raise Damaged unless the disk gives back what it was given."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the disk, not from memory
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    if digest.digest() != sink.digest.digest():
        raise Damaged("The disk did not keep what was written: this backup is worth nothing, and was deleted.")
