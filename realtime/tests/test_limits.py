"""Token buckets and places."""

from typing import Any

import pytest

from realtime.limits import Bucket, Places

pytestmark = pytest.mark.once


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    found = Clock()
    monkeypatch.setattr("realtime.limits.time", found)
    return found


def test_a_bucket_gives_its_burst_and_then_says_how_long_to_wait(clock: Any) -> None:
    bucket = Bucket(burst=3, rate=0.5)
    assert [bucket.take() for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]


def test_a_bucket_fills_with_time_and_no_further_than_its_burst(clock: Any) -> None:
    bucket = Bucket(burst=2, rate=1)
    assert [bucket.take(), bucket.take()] == [0.0, 0.0]
    clock.now += 1.5
    assert bucket.take() == 0.0
    assert bucket.take() == 0.5
    clock.now += 1000
    assert bucket.is_full()
    assert [bucket.take() > 0 for _ in range(3)] == [False, False, True]


def test_whoever_is_refused_pays_nothing_for_asking(clock: Any) -> None:
    bucket = Bucket(burst=1, rate=1)
    bucket.take()
    waits = {bucket.take() for _ in range(100)}
    assert waits == {1.0}


def test_places_are_counted_for_each_and_given_back() -> None:
    places = Places(2)
    assert [places.take("mara") for _ in range(3)] == [True, True, False]
    assert places.take("ash")
    places.give_back("mara")
    assert places.take("mara")
    for who in ("mara", "mara", "ash"):
        places.give_back(who)
    assert len(places) == 0
