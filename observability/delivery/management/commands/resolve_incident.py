"""manage.py resolve_incident: say that an incident is over."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from observability.delivery import incidents
from observability.delivery.management.shell import find_incident, moment, plain_errors
from observability.refresh import refresh


class Command(BaseCommand):
    """Resolves an incident."""

    help = "Say that an incident is over, by default now. One that is resolved stays as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("incident", metavar="NUMBER", type=int)
        parser.add_argument("--resolved", metavar="TIME", type=moment, help="ISO 8601, or seconds since 1970")

    def handle(self, *args: Any, **options: Any) -> None:
        """Resolve it, and say whether that changed anything."""
        incident = find_incident(options["incident"])
        with plain_errors():
            changed = incidents.resolve(incident, resolved_at=options["resolved"])
        refresh()
        incident.refresh_from_db()
        at = f"{incident.resolved_at:%Y-%m-%d %H:%M:%S} UTC"
        self.stdout.write(f"Incident {incident.pk} {'is' if changed else 'was already'} resolved: {at}")
