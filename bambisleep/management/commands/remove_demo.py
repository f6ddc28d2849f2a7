"""manage.py remove_demo: take the demo content away, for good."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from observability.delivery import demo
from observability.delivery.models import Deployment
from observability.refresh import refresh
from payments import demo as demo_plans
from payments.models import Plan


class Command(BaseCommand):
    """Removes what load_demo loaded, and nothing else."""

    help = "Remove the demo content. `start` does not load it again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove."""
        if options["dry_run"]:
            deployments = Deployment.objects.filter(service=demo.SERVICE).count()
            plans = Plan.objects.filter(price_id__startswith=demo_plans.PREFIX).count()
            self._say(deployments, plans, "would be removed")
            return
        deployments, plans = demo.remove(), demo_plans.remove()
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        (settings.DATA_DIR / "no-demo").touch()
        refresh(force=True)
        self._say(deployments, plans, "were removed")

    def _say(self, deployments: int, plans: int, what: str) -> None:
        self.stdout.write(f"{deployments} deployments of the service `demo` and {plans} demo plans {what}.")
