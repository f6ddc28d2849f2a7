"""What the library knows about a person: exported whole, and parted from them."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import personal_data
from accounts.models import User
from content import facts
from content.models import Item, Opening, Player, Viewing
from content.tests import rows

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 1)


@pytest.fixture
def film(member: User, staff: User) -> Item:
    """A film that the member, another and strangers have seen."""
    film = rows.film(slug="seen")
    at = timezone.now() - timedelta(days=1)
    for user, device in ((member, "mara-1"), (member, "mara-2"), (staff, "sam"), (None, "stranger")):
        Viewing.objects.create(
            user=user, item=film, device=device, started_at=at, last_beacon_at=at, credited_until=at, played_seconds=60
        )
    for user, number in ((member, 3), (staff, 5), (None, 7)):
        Opening.objects.create(item=film, user=user, day=DAY, number=number)
    Opening.objects.create(item=film, user=member, day=DAY + timedelta(days=1), number=2)
    return film


def test_a_person_gets_what_they_saw_and_nothing_of_others(film: Item, member: User) -> None:
    told: dict[str, Any] = personal_data.export(member)["content"]
    assert [(row["item"], row["played_seconds"]) for row in told["viewings"]] == [("seen", 60.0)] * 2
    assert told["openings"] == [
        {"item": "seen", "day": "2026-03-01", "number": 3},
        {"item": "seen", "day": "2026-03-02", "number": 2},
    ]


def test_of_an_item_that_is_gone_the_time_is_told(film: Item, member: User) -> None:
    film.delete()
    told = personal_data.export(member)["content"]
    assert [row["item"] for row in told["viewings"]] == [None, None]


def test_who_saw_nothing_is_told_so(member: User) -> None:
    assert personal_data.export(member)["content"] == {"viewings": [], "openings": []}


def test_after_erasing_nothing_says_what_the_person_saw(film: Item, member: User) -> None:
    personal_data.erase(member)
    assert not User.objects.filter(pk=member.pk).exists()
    assert Viewing.objects.filter(user=None).count() == 3
    devices = set(Viewing.objects.values_list("device", flat=True))
    assert len(devices) == 4
    assert devices & {"mara-1", "mara-2"} == set()
    assert not Player.objects.exists()


def test_after_erasing_the_numbers_are_what_they_were(film: Item, member: User) -> None:
    before = list(facts.finished_viewings())
    personal_data.erase(member)
    assert list(facts.finished_viewings()) == before
    rows_of_day = Opening.objects.filter(day=DAY).values_list("user__username", "number")
    assert dict(rows_of_day) == {None: 10, "sam": 5}
    assert Opening.objects.get(day=DAY + timedelta(days=1)).number == 2
