"""Watch time in the metrics: of viewings that are over, each once and for good."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.utils import timezone

from content import facts
from content.models import Item, Viewing
from content.tests import rows

devices = count(1)


def viewing(played: float, *, silent: float, item: Item | None = None, **more: Any) -> Viewing:
    """One whose player was silent for so many seconds."""
    last: datetime = timezone.now() - timedelta(seconds=silent)
    return Viewing.objects.create(
        item=item,
        device=f"device {next(devices)}",
        started_at=last - timedelta(seconds=played),
        last_beacon_at=last,
        credited_until=last,
        played_seconds=played,
        **more,
    )


def observed() -> tuple[list[int], float]:
    """The histogram's buckets, not cumulative, and its sum."""
    value: Any = next(iter(facts.finished_viewings())).value
    return value


def active() -> float:
    value: Any = next(iter(facts.active_streams())).value
    return float(value)


@pytest.mark.django_db
def test_before_the_first_viewing_the_histogram_is_empty() -> None:
    assert observed() == ([0] * 15, 0)
    assert active() == 0


@pytest.mark.django_db
def test_a_finished_viewing_is_one_observation_of_what_was_played() -> None:
    for played in (5, 10, 10.5, 14_400, 20_000):
        viewing(played, silent=400)
    buckets, seconds = observed()
    assert seconds == 34_425.5
    assert (buckets[0], buckets[1], buckets[13], buckets[14], sum(buckets)) == (2, 1, 1, 1, 5)


@pytest.mark.django_db
def test_one_that_may_still_go_on_is_none() -> None:
    viewing(60, silent=250)
    viewing(60, silent=301)  # a beacon may just be taken in
    assert sum(observed()[0]) == 0
    viewing(60, silent=306)
    assert sum(observed()[0]) == 1


@pytest.mark.django_db
def test_less_than_a_second_is_none() -> None:
    viewing(0, silent=400)
    viewing(0.9, silent=400)
    viewing(1, silent=400)
    assert (sum(observed()[0]), observed()[1]) == (1, 1)


@pytest.mark.django_db
def test_of_an_item_that_was_deleted_the_observation_stays() -> None:
    film = rows.film()
    viewing(60, silent=400, item=film)
    film.delete()
    assert sum(observed()[0]) == 1


@pytest.mark.django_db
def test_active_is_who_told_within_a_minute() -> None:
    viewing(5, silent=5)
    viewing(5, silent=55)
    viewing(5, silent=65)
    assert active() == 2


@pytest.mark.django_db
def test_each_fact_is_one_query(django_assert_num_queries: Any) -> None:
    viewing(60, silent=400)
    with django_assert_num_queries(1):
        observed()
    with django_assert_num_queries(1):
        active()
