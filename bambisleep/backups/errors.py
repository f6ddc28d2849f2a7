"""What goes wrong with backups, as sentences for an operator."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class BackupError(Exception):
    """No backup was made, or nothing was restored; the text says why, and what to do."""


class InDoubt(BackupError):
    """The database went away while it was asked to commit: nobody knows whether it did."""


class Damaged(BackupError):
    """The archive is not, byte for byte, what was written."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Make a BackupError of what the system says about `what`: a disk that is full, a directory that is not there."""
    try:
        yield
    except BrokenPipeError:
        raise BackupError(f"Whoever read {what} went away before the end.") from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise BackupError(f"There is no room left for {what}. Nothing was kept: make room, then try again.") from (
                error
            )
        where = f" ({error.filename})" if error.filename else ""
        raise BackupError(f"{what}: {error.strerror or error}{where}.") from error
