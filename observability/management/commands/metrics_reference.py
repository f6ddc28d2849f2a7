"""manage.py metrics_reference: write what is generated from the declared metrics."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from observability import reference


class Command(BaseCommand):
    """Writes TELEMETRY.md's table and the recording rules."""

    help = "Write the table of TELEMETRY.md and deploy/prometheus/recording.yml from the declared metrics."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write, or compare."""
        document = settings.BASE_DIR / "TELEMETRY.md"
        rules = settings.BASE_DIR / "deploy" / "prometheus" / "recording.yml"
        wanted = {document: reference.with_table(document.read_text()), rules: reference.recording_rules()}
        for path, text in wanted.items():
            name = path.relative_to(settings.BASE_DIR)
            if path.exists() and path.read_text() == text:
                continue
            if options["check"]:
                raise CommandError(f"{name} is out of date: run `make telemetry`.")
            path.write_text(text)
            self.stdout.write(f"{name} was brought up to date.")
