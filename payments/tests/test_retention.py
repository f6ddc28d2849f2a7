"""`manage.py prune_stripe_events`: what is processed and old goes, what waits stays."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone
from djstripe.models import Event, IdempotencyKey, WebhookEventTrigger

from payments import retention
from payments.models import WebhookEvent
from payments.tests import rows

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("prune_stripe_events", *arguments, stdout=output)
    return output.getvalue()


def test_old_events_that_were_processed_go() -> None:
    rows.event(received_at=rows.days_ago(91))
    young = rows.event(received_at=rows.days_ago(89))
    assert "1 events deleted" in run()
    assert WebhookEvent.objects.get() == young


def test_what_was_not_processed_stays_however_old() -> None:
    failed = rows.failed_event(received_at=rows.days_ago(400))
    pending = rows.failed_event(received_at=rows.days_ago(400), error="")
    run()
    assert set(WebhookEvent.objects.all()) == {failed, pending}


def test_how_long_is_a_setting(settings: object) -> None:
    settings.STRIPE_EVENTS_DAYS = 4  # type: ignore[attr-defined]
    rows.event(received_at=rows.days_ago(5))
    run()
    assert not WebhookEvent.objects.exists()


def test_a_dry_run_counts_and_deletes_nothing() -> None:
    rows.event(received_at=rows.days_ago(91))
    assert "1 events would be deleted" in run("--dry-run")
    assert WebhookEvent.objects.exists()


def test_many_go_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        rows.event(received_at=rows.days_ago(91))
    assert "5 events deleted" in run()


def test_dj_stripes_own_tables_are_kept_no_longer() -> None:
    old = timezone.now() - timedelta(days=91)
    for number, created in enumerate((old, timezone.now())):
        event = Event.objects.create(id=f"evt_{number}", type="invoice.paid", created=created, data={}, livemode=False)
        trigger = WebhookEventTrigger.objects.create(remote_ip="203.0.113.7", headers={}, event=event)
        WebhookEventTrigger.objects.filter(pk=trigger.pk).update(created=created)
        key = IdempotencyKey.objects.create(action=f"customer:create:{number}", livemode=False)
        IdempotencyKey.objects.filter(pk=key.pk).update(created=created)
    told = run()
    for name in ("events of dj-stripe", "webhook triggers of dj-stripe", "idempotency keys of dj-stripe"):
        assert f"1 {name} deleted" in told
    assert (Event.objects.count(), WebhookEventTrigger.objects.count(), IdempotencyKey.objects.count()) == (1, 1, 1)
