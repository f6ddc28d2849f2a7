"""manage.py remove_demo: take the demo content away, for good."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from content import demo as demo_items
from observability.delivery import demo
from observability.delivery.models import Deployment
from observability.refresh import refresh
from payments import demo as demo_plans
from payments.models import Plan
from realtime import demo as demo_rooms


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
            self._say(deployments, plans, demo_items.present(), demo_rooms.present(), "would be removed")
            return
        deployments, plans, items, rooms = demo.remove(), demo_plans.remove(), demo_items.remove(), demo_rooms.remove()
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        (settings.DATA_DIR / "no-demo").touch()
        refresh(force=True)
        self._say(deployments, plans, items, rooms, "were removed")

    def _say(self, deployments: int, plans: int, items: int, rooms: int, what: str) -> None:
        self.stdout.write(
            f"{deployments} deployments of the service `demo`, {items} demo items, {rooms} demo rooms"
            f" and {plans} demo plans {what}."
        )
