"""Facts: refreshed by one process at a time, isolated from each other, and cheap when nothing changed."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import F
from django.utils import timezone

from bambisleep.tests.client import AsgiClient
from observability import facts, refresh
from observability.facts import Fact, Metric, Sample
from observability.models import FactRefresh, FactSample

pytestmark = pytest.mark.django_db

User = get_user_model()


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Replace all facts by the given functions, and get the list to which each call is added."""

    def replace(*functions: Callable[[], Iterator[Sample]], windowed: bool = False) -> None:
        found = {f.__name__: Fact(f.__name__, (), (User,), windowed, f) for f in functions}
        monkeypatch.setattr(facts, "FACTS", found)
        monkeypatch.setattr(refresh, "FACTS", found)

    return replace  # type: ignore[return-value]


def value(name: str) -> Any:
    return FactSample.objects.get(fact=name).samples


def test_it_leaves_out_what_did_not_change(only: Any, member: Any) -> None:
    calls: list[int] = []

    def counted() -> Iterator[Sample]:
        calls.append(User.objects.count())
        yield Sample("x", (), calls[-1])

    User.objects.update(updated_at=timezone.now() - timedelta(minutes=3))
    only(counted)
    assert refresh.refresh()
    assert refresh.refresh()
    assert calls == [1]

    User.objects.create_user("noor", "noor@example.org")
    assert refresh.refresh()
    assert calls == [1, 2]


def test_it_computes_again_what_may_not_have_settled(only: Any, member: Any) -> None:
    calls: list[int] = []

    def counted() -> Iterator[Sample]:
        calls.append(1)
        yield Sample("x", (), 1)

    only(counted)
    refresh.refresh()
    refresh.refresh()
    assert len(calls) == 2


def test_it_names_the_fact_that_fails_and_keeps_the_others(only: Any) -> None:
    def broken() -> Iterator[Sample]:
        yield Sample("x", (), 1 / 0)

    def sound() -> Iterator[Sample]:
        yield Sample("y", (), 1)

    only(broken, sound)
    refresh.refresh()
    assert FactSample.objects.get(fact="broken").error.startswith("ZeroDivisionError")
    assert value("sound") == [["y", [], 1]]


@pytest.mark.django_db(transaction=True)
def test_it_cuts_a_slow_fact_short_and_keeps_the_others(only: Any, settings: Any) -> None:
    def slow() -> Iterator[Sample]:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_sleep(30)")
            else:
                cursor.execute("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n")
        yield Sample("x", (), 1)

    def sound() -> Iterator[Sample]:
        yield Sample("y", (), User.objects.count())

    settings.FACTS_TIMEOUT_SECONDS = 0.2
    only(slow, sound)
    refresh.refresh()
    assert FactSample.objects.get(fact="slow").error.startswith("OperationalError")
    assert value("sound") == [["y", [], 0]]


def test_only_one_process_at_a_time_refreshes(only: Any) -> None:
    def sound() -> Iterator[Sample]:
        yield Sample("y", (), 1)

    only(sound)
    now = timezone.now()
    # There may be rows: the refresher of this very process makes them where another test let it.
    FactSample.objects.all().delete()
    held = {"lease_until": now + timedelta(seconds=10), "due_at": now, "requested": 0}
    FactRefresh.objects.update_or_create(pk=1, defaults=held)
    assert not refresh.refresh()
    assert FactRefresh.objects.get().requested == 1
    assert not FactSample.objects.exists()

    FactRefresh.objects.update(lease_until=now)  # the holder died
    assert refresh.refresh_if_due()
    assert FactRefresh.objects.get().requested == 0


def test_it_waits_until_it_is_due(only: Any) -> None:
    def sound() -> Iterator[Sample]:
        yield Sample("y", (), 1)

    only(sound)
    assert refresh.refresh()
    assert not refresh.refresh_if_due()


def test_asked_again_and_again_it_lets_the_process_do_what_else_is_due(only: Any) -> None:
    rounds: list[int] = []

    def asked_for_by_others() -> Iterator[Sample]:
        rounds.append(1)
        FactRefresh.objects.update(requested=F("requested") + 1)
        yield Sample("y", (), len(rounds))

    only(asked_for_by_others, windowed=True)
    assert refresh.refresh()
    assert len(rounds) == refresh.MOST_ROUNDS
    assert refresh.refresh_if_due(), "whoever looks next goes on at once"


def test_a_process_that_stops_hands_over_after_the_fact_it_is_at(only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def one() -> Iterator[Sample]:
        monkeypatch.setattr(refresh.refresher, "is_stopping", True)
        yield Sample("y", (), 1)

    def other() -> Iterator[Sample]:
        yield Sample("z", (), 1)

    only(one, other)
    assert refresh.refresh()
    assert value("one") == [["y", [], 1]]
    assert not FactSample.objects.filter(fact="other").exists()
    monkeypatch.undo()
    only(other)
    assert refresh.refresh_if_due(), "no lease and no interval holds up the next one"
    assert value("other") == [["z", [], 1]]


@pytest.mark.django_db(transaction=True)
def test_a_lease_and_a_turn_of_a_clock_that_was_set_back_hold_up_nobody() -> None:
    an_hour_ahead = timezone.now() + timedelta(hours=1)
    held = {"lease_until": an_hour_ahead, "due_at": an_hour_ahead, "requested": 0}
    FactRefresh.objects.update_or_create(pk=1, defaults=held)

    assert refresh.refresh_if_due()
    assert FactRefresh.objects.get().due_at < an_hour_ahead


@pytest.mark.django_db(transaction=True)
def test_a_scrape_is_one_select(asgi: AsgiClient, django_assert_num_queries: Any) -> None:
    from observability.exposition import read_snapshot

    refresh.refresh()
    with django_assert_num_queries(1):
        read_snapshot()


@pytest.mark.django_db(transaction=True)
def test_the_scrape_shows_facts_and_their_state(asgi: AsgiClient, member: Any) -> None:
    refresh.refresh(force=True)
    text = asgi.get("/metrics").body.decode()
    assert 'users{state="active"} 1.0' in text
    assert 'bambisleep_fact_up{fact="users"} 1.0' in text
    assert 'bambisleep_collector_up{collector="facts"} 1.0' in text
    assert "bambisleep_facts_age_seconds" in text


def test_histograms_sort_into_buckets_as_prometheus_does() -> None:
    metric = Metric("m_seconds", "histogram", "M.", (), (1.0, 2.0))
    assert facts.bucket_counts(metric, [0.5, 1.0, 1.5, 2.0, 9.0]) == ([2, 2, 1], 14.0)


def test_a_sample_with_the_wrong_labels_is_refused() -> None:
    metric = Metric("m", "gauge", "M.", ("service",))
    with pytest.raises(ValueError, match="has the labels"):
        metric.sample(1.0)
