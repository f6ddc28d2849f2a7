"""SQLite, by its own online backup, which writers do not wait for: a copy, since a tar member's size comes first."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.db import connection

from .errors import BackupError, Damaged, told

MEMBER = "database/db.sqlite3"
LOCK_SECONDS = 15.0


class Moment:
    """A copy of the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(_live())) as live, closing(sqlite3.connect(path)) as copy:
            live.backup(copy)

    @property
    def server_version(self) -> str:
        """SQLite's own."""
        return sqlite3.sqlite_version

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What it answers."""
        with closing(sqlite3.connect(self._path)) as copy:
            return copy.execute(query).fetchall()

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""
        with closing(sqlite3.connect(self._path)) as copy:
            return _tables(copy)

    def dump(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """The copy."""
        with self._path.open("rb") as file:
            yield MEMBER, self._path.stat().st_size, file


class Loaded:
    """A copy that was brought back, still beside the database."""

    def __init__(self, copy: sqlite3.Connection) -> None:
        self._copy = copy

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What it answers."""
        return self._copy.execute(query).fetchall()

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""
        return _tables(self._copy)

    def keep(self) -> None:
        """Overwrite the database with it, in one transaction of SQLite's own."""
        self._copy.commit()
        _replace(self._copy)


@contextmanager
def moment() -> Iterator[Moment]:
    """The database as it is now."""
    with ExitStack() as stack:
        with told("DATA_DIR"):
            for left in settings.DATA_DIR.glob(".backup-*"):  # of a run that was killed: no other runs now
                shutil.rmtree(left)
            aside = tempfile.TemporaryDirectory(prefix=".backup-", dir=settings.DATA_DIR)
        directory = Path(stack.enter_context(aside))
        try:
            found = Moment(directory / "db.sqlite3")
        except sqlite3.Error as error:
            raise BackupError(f"SQLite cannot copy the database: {error}.") from None
        yield found


@contextmanager
def loaded(dump: Path) -> Iterator[Loaded]:
    """The dump, checked."""
    try:
        with closing(sqlite3.connect(dump)) as copy:
            copy.execute("PRAGMA cell_size_check=ON")
            if (found := copy.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
                raise Damaged(f"SQLite finds the archive's database damaged: {found[0]}.")
            yield Loaded(copy)
    except sqlite3.Error as error:
        raise BackupError(f"SQLite cannot use the archive's database: {error}. Nothing was changed.") from None


def tables_now() -> dict[str, int]:
    """How many rows each table of the site's database has; none where it does not exist."""
    if not Path(_live()).exists():
        return {}
    with closing(sqlite3.connect(_live())) as live:
        return _tables(live)


def _replace(copy: sqlite3.Connection) -> None:
    """Overwrite the database through SQLite: whoever has it open sees the old one or the new one."""
    Path(_live()).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(_live(), timeout=LOCK_SECONDS, isolation_level=None)) as live:
        try:
            live.execute("BEGIN IMMEDIATE")
            live.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise BackupError(f"The database is in use ({error}): stop the site first. Nothing was changed.") from None
        copy.backup(live)
        with suppress(sqlite3.Error):  # somebody reads: it comes to it by itself
            live.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _live() -> str:
    return str(connection.settings_dict["NAME"])


def _tables(database: sqlite3.Connection) -> dict[str, int]:
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND sql NOT LIKE 'CREATE VIRTUAL %' ORDER BY name"
    )
    counts = {}
    for (name,) in database.execute(query).fetchall():
        quoted = name.replace('"', '""')
        count = f'SELECT count(*) FROM "{quoted}"'  # noqa: S608  a name that the database itself told
        counts[name] = database.execute(count).fetchone()[0]
    return counts
