"""Encrypt second factors by the newest SECRET_KEY."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.reencryption import reencrypt


class Command(BaseCommand):
    """manage.py reencrypt_second_factors."""

    help = (
        "Encrypt by SECRET_KEY the second factors that a key in SECRET_KEY_FALLBACKS encrypted. Afterwards they no "
        "longer need that key. It may be run while the site runs, and again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Arguments."""
        parser.add_argument("--dry-run", action="store_true", help="say how many there are, and change nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Encrypt, and say how many; it fails where a key is missing."""
        done, unreadable = reencrypt(dry_run=dry_run)
        self.stdout.write(f"{done} second factors {'would be' if dry_run else 'were'} encrypted anew.")
        if unreadable:
            numbers = ", ".join(map(str, unreadable))
            raise CommandError(
                f"No listed key opens the second factors of the accounts {numbers}: name the key that they were "
                "stored by in SECRET_KEY_FALLBACKS, or remove them in the admin, and their owners add new ones."
            )
