"""manage.py remove_demo: take the demo content away, for good."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from observability.delivery import demo
from observability.delivery.models import Deployment
from observability.refresh import refresh


class Command(BaseCommand):
    """Removes what load_demo loaded, and nothing else."""

    help = "Remove the demo content. `start` does not load it again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove."""
        if options["dry_run"]:
            number = Deployment.objects.filter(service=demo.SERVICE).count()
            self.stdout.write(f"{number} deployments of the service `demo` would be removed.")
            return
        number = demo.remove()
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        (settings.DATA_DIR / "no-demo").touch()
        refresh(force=True)
        self.stdout.write(f"{number} deployments of the service `demo` were removed.")
