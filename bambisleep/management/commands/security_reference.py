"""manage.py security_reference: write SECURITY.md's table of who may do what."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from bambisleep import permissions


class Command(BaseCommand):
    """Writes the table between its markers."""

    help = "Write the permission matrix of SECURITY.md from bambisleep/permissions.csv."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--check", action="store_true", help="write nothing; fail where it is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write, or compare."""
        document = settings.BASE_DIR / "SECURITY.md"
        text = document.read_text()
        wanted = permissions.with_table(text)
        if wanted == text:
            return
        if options["check"]:
            raise CommandError("SECURITY.md is out of date: run `make permissions`.")
        document.write_text(wanted)
        self.stdout.write("SECURITY.md was brought up to date.")
