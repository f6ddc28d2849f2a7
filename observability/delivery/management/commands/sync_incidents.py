"""manage.py sync_incidents: catch up with what Alertmanager could not deliver."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from observability.delivery import alerts
from observability.delivery.alertmanager import AlertmanagerUnavailable
from observability.refresh import refresh


class Command(BaseCommand):
    """Compares, and says what that changed."""

    help = (
        "Open an incident for each alert that fires and is not known, and close those whose alert fires no longer. "
        "The application does the same when it starts."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--url", default=settings.ALERTMANAGER_URL, help="of Alertmanager (default: %(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare, and say what became of it."""
        if not options["url"]:
            raise CommandError("Where is Alertmanager? Set ALERTMANAGER_URL, or give --url http://localhost:9093.")
        dry_run = options["dry_run"]
        try:
            synced = alerts.sync(url=options["url"], dry_run=dry_run)
        except AlertmanagerUnavailable as error:
            raise CommandError(f"{error}\nNothing was changed.") from None
        for outcome, titles in (("opened", synced.opened), ("closed", synced.resolved)):
            for title in titles:
                self.stdout.write(f"{'would be ' if dry_run else ''}{outcome}: {title}")
        if synced.settled_at:
            self.stdout.write(
                "Nothing was closed: Alertmanager was started so recently that it may not know yet what fires. "
                f"Try again after {synced.settled_at:%H:%M:%S} UTC."
            )
        elif not synced.opened and not synced.resolved:
            self.stdout.write("Nothing differs.")
        if not dry_run:
            refresh()
