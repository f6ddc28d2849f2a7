"""What is opened: counted by its path, and noted by day, without a write for each page."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError
from django.utils import timezone
from prometheus_client import REGISTRY

from accounts.models import User
from accounts.tests.threads import at_once
from content import catalogue
from content.catalogue import NOBODY, Paths, Waiting, flush, opened
from content.metrics import MOST_PATHS, OTHER
from content.models import Item, Opening
from content.tests import rows
from observability import refresh

STRANGER = AnonymousUser()


@pytest.fixture(autouse=True)
def _nothing_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins as a process does; what it left is not written into the next."""
    monkeypatch.setattr(catalogue, "paths", Paths())
    monkeypatch.setattr(catalogue, "waiting", Waiting())
    yield
    catalogue.waiting.take()


def stored() -> list[tuple[int, int | None, int]]:
    return list(Opening.objects.order_by("item", "user").values_list("item", "user", "number"))


def has_series(**labels: str) -> bool:
    return REGISTRY.get_sample_value("content_access_total", labels) is not None


@pytest.mark.django_db
@pytest.mark.parametrize(("visibility", "type"), [("public", "public"), ("members", "private")])
def test_an_opening_counts_under_its_path_and_type(visibility: str, type: str, metric: Any, member: User) -> None:
    item = rows.item(slug=f"a-{visibility}-one", visibility=visibility)
    series = {"type": type, "path": f"/content/a-{visibility}-one/"}
    before = metric("content_access_total", **series)
    opened(item, member)
    assert metric("content_access_total", **series) == before + 1


@pytest.mark.django_db
def test_series_of_what_is_published_stand_at_0_before_anybody_comes() -> None:
    rows.item(slug="waits-at-0")
    rows.members_item(slug="waits-at-0-too")
    rows.item(slug="a-draft-of-nobody", published_at=None)
    catalogue.refresh()
    assert REGISTRY.get_sample_value("content_access_total", {"type": "public", "path": "/content/waits-at-0/"}) == 0
    assert has_series(type="private", path="/content/waits-at-0-too/")
    assert not has_series(type="public", path="/content/a-draft-of-nobody/")


@pytest.mark.django_db
def test_beyond_so_many_paths_all_are_other(metric: Any) -> None:
    paths = Paths()
    names = [paths.name(f"/content/{number}/") for number in range(MOST_PATHS + 50)]
    assert len(set(names)) == MOST_PATHS + 1
    assert set(names[MOST_PATHS:]) == {OTHER}
    assert paths.name("/content/0/") == "/content/0/"


@pytest.mark.django_db
def test_openings_are_noted_by_member_and_day_and_strangers_together(member: User) -> None:
    one, other = rows.item(), rows.item()
    for user in (member, member, STRANGER, STRANGER, STRANGER):
        opened(one, user)
    opened(other, member)
    assert stored() == []
    assert flush() == 6
    assert sorted(stored(), key=str) == sorted(
        [(one.pk, member.pk, 2), (one.pk, None, 3), (other.pk, member.pk, 1)], key=str
    )
    assert set(Opening.objects.values_list("day", flat=True)) == {timezone.now().date()}


@pytest.mark.django_db
def test_what_comes_later_on_the_day_adds_up(member: User) -> None:
    item = rows.item()
    for _ in range(3):
        opened(item, member)
        flush()
    assert stored() == [(item.pk, member.pk, 3)]
    assert flush() == 0


@pytest.mark.django_db(transaction=True)
def test_processes_that_write_at_the_same_moment_lose_nothing(member: User) -> None:
    items = [rows.item() for _ in range(3)]
    today = timezone.now().date()

    def process() -> None:
        numbers = {(item.pk, user, today): 1 for item in items for user in (NOBODY, member.pk)}
        catalogue._write(dict(sorted(numbers.items())))

    at_once(*[partial(process)] * 8)
    assert sorted(stored(), key=str) == sorted(
        [(item.pk, user, 8) for item in items for user in (member.pk, None)], key=str
    )


@pytest.mark.django_db
def test_of_an_item_that_is_gone_nothing_is_noted_and_the_rest_is(member: User) -> None:
    gone, stays = rows.item(), rows.item()
    opened(gone, member)
    opened(stays, member)
    gone.delete()
    assert flush() == 1
    assert stored() == [(stays.pk, member.pk, 1)]


@pytest.mark.django_db
def test_of_a_person_that_is_gone_the_opening_is_anybodys(member: User) -> None:
    item = rows.item()
    opened(item, member)
    member.delete()
    flush()
    assert stored() == [(item.pk, None, 1)]


@pytest.mark.django_db
def test_while_the_database_is_away_openings_wait(monkeypatch: pytest.MonkeyPatch, member: User) -> None:
    item = rows.item()
    opened(item, member)

    def away(numbers: Any) -> int:
        raise DatabaseError("away")

    with monkeypatch.context() as broken:
        broken.setattr(catalogue, "_write", away)
        with pytest.raises(DatabaseError):
            flush()
        opened(item, member)
        refresh.tick()  # which goes on whatever fails
    assert flush() == 2
    assert stored() == [(item.pk, member.pk, 2)]


def test_what_waits_is_bounded_and_what_is_noted_already_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_WAITING", 3)
    waiting, today = Waiting(), timezone.now().date()
    for item in (1, 2, 3, 4, 5, 1):
        waiting.add((item, NOBODY, today))
    assert waiting.take() == {(1, NOBODY, today): 2, (2, NOBODY, today): 1, (3, NOBODY, today): 1}


@pytest.mark.django_db
def test_each_tick_writes_and_makes_series(member: User) -> None:
    item = rows.item(slug="of-a-tick")
    opened(item, member)
    refresh.tick()
    assert stored() == [(item.pk, member.pk, 1)]
    assert has_series(type="public", path="/content/of-a-tick/")


@pytest.mark.django_db
def test_an_opening_costs_no_query(member: User, django_assert_num_queries: Any) -> None:
    item = rows.item()
    with django_assert_num_queries(0):
        opened(item, member)


@pytest.mark.django_db
def test_a_tick_costs_few_queries_however_many_items(member: User, django_assert_max_num_queries: Any) -> None:
    for _ in range(30):
        rows.item()
    for item in Item.objects.all():
        opened(item, STRANGER)
    flush()
    for item in Item.objects.all():
        opened(item, STRANGER)
    with django_assert_max_num_queries(30 + 5):  # an UPDATE for each, in one transaction
        flush()
    with django_assert_max_num_queries(1):
        catalogue.refresh()
