"""What prune does to Stripe's events: what is processed and old goes, what waits stays."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from djstripe.models import Event, IdempotencyKey, WebhookEventTrigger

from observability import retention
from payments.models import WebhookEvent
from payments.tests import rows

pytestmark = pytest.mark.django_db


def prune(*, dry_run: bool = False) -> dict[str, int]:
    steps = retention.prune(["stripe-events", "stripe-keys"], dry_run=dry_run)
    return {step.kept.name: step.number for step in steps if step.is_done}


def test_old_events_that_were_processed_go() -> None:
    rows.event(received_at=rows.days_ago(91), processed_at=rows.days_ago(91))
    young = rows.event(received_at=rows.days_ago(89))
    assert prune()["stripe-events"] == 1
    assert WebhookEvent.objects.get() == young


def test_what_was_not_processed_stays_however_old() -> None:
    failed = rows.failed_event(received_at=rows.days_ago(400))
    pending = rows.failed_event(received_at=rows.days_ago(400), error="")
    prune()
    assert set(WebhookEvent.objects.all()) == {failed, pending}


def test_the_last_one_stays_by_which_the_gauge_tells_when_stripe_was_heard_of() -> None:
    rows.event(received_at=rows.days_ago(200), processed_at=rows.days_ago(200))
    last = rows.event(received_at=rows.days_ago(100), processed_at=rows.days_ago(100))
    prune()
    assert WebhookEvent.objects.get() == last


def test_how_long_is_a_setting(settings: Any) -> None:
    settings.STRIPE_EVENTS_DAYS = 4
    rows.event(received_at=rows.days_ago(5))
    rows.event()
    assert prune()["stripe-events"] == 1


def test_dj_stripes_own_tables_are_kept_no_longer() -> None:
    old = timezone.now() - timedelta(days=91)
    for number, created in enumerate((old, timezone.now())):
        event = Event.objects.create(id=f"evt_{number}", type="invoice.paid", created=created, data={}, livemode=False)
        trigger = WebhookEventTrigger.objects.create(remote_ip="203.0.113.7", headers={}, event=event)
        WebhookEventTrigger.objects.filter(pk=trigger.pk).update(created=created)
        key = IdempotencyKey.objects.create(action=f"customer:create:{number}", livemode=False)
        IdempotencyKey.objects.filter(pk=key.pk).update(created=created)
    assert prune(dry_run=True) == prune() == {"stripe-events": 2, "stripe-keys": 1}
    assert (Event.objects.count(), WebhookEventTrigger.objects.count(), IdempotencyKey.objects.count()) == (1, 1, 1)
