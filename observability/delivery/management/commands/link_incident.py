"""manage.py link_incident: say which deployment caused an incident, or that none did."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from observability.delivery import incidents
from observability.delivery.management.shell import find_deployment, find_incident, plain_errors
from observability.refresh import refresh


class Command(BaseCommand):
    """Links an incident."""

    help = "Say which deployment caused an incident, or with --none that no deployment did."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("incident", metavar="NUMBER", type=int)
        cause = parser.add_mutually_exclusive_group(required=True)
        cause.add_argument("--deployment", metavar="EXTERNAL_ID|VERSION", help="of the incident's own service")
        cause.add_argument("--none", action="store_true", help="take the link away")

    def handle(self, *args: Any, **options: Any) -> None:
        """Link it, and say to what."""
        incident = find_incident(options["incident"])
        cause = None
        if not options["none"]:
            pipeline = {"service": incident.service, "environment": incident.environment}
            cause = find_deployment(options["deployment"], **pipeline)
        with plain_errors():
            incidents.link(incident, cause)
        refresh()
        self.stdout.write(f"Incident {incident.pk} was caused by {cause or 'no deployment'}.")
