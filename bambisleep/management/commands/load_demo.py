"""manage.py load_demo: content to look at, labelled as what it is."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from content import demo as demo_items
from observability.delivery import demo
from observability.refresh import refresh
from payments import demo as demo_plans
from realtime import demo as demo_rooms


class Command(BaseCommand):
    """Loads the demo content of every app that has some."""

    help = (
        "Load demo content: deployments of the service `demo`, demo plans, items and rooms. remove_demo takes it away."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Load, and allow `start` to load it again."""
        (settings.DATA_DIR / "no-demo").unlink(missing_ok=True)
        deployments, plans, items, rooms = demo.load(), demo_plans.load(), demo_items.load(), demo_rooms.load()
        refresh(force=True)
        self.stdout.write(
            f"Demo data: {deployments} deployments of the service `demo`, {plans} demo plans, {items} demo items,"
            f" {rooms} demo rooms (manage.py remove_demo removes it)."
        )
