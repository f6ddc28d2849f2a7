"""Let an account try to sign in again at once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts import lockout
from accounts.models import User


class Command(BaseCommand):
    """manage.py unlock_account."""

    help = "Forget the failed sign-ins of a name or address, so that it may be tried again at once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Arguments."""
        parser.add_argument("name", help="the account's name, or a verified e-mail address of it")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        """Forget, and say how many."""
        user = User.objects.by_name_or_email(name)
        key = lockout.key_of(user) if user else name.lower()
        self.stdout.write(f"{key}: {lockout.unlock(key=key)} failures forgotten")
