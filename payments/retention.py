"""How long the log of Stripe's events is kept, ours and what dj-stripe keeps of its own."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from djstripe.models import Event, IdempotencyKey, WebhookEventTrigger

from .models import WebhookEvent

BATCH = 5_000  # rows of one transaction, so that none holds its locks for long
KEY_LIFETIME = timedelta(days=1)  # how long Stripe remembers an idempotency key; after that it means nothing


def outdated(now: datetime) -> dict[str, QuerySet[Any]]:
    """What may be deleted, by what it is. An event that was not processed is never among it."""
    before = now - timedelta(days=settings.STRIPE_EVENTS_DAYS)
    return {
        "events": WebhookEvent.objects.filter(processed_at__isnull=False, received_at__lt=before),
        "webhook triggers of dj-stripe": WebhookEventTrigger.objects.filter(created__lt=before),
        "events of dj-stripe": Event.objects.filter(created__lt=before),
        "idempotency keys of dj-stripe": IdempotencyKey.objects.filter(created__lt=now - KEY_LIFETIME),
    }


def prune(*, dry_run: bool = False, now: datetime | None = None) -> Iterator[tuple[str, int]]:
    """Delete it, batch by batch.

    Args:
        dry_run: only count it.

    Yields:
        What it is, and how many of it.
    """
    for name, rows in outdated(now or timezone.now()).items():
        yield name, rows.count() if dry_run else _delete(rows)


def _delete(rows: QuerySet[Any]) -> int:
    deleted = 0
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            deleted += rows.filter(pk__in=keys).delete()[1].get(rows.model._meta.label, 0)
    return deleted
