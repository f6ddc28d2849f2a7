"""Leaves word for every process that what somebody may see has changed (`models.AccessChange`).

`standing.look` finds it, within seconds; `hub.wake_soon` has this process look at once.
"""

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from . import hub, identity, standing
from .models import AccessChange


def leave_word(*, user_id: int, session_key: str = "") -> None:
    """Have every process look again at the connections of a user, or close those of one session that ends."""
    digest = identity.digest(session_key) if session_key else ""
    AccessChange.objects.create(user_id=user_id, session_digest=digest)
    transaction.on_commit(_left, robust=True)


def leave_word_of_all(user_ids: Iterable[int]) -> None:
    """The same for several users."""
    rows = [AccessChange(user_id=user_id) for user_id in user_ids]
    if rows:
        AccessChange.objects.bulk_create(rows)
        transaction.on_commit(_left, robust=True)


def _left() -> None:
    hub.wake_soon()
    # Where nobody is connected, nobody looks, and nobody else would sweep.
    AccessChange.objects.filter(at__lt=timezone.now() - standing.KEPT).delete()
