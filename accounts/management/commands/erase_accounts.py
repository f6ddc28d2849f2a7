"""Erase the accounts whose deletion was asked for and whose grace period is over; for a timer, once a day.

For those whose grace period is not over, what could not be stopped when the deletion was asked for is stopped now.
"""

from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import deletion
from observability import maintenance


class Command(BaseCommand):
    """manage.py erase_accounts."""

    help = "Erase the accounts whose deletion was asked for and whose grace period is over."

    def add_arguments(self, parser: CommandParser) -> None:
        """Arguments."""
        parser.add_argument("--dry-run", action="store_true", help="say whom, erase nobody")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Erase, say how many, and record it."""
        with nullcontext() if dry_run else maintenance.performed("erase_accounts") as run:
            number = self._erase(dry_run)
            if run is not None:
                run.detail = f"{number} accounts"

    def _erase(self, dry_run: bool) -> int:
        accounts = deletion.due()
        waiting = [] if dry_run else deletion.pending()
        failed = unsettled = 0
        for user in accounts:
            number = user.pk
            self.stdout.write(f"{'would erase' if dry_run else 'erasing'} account {number}")
            if not dry_run:
                try:
                    deletion.erase(user)
                except Exception as error:  # noqa: BLE001 - one that cannot be erased does not keep the others
                    failed += 1
                    self.stderr.write(f"account {number} is not erased: {type(error).__name__}: {error}")
        for user in waiting:
            try:
                deletion.settle(user)
            except Exception as error:  # noqa: BLE001 - likewise
                unsettled += 1
                self.stderr.write(f"account {user.pk} may still be charged: {type(error).__name__}: {error}")
        self.stdout.write(f"{len(accounts)} accounts")
        if failed:
            raise CommandError(f"{failed} of them could not be erased; the next run tries again.")
        if unsettled:
            raise CommandError(
                f"For {unsettled} accounts that are about to be deleted, what is paid for could not be stopped; "
                "the next run tries again."
            )
        return len(accounts)
