"""manage.py prune_stripe_events: delete what the log of Stripe's events need not keep any longer; for a timer."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from payments import retention
from payments.management.shell import plain_errors


class Command(BaseCommand):
    """Deletes, and counts."""

    help = (
        f"Delete Stripe's events that came more than {settings.STRIPE_EVENTS_DAYS} days ago (STRIPE_EVENTS_DAYS) and "
        "were processed. One that could not be processed stays until it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="say how many, delete nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Delete, and say how many."""
        with plain_errors("Run it again to go on."):
            for name, number in retention.prune(dry_run=dry_run):
                self.stdout.write(f"{number:,} {name} {'would be deleted' if dry_run else 'deleted'}")
