"""manage.py fail_deploy: say of a deployment that it failed after all."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from observability.delivery import deployments
from observability.delivery.management.shell import add_pipeline_arguments, find_deployment, plain_errors
from observability.delivery.models import Status
from observability.refresh import refresh


class Command(BaseCommand):
    """Marks a finished deployment."""

    help = "Say of a finished deployment that it failed, or was rolled back, after all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("deployment", metavar="EXTERNAL_ID|VERSION")
        choices = [Status.FAILED.value, Status.ROLLED_BACK.value]
        parser.add_argument("--status", choices=choices, default=Status.FAILED.value, help="default: %(default)s")
        add_pipeline_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Mark it, and say whether that changed anything."""
        row = find_deployment(options["deployment"], service=options["service"], environment=options["environment"])
        with plain_errors():
            changed = deployments.mark_failed(row, status=options["status"])
        refresh()
        row.refresh_from_db()
        self.stdout.write(f"{row}: {row.status} ({'updated' if changed else 'unchanged'})")
