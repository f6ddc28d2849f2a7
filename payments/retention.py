"""How long the log of Stripe's events is kept, ours and what dj-stripe keeps of its own."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from djstripe.models import Event, IdempotencyKey, WebhookEventTrigger

from observability.retention import Outdated, Rows, keeps

from .models import WebhookEvent

KEY_LIFETIME = timedelta(days=1)  # how long Stripe remembers an idempotency key; after that it means nothing


@keeps("stripe-events", "Stripe's events that were processed; one that was not stays.", days="STRIPE_EVENTS_DAYS")
def stripe_events(before: datetime) -> Iterator[Outdated]:
    """Ours, but for the newest, which says when one was processed last, and dj-stripe's."""
    processed = WebhookEvent.objects.filter(processed_at__isnull=False)
    newest = processed.order_by("-processed_at").values_list("pk", flat=True)[:1]
    yield Rows(processed.filter(received_at__lt=before).exclude(pk__in=list(newest)))
    yield Rows(WebhookEventTrigger.objects.filter(created__lt=before))
    yield Rows(Event.objects.filter(created__lt=before))


@keeps("stripe-keys", "Idempotency keys of calls to Stripe, which it has forgotten.", period=KEY_LIFETIME)
def stripe_keys(before: datetime) -> Iterator[Outdated]:
    """dj-stripe's."""
    yield Rows(IdempotencyKey.objects.filter(created__lt=before))
