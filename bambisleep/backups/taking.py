"""Taking a backup: one moment of the database, and the files that it names."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

from django.conf import settings
from django.db import connection
from django.template.defaultfilters import filesizeformat

from . import archive, database, library, manifest, places
from .archive import Writer
from .encryption import encrypted
from .errors import BackupError, told

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup. `damaged`: files whose bytes are not those that came into the library; they are in it as they are."""

    manifest: manifest.Manifest
    size_bytes: int
    damaged: list[str]

    def __str__(self) -> str:
        kept = self.manifest.library
        rows = sum(self.manifest.database.tables.values())
        files = f"{kept.files} files of the library"
        if kept.place == "bucket":
            files = f"the library's files are in the bucket {kept.bucket}, not here"
        parts = [filesizeformat(self.size_bytes).replace("\xa0", " "), f"{rows} rows", files]
        parts += [f"{len(kept.missing)} files MISSING"] if kept.missing else []
        parts += [f"{len(self.damaged)} files DAMAGED"] if self.damaged else []
        return ", ".join(parts)


def take_into_file(path: Path, *, at: datetime, recipients: list[Any], progress: Progress) -> Taken:
    """A backup as a new file; BackupError where there is none afterwards."""
    with places.new_file(path) as sink:
        return take(sink, at=at, recipients=recipients, progress=progress, room_in=path.parent)


def take(
    sink: places.Sink, *, at: datetime, recipients: list[Any], progress: Progress, room_in: Path | None = None
) -> Taken:
    """Write a backup into `sink`.

    Args:
        at: the moment that it carries; the database's own comes after it.
        recipients: to whom it is encrypted; to nobody where there is none.
        progress: is told in words how far it is.
        room_in: the directory that the archive goes to, which must have room for the files.
    """
    progress("Looking at the database")
    with _moment() as (moment, held):
        files = held.names if held else []
        if room_in is not None and held and shutil.disk_usage(room_in).free < held.size_bytes:
            raise BackupError(
                f"There is no room left in {room_in}: the library alone has {filesizeformat(held.size_bytes)}."
            )
        described = manifest.made(at=at, database=_database(moment), library=_library(held))
        with encrypted(sink, recipients) as stream:
            writer = Writer(stream, at=int(at.timestamp()))
            writer.add_bytes(archive.MANIFEST, manifest.written(described))
            for name, size, content in moment.dump():
                progress(f"Database: {filesizeformat(writer.written_bytes)}")
                writer.add(name, size, content)
            damaged = list(_add_files(writer, held, files, progress)) if held else []
            writer.close()
        return Taken(described, sink.size_bytes, damaged)


def _add_files(
    writer: Writer, held: library.Held, files: list[tuple[str, str, int]], progress: Progress
) -> Iterator[str]:
    """Add each file; the names of those that are not what came into the library."""
    done, total = 0, held.size_bytes

    def told_of(size: int) -> None:
        nonlocal done
        done += size
        progress(f"Library: {100 * done // total} %, {filesizeformat(done)} of {filesizeformat(total)}")

    for name, sha256, size in files:
        with held.open(name, size) as file:
            if writer.add(f"library/{name}", size, file, told_of) != sha256:
                yield name


@contextmanager
def _moment() -> Iterator[tuple[database.Moment, library.Held | None]]:
    """A moment of the database, and its files, held; a younger one where a file went in between."""
    with ExitStack() as stack:
        directory = stack.enter_context(library.room(library.HELD)) if library.root() is not None else None
        for _ in range(library.ATTEMPTS):
            with ExitStack() as attempt:
                moment = attempt.enter_context(database.moment())
                with told("the library"):
                    held = library.hold(moment, directory) if directory is not None else None
                if directory is None or held is not None:
                    stack.enter_context(attempt.pop_all())
                    break
        else:
            raise BackupError("Files are deleted from the library without a pause: try again when it is quiet.")
        yield moment, held


def _database(moment: database.Moment) -> manifest.Database:
    rows = moment.rows("SELECT app, name FROM django_migrations ORDER BY app, name")
    known = manifest.known_migrations()  # what an app left behind that is gone needs no newer version
    migrations = [name for name in (f"{app}.{name}" for app, name in rows) if name in known]
    vendor = cast(Literal["postgresql", "sqlite"], connection.vendor)
    return manifest.Database(vendor, moment.server_version, migrations, moment.tables())


def _library(held: library.Held | None) -> manifest.Library:
    if held is None:
        return manifest.Library("bucket", settings.LIBRARY_BUCKET, 0, 0, [])
    return manifest.Library("directory", "", len(held.names), held.size_bytes, held.missing)
