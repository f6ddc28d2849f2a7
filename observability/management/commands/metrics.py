"""manage.py metrics: the facts, without a server."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from prometheus_client.exposition import generate_latest

from observability.exposition import Exposition
from observability.models import FactSample
from observability.refresh import refresh


class Command(BaseCommand):
    """Prints what a scrape would say of the database."""

    help = "Bring the facts up to date and print them as Prometheus text."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--stored", action="store_true", help="print them as last computed, and compute nothing")
        parser.add_argument("--force", action="store_true", help="compute also what did not change")

    def handle(self, *args: Any, **options: Any) -> None:
        """Refresh and print."""
        if not options["stored"] and not refresh(force=options["force"]):
            self.stderr.write("Another process is refreshing the facts; these are as last computed.")
        text = generate_latest(Exposition(list(FactSample.objects.all()), events=False))
        self.stdout.write(text.decode(), ending="")
