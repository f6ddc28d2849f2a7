"""Sign an account out everywhere, or every account."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import sessions
from accounts.models import User
from observability.management.progress import Progress


class Command(BaseCommand):
    """manage.py sign_out."""

    help = (
        "End every browser's session, every API sign-in and every open connection of an account, or of all accounts. "
        "Whoever knows the password may sign in again: `manage.py changepassword` gives another."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Arguments."""
        parser.add_argument("name", nargs="?", help="the account's name, or a verified e-mail address of it")
        parser.add_argument("--everybody", action="store_true", help="all accounts, your own among them")
        parser.add_argument("--dry-run", action="store_true", help="say who it would be, and sign nobody out")

    def handle(self, *args: Any, name: str | None, everybody: bool, dry_run: bool, **options: Any) -> None:
        """Sign out, and say how many."""
        if bool(name) == everybody:
            raise CommandError("Name one account, or say --everybody.")
        users = User.objects.all()
        if name:
            found = User.objects.by_name_or_email(name)
            if found is None:
                raise CommandError(f"There is no account {name}: give its name, or a verified address of it.")
            users = users.filter(pk=found.pk)
        number, progress = 0, Progress(self.stderr)
        for user in users.order_by("pk").iterator(chunk_size=500):
            if not dry_run:
                sessions.end_all(user, reason="signed_out")
            number += 1
            progress.draw(f"{number} accounts …")
        progress.clear()
        self.stdout.write(f"{number} accounts {'would be' if dry_run else 'are'} signed out everywhere.")
