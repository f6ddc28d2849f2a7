"""manage.py load_demo: content to look at, labelled as what it is."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from observability.delivery import demo
from observability.refresh import refresh


class Command(BaseCommand):
    """Loads the demo content of every app that has some."""

    help = "Load demo content, kept apart under the service `demo`. remove_demo takes it away."

    def handle(self, *args: Any, **options: Any) -> None:
        """Load, and allow `start` to load it again."""
        (settings.DATA_DIR / "no-demo").unlink(missing_ok=True)
        number = demo.load()
        refresh(force=True)
        self.stdout.write(f"Demo data: {number} deployments of the service `demo` (manage.py remove_demo removes it).")
