"""The archive: a plain tar stream in which every single byte is accounted for.

    writer = Writer(stream, at=1_790_000_000)
    writer.add("library/ab/abcd.mp4", size, file)
    writer.close()

    for member in Reader(stream):
        member.copy_to(write)

`tar -tf` lists it, `tar -x` unpacks it, and then `sha256sum -c SHA256SUMS` checks it. It is a narrow kind of tar:
regular files alone, in one order, under names of three shapes, with headers that follow from name, size and one time.
So whatever is not exactly that, a link, a device, `..`, a byte of padding, is refused by comparing it. The last member
lists the hash of each other: an archive without it was cut.
"""

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from .errors import Damaged

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
NAME = re.compile(r"(?:database|library)/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
NAME_CHARACTERS = 100  # what a header has room for
MOST_MEMBERS = 2_000_000
BLOCK_BYTES = 2**20
UNIT = 512  # bytes; headers are one unit, contents are filled up to whole ones
END = bytes(2 * UNIT)
FOREIGN = "This is no archive of `manage.py backup`."
CUT = "The archive ends too early: it was cut, or never finished."


def is_name(name: str) -> bool:
    """Whether a member may be called so."""
    return len(name) <= NAME_CHARACTERS and NAME.fullmatch(name) is not None


class Writable(Protocol):
    """As much of a file as an archive is written into."""

    def write(self, data: bytes, /) -> int:
        """Write all of it."""

    def flush(self) -> object:
        """Flush it."""


class Writer:
    """Writes an archive, member by member, in the order manifest, database, library.

    Attributes:
        members: how many were written.
        written_bytes: of their contents.
    """

    def __init__(self, stream: Writable, *, at: int) -> None:
        self._stream, self._at, self._sums = stream, at, [""]
        self.members = self.written_bytes = 0

    def add(self, name: str, size: int, source: BinaryIO, progress: Callable[[int], None] | None = None) -> str:
        """Add a member of that many bytes; its SHA-256 in hexadecimal.

        Raises:
            Damaged: where `source` has fewer bytes.
        """
        self._stream.write(_header(name, size, self._at))
        digest, left = hashlib.sha256(), size
        while left:
            block = source.read(min(BLOCK_BYTES, left))
            if not block:
                raise Damaged(f"{name} became shorter while it was read.")
            digest.update(block)
            self._stream.write(block)
            left -= len(block)
            if progress is not None:
                progress(len(block))
        self._stream.write(bytes(-size % UNIT))
        self._sums.append(f"{digest.hexdigest()}  {name}\n")
        self.members += 1
        self.written_bytes += size
        return digest.hexdigest()

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a member that is at hand."""
        self._stream.write(_header(name, len(data), self._at) + data + bytes(-len(data) % UNIT))
        self._sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
        self.members += 1
        self.written_bytes += len(data)

    def close(self) -> None:
        """Add the list of hashes, and end."""
        self.add_bytes(SUMS, "".join(self._sums).encode())
        self._stream.write(END)


@dataclass(slots=True)
class Member:
    """One file in an archive, to be read before the next one is asked for."""

    name: str
    size_bytes: int
    _blocks: Iterator[bytes]

    def blocks(self) -> Iterator[bytes]:
        """Its content, in pieces. What is left of it when the next member is asked for is read past, and hashed."""
        return self._blocks

    def content(self, most: int) -> bytes:
        """All of it, where it is a small one; Damaged where it has more than `most` bytes."""
        if self.size_bytes > most:
            raise Damaged(f"The archive's {self.name} is larger than any that this program writes.")
        return b"".join(self._blocks)


class Reader:
    """Reads an archive from start to end. Only when the loop has ended without an error was the archive whole."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._at = stream, -1
        self._sums, self._sums_bytes, self._members = hashlib.sha256(), 0, 0

    def __iter__(self) -> Iterator[Member]:
        last = (-1, "")
        while True:
            name, size = self._next_header()
            if (place := _place(name)) <= last:
                raise Damaged(f"The archive's members are not in their order, or one is there twice: {name!r}.")
            last = place
            if name == SUMS:
                return self._expect_end(size)
            digest = hashlib.sha256()
            blocks = self._contents(size, digest)
            yield Member(name, size, blocks)
            for _ in blocks:
                pass
            line = f"{digest.hexdigest()}  {name}\n".encode()
            self._sums.update(line)
            self._sums_bytes += len(line)

    def _next_header(self) -> tuple[str, int]:
        raw = self._exactly(UNIT)
        first = self._at < 0
        try:
            found = tarfile.TarInfo.frombuf(raw, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeError):
            what = (
                "This is no archive of `manage.py backup`." if first else "The archive is altered: a header is wrong."
            )
            raise Damaged(CUT if raw == bytes(UNIT) else what) from None
        if first:
            self._at = int(found.mtime)
        if found.name not in {MANIFEST, SUMS} and not is_name(found.name):
            raise Damaged(f"The archive holds something that no backup has: {found.name[:100]!r}.")
        if first != (found.name == MANIFEST):
            raise Damaged(f"{FOREIGN} Its manifest is not where it should be.")
        if found.size < 0 or raw != _header(found.name, found.size, self._at):
            raise Damaged(f"The archive is altered, or of another program: the header of {found.name!r} is wrong.")
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise Damaged(f"The archive holds more than {MOST_MEMBERS:,} files.")
        return found.name, found.size

    def _contents(self, size: int, digest: "hashlib._Hash") -> Iterator[bytes]:
        left = size
        while left:
            block = self._exactly(min(BLOCK_BYTES, left))
            left -= len(block)
            digest.update(block)
            yield block
        if any(self._exactly(-size % UNIT)):
            raise Damaged("The archive is altered: there is something between its members.")

    def _expect_end(self, size: int) -> None:
        digest = hashlib.sha256()
        if size == self._sums_bytes:
            for _ in self._contents(size, digest):
                pass
        if digest.digest() != self._sums.digest():
            raise Damaged("The archive is altered: its contents do not have the hashes that were noted down.")
        if self._exactly(len(END)) != END or self._stream.read(1):
            raise Damaged("The archive is altered: something follows after its end.")

    def _exactly(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            part = self._stream.read(left)
            if not part:
                raise Damaged(CUT)
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _place(name: str) -> tuple[int, str]:
    """Where a member stands in the order of all."""
    rank = {MANIFEST: 0, "database": 1, "library": 2, SUMS: 3}
    return rank[name.partition("/")[0]], name


def _header(name: str, size: int, at: int) -> bytes:
    found = tarfile.TarInfo(name)
    found.size, found.mtime, found.mode = size, at, 0o600
    return found.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")
