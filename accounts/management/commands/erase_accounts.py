"""Erase the accounts whose deletion was asked for and whose grace period is over; for a timer, once a day."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts import deletion


class Command(BaseCommand):
    """manage.py erase_accounts."""

    help = "Erase the accounts whose deletion was asked for and whose grace period is over."

    def add_arguments(self, parser: CommandParser) -> None:
        """Arguments."""
        parser.add_argument("--dry-run", action="store_true", help="say whom, erase nobody")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Erase, and say how many."""
        accounts = deletion.due()
        for user in accounts:
            self.stdout.write(f"{'would erase' if dry_run else 'erasing'} account {user.pk}")
            if not dry_run:
                deletion.erase(user)
        self.stdout.write(f"{len(accounts)} accounts")
