"""What this room keeps about a person: exported, and parted from the person when the account is erased."""

import uuid
from typing import Any

from accounts.models import User

from . import catalogue
from .models import Opening, Viewing


def export(user: User) -> dict[str, Any]:
    """What was played, and which pages were opened on which day."""
    viewings = Viewing.objects.filter(user=user).select_related("item").order_by("started_at", "pk")
    openings = Opening.objects.filter(user=user).select_related("item").order_by("day", "pk")
    return {
        "viewings": [
            {
                "item": viewing.item.slug if viewing.item else None,
                "started_at": viewing.started_at.isoformat(),
                "last_seen_at": viewing.last_beacon_at.isoformat(),
                "played_seconds": viewing.played_seconds,
                "position_seconds": viewing.position_seconds,
            }
            for viewing in viewings
        ],
        "openings": [
            {"item": opening.item.slug, "day": opening.day.isoformat(), "number": opening.number}
            for opening in openings
        ],
    }


def erase(user: User) -> None:
    """Keep the numbers, and nothing by which they could be told to be this person's.

    A viewing stays as one of nobody's, on a device that never comes back; openings join those of who is not signed in.
    """
    for viewing in Viewing.objects.filter(user=user).only("pk"):
        Viewing.objects.filter(pk=viewing.pk).update(user=None, device=uuid.uuid4().hex)
    for opening in Opening.objects.filter(user=user):
        catalogue.add(opening.item_id, None, opening.day, opening.number)
        opening.delete()
