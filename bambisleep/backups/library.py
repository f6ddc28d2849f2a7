"""The library's files: held while they are put into an archive, and laid out beside their places before they return.

A file never changes under its name, but it goes with its row. So whatever the database at the moment of the backup
names gets a second name (a hard link, which takes no room) until it is in the archive: deleted meanwhile, it is still
there. Links and copies lie in the library itself, since only there is it the same file system.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from django.core.files.storage import FileSystemStorage, storages

from content import files
from content.models import MediaFile
from content.storage import Missing, OpenFile, opened

from . import archive, database
from .errors import BackupError, told

HELD, STAGED = ".backup-", ".restore-"
NAMES = "SELECT name, sha256 FROM content_mediafile ORDER BY name"
ATTEMPTS = 10


@dataclass(slots=True)
class Held:
    """Files that a moment of the database names. `missing`: of which there is a row, but no file."""

    directory: Path
    names: list[tuple[str, str, int]] = field(default_factory=list)  # with SHA-256 and size
    missing: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(size for _, _, size in self.names)

    def open(self, name: str, size: int) -> BinaryIO:
        """The file of that name, held or, where a file system has no second names, still in its place."""
        try:
            return (self.directory / name).open("rb")
        except FileNotFoundError:
            pass
        try:
            found = opened(name)
        except Missing:
            raise BackupError(
                f"{name} was deleted while the backup ran, and the library's file system has no hard links that would "
                "have kept it: run the backup again."
            ) from None
        return os.fdopen(os.dup(found.descriptor), "rb")


def root() -> Path | None:
    """The directory of the library; None where its files are in a bucket."""
    storage = storages["library"]
    return Path(storage.location) if isinstance(storage, FileSystemStorage) else None


@contextmanager
def room(prefix: str) -> Iterator[Path]:
    """A directory in the library, for links or copies, until the end of the block."""
    home = root()
    assert home is not None  # noqa: S101  asked only where there is one
    with told("the library"):
        home.mkdir(mode=0o750, parents=True, exist_ok=True)
        for left in home.glob(f"{prefix}*"):  # of a run that was killed: no other runs now
            shutil.rmtree(left)
        directory = tempfile.mkdtemp(prefix=prefix, dir=home)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def hold(moment: database.Moment, directory: Path) -> Held | None:
    """Hold every file that the moment's rows name; None where one was deleted since: then a newer moment is needed."""
    held = Held(directory)
    for name, sha256 in moment.rows(NAMES):
        size = _link(name, directory) if archive.is_name(f"library/{name}") else None
        if size is not None:
            held.names.append((name, sha256, size))
        elif MediaFile.objects.filter(name=name).exists():
            held.missing.append(name)
        else:
            return None
    return held


@dataclass(slots=True)
class Staged:
    """Files that came out of an archive, whole and on the disk, but not in their places."""

    directory: Path
    names: set[str] = field(default_factory=set)
    _placed: list[Path] = field(default_factory=list)

    def take(self, name: str, blocks: Iterator[bytes]) -> None:
        """Write one down."""
        path = self.directory / name
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with told("the library"):
            write_new(path, blocks, mode=0o640)
        self.names.add(name)

    def place(self) -> None:
        """Give each its name in the library, where the same one may be."""
        home = self.directory.parent
        with told("the library"):
            for name in sorted(self.names):
                place = home / name
                place.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                is_new = not place.exists()
                (self.directory / name).replace(place)
                if is_new:
                    self._placed.append(place)
            for directory in {path.parent for path in self._placed}:
                files.sync(directory)

    def take_back(self) -> None:
        """Remove what was placed and was not there before."""
        for path in self._placed:
            path.unlink(missing_ok=True)


def leave_to_sweep(names: list[str]) -> None:
    """Have files that no row names any more deleted in two days, as after an interrupted deletion."""
    for name in names:
        files.write_note(name)


def write_new(path: Path, blocks: Iterator[bytes], *, mode: int) -> None:
    """Write a file that did not exist, and have it on the disk for certain."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _link(name: str, directory: Path) -> int | None:
    """Give a file a second name; its size, or None where there is no such file."""
    try:
        found: OpenFile = opened(name)
    except Missing:
        return _size(directory / name)  # held since an earlier attempt
    place = directory / name
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        # What is open, not what has its name by now. Only with a descriptor does Python ask the kernel to follow.
        os.link(f"/proc/self/fd/{found.descriptor}", place, src_dir_fd=found.descriptor, follow_symlinks=True)
    except FileExistsError:
        pass
    except OSError:
        pass  # no second names here: `Held.open` looks in its place
    size = found.size_bytes
    found.close()
    return size


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
