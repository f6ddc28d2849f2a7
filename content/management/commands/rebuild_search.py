"""manage.py rebuild_search."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from content import search


class Command(BaseCommand):
    """Index every item anew."""

    help = "Index every item for the search anew: after items were changed in the database by hand."

    def handle(self, *args: Any, **options: Any) -> None:
        """All of them or none."""
        with transaction.atomic():
            number = search.index_all()
        self.stdout.write(f"{number} items indexed.")
