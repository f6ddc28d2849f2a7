"""manage.py migrate: Django's own, which waits for no lock on PostgreSQL for longer than the site can bear.

A step that changes a table waits for everybody who reads it, a backup say, and whoever comes after waits behind the
step. So a migration gives up after a few seconds, its transaction takes back what it did, and it is tried again.
"""

import time
from typing import Any

from django.core.management import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from psycopg.errors import LockNotAvailable


class Command(migrate.Command):
    """Migrates, and steps aside for whoever holds a lock."""

    help = f"{migrate.Command.help} On PostgreSQL, none waits for a lock for long while the site serves."
    connection: BaseDatabaseWrapper
    lock_seconds: float
    migration: Migration | None = None  # the one under way

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=5.0,
            metavar="SECONDS",
            help="how long a step may wait for a lock, and everybody else behind it; less than "
            "DATABASE_STATEMENT_SECONDS; 0: for ever (default: %(default)s)",
        )
        parser.add_argument(
            "--lock-tries", type=int, default=5, metavar="NUMBER", help="how often it is tried (default: %(default)s)"
        )
        parser.add_argument(
            "--lock-pause",
            type=float,
            default=15.0,
            metavar="SECONDS",
            help="between two tries (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; where somebody holds a lock, again."""
        self.connection = connections[options["database"]]
        self.lock_seconds = options["lock_timeout"]
        for left in reversed(range(max(options["lock_tries"], 1))):
            try:
                super().handle(*args, **options)
                return
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
            told = f"{self.migration} got no lock within {self.lock_seconds:g} s, and was taken back"
            if not left:
                raise CommandError(
                    f"{told}. pg_stat_activity says who holds one, a backup perhaps: migrate again when it has ended. "
                    "Migrations before this one are applied."
                )
            self.stderr.write(f"\n{told}. Again in {options['lock_pause']:g} s, {left} times at most.")
            time.sleep(options["lock_pause"])

    def migration_progress_callback(self, action: str, migration: Migration | None = None, fake: bool = False) -> None:
        """Say what is under way; its transaction has the limit. What has none must wait, as an index online does."""
        super().migration_progress_callback(action, migration, fake)
        if migration is not None:
            self.migration = migration
            is_limited = action in {"apply_start", "unapply_start"} and migration.atomic
            self._limit(self.lock_seconds if is_limited else 0)

    def _limit(self, seconds: float) -> None:
        if self.connection.vendor == "postgresql":
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{seconds * 1000:.0f}ms"])
