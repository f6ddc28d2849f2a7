"""The database as it was at one moment, on its way into an archive; and the way back, all of it or nothing.

What differs between SQLite and PostgreSQL stands in `sqlite` and `postgresql`.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from django.db import connection

from . import postgresql, sqlite

# What is in the tables of an installation that nobody has used: put there by `migrate`, or computed from others.
NOBODYS = re.compile(
    r"auth_permission|django_content_type|django_migrations|content_search_for_\w+"
    r"|observability_(fact_refresh|fact_sample|maintenance_task)"
)
Row = tuple[Any, ...]


class Moment(Protocol):
    """The database at one moment, whatever is written meanwhile."""

    @property
    def server_version(self) -> str:
        """The database's own."""

    def rows(self, query: str) -> list[Row]:
        """What it answers."""

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""

    def dump(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """The whole of it, as members of an archive: name, size, content."""


class Loaded(Protocol):
    """What came back; in effect once it was told `keep`, and gone if it was not."""

    def rows(self, query: str) -> list[Row]:
        """What it answers."""

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""

    def keep(self) -> None:
        """Put it in place of what is in the database, for good.

        Raises:
            InDoubt: the database went away meanwhile; any other error says that it is as it was.
        """


def moment() -> AbstractContextManager[Moment]:
    """The database as it is now, until the end of the block."""
    return postgresql.moment() if connection.vendor == "postgresql" else sqlite.moment()


def loaded(dump: Path) -> AbstractContextManager[Loaded]:
    """The dump in that file, to be put in place of everything in the database."""
    connection.close()
    return postgresql.loaded(dump) if connection.vendor == "postgresql" else sqlite.loaded(dump)


def analyze() -> None:
    """Have the planner know what is in the tables, where it does not look by itself at once."""
    if connection.vendor == "postgresql":
        postgresql.analyze()


def filled_tables() -> list[str]:
    """The tables of the site's database that hold what somebody put there."""
    tables = postgresql.tables_now() if connection.vendor == "postgresql" else sqlite.tables_now()
    return sorted(name for name, rows in tables.items() if rows and not NOBODYS.fullmatch(name))


def has_table(name: str) -> bool:
    """Whether the site's database has that table."""
    return name in connection.introspection.table_names()
