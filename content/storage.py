"""Opening a file of the library: the one on this machine, found by the name in its row and by nothing else.

A name is followed part by part, no symbolic link among them, so that neither a row that was tampered with nor a link
that somebody put into the directory leads out of it. Where the files are in a bucket, `in_bucket` says so.
"""

import errno
import os
import stat

from django.core.files.storage import FileSystemStorage, Storage, storages

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a pipe is not waited for, but refused
# What says that there is no such file of ours; anything else (no descriptor left, a broken disk) is a fault of ours.
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG, errno.ENXIO}


class Missing(Exception):
    """The storage has no such file, or none that may be served."""


class OpenFile:
    """A regular file, open for reading. Its size and time are those of what is open, whatever becomes of its name.

    Attributes:
        descriptor: to read from, until `close`.
        size_bytes: when it was opened.
        modified: seconds since the epoch.
    """

    __slots__ = ("descriptor", "modified", "size_bytes")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise Missing("It is no regular file.")
        self.size_bytes = found.st_size
        self.modified = found.st_mtime_ns // 10**9

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()  # of a response that nobody waited for


def in_bucket() -> Storage | None:
    """The storage that browsers are sent to; None where the files are on this machine."""
    storage = storages["library"]
    return None if isinstance(storage, FileSystemStorage) else storage


def opened(name: str) -> OpenFile:
    """The library's file of that name, which has one or more parts, none of them `..`.

    Raises:
        Missing: where there is none, a part of the way is a symbolic link, or it is no regular file.
    """
    *directories, last = name.split("/")
    if "\0" in name or any(part in {"", ".", ".."} for part in (*directories, last)):
        raise Missing("That is no name of ours.")
    root: str = storages["library"].location  # type: ignore[attr-defined]
    try:
        place = os.open(root, DIRECTORY)
        try:
            for directory in directories:
                inner = os.open(directory, DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
                os.close(place)
                place = inner
            return OpenFile(os.open(last, FILE, dir_fd=place))
        finally:
            os.close(place)
    except (OSError, UnicodeEncodeError) as error:
        if isinstance(error, OSError) and error.errno not in NOT_THERE:
            raise
        raise Missing(str(error)) from error
