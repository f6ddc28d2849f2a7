"""Retention: batch by batch, each for itself, and no harm in two runs at once."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from observability import retention
from observability.models import SecurityEvent
from observability.retention import KEPT, Kept, Outdated, Rows, prune


def events(number: int, days: float = 100) -> None:
    at = timezone.now() - timedelta(days=days)
    SecurityEvent.objects.bulk_create(SecurityEvent(at=at, type="bad_host") for _ in range(number))


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)


@pytest.mark.django_db
def test_many_rows_go_batch_by_batch() -> None:
    events(5)
    events(1, days=89)
    steps = list(prune(["security-events"]))
    assert [(step.number, step.is_done) for step in steps] == [(2, False), (4, False), (5, False), (5, True)]
    assert SecurityEvent.objects.count() == 1


@pytest.mark.django_db
def test_a_dry_run_counts_and_deletes_nothing() -> None:
    events(5)
    assert [(step.number, step.is_done) for step in prune(["security-events"], dry_run=True)] == [(5, True)]
    assert SecurityEvent.objects.count() == 5


@pytest.mark.django_db
def test_a_run_that_is_cut_off_keeps_what_it_did_and_the_next_goes_on() -> None:
    events(5)
    for step in prune(["security-events"]):
        if step.number == 2:
            break
    assert SecurityEvent.objects.count() == 3
    assert [step.number for step in prune(["security-events"])][-1] == 3


@pytest.mark.django_db
def test_one_that_fails_keeps_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(before: datetime) -> Iterator[Outdated]:
        yield Rows(SecurityEvent.objects.filter(type="bad_host", at__lt=before))
        raise ValueError("That table is broken.")

    events(3)
    monkeypatch.setitem(KEPT, "broken", Kept("broken", "", "", timedelta(0), broken))
    done = {step.kept.name: step for step in prune(["broken", "security-events"]) if step.is_done}
    assert (done["broken"].number, done["broken"].error) == (0, "ValueError: That table is broken.")
    assert (done["security-events"].number, done["security-events"].error) == (3, "")


@pytest.mark.django_db
def test_nothing_is_outdated_where_a_setting_says_for_ever(settings: Any) -> None:
    events(3, days=10_000)
    settings.SECURITY_EVENTS_DAYS = 0
    assert KEPT["security-events"].at(timezone.now()) == []
    assert KEPT["security-events"].how_long == "for ever (SECURITY_EVENTS_DAYS)"


@pytest.mark.parametrize(
    ("period", "said"),
    [
        (timedelta(0), "until it expires"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=24), "24 hours"),
        (timedelta(days=2), "2 days"),
    ],
)
def test_how_long_is_said_for_people(period: timedelta, said: str) -> None:
    assert Kept("a", "", "", period, lambda before: []).how_long == said


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        retention.keeps("security-events", "Again.")


@pytest.mark.needs("postgresql")
@pytest.mark.django_db(transaction=True)
def test_rows_that_another_run_has_in_hand_are_left_to_it() -> None:
    events(3)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                list(SecurityEvent.objects.select_for_update().order_by("pk")[:1])
                held.set()
                let_go.wait(60)
        finally:
            connection.close()

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert held.wait(60)
        assert list(prune(["security-events"]))[-1].number == 2
        assert SecurityEvent.objects.count() == 1
    finally:
        let_go.set()
        other.join()
