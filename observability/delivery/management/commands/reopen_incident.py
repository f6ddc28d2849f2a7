"""manage.py reopen_incident: say that an incident is not over after all."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from observability.delivery import incidents
from observability.delivery.management.shell import find_incident
from observability.refresh import refresh


class Command(BaseCommand):
    """Opens an incident again."""

    help = (
        "Say that an incident is not over after all; resolve_incident then tells its true end. What mttr_seconds has "
        "counted stays counted, and incidents_reopened_total counts this."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("incident", metavar="NUMBER", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        """Open it again, and say whether that changed anything."""
        incident = find_incident(options["incident"])
        changed = incidents.reopen(incident)
        refresh()
        self.stdout.write(f"Incident {incident.pk} {'is open again' if changed else 'was open already'}.")
