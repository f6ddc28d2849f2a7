"""manage.py open_incident: record that a service is not as it should be."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from observability.delivery import incidents
from observability.delivery.management.shell import add_pipeline_arguments, find_deployment, moment, plain_errors
from observability.delivery.models import Severity
from observability.refresh import refresh


class Command(BaseCommand):
    """Opens an incident."""

    help = "Open an incident, by default one that starts now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("title", metavar="TITLE")
        parser.add_argument("--severity", choices=Severity.values, default=Severity.WARNING.value)
        parser.add_argument("--started", metavar="TIME", type=moment, help="ISO 8601, or seconds since 1970")
        parser.add_argument("--description", default="")
        parser.add_argument("--url", default="", help="where it is dealt with")
        parser.add_argument("--deployment", metavar="EXTERNAL_ID|VERSION", help="the deployment that caused it")
        parser.add_argument("--external-id", default="", help="with it, the same incident told twice is one row")
        add_pipeline_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Open it, and say under which number."""
        pipeline = {name: options[name] for name in ("service", "environment")}
        cause = find_deployment(options["deployment"], **pipeline) if options["deployment"] else None
        told = {name: options[name] for name in ("title", "severity", "description", "url", "external_id")}
        with plain_errors():
            incident, created = incidents.tell(**pipeline, **told, started_at=options["started"], deployment=cause)
        refresh()
        said = "opened" if created else "was open already" if incident.resolved_at is None else "was resolved already"
        self.stdout.write(f"Incident {incident.pk} {said}: {incident.title}")
