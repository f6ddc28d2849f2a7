"""The audience in the admin: how many came, for how long they stayed, and how far they got."""

import re
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import User
from content import admin_audience, audience
from content.audience import Part
from content.models import Item, Opening, Viewing
from content.tests import rows

pytestmark = pytest.mark.django_db

ALL = "/admin/content/item/audience/"
numbers = count(1)


@pytest.fixture
def admin(staff: User) -> Client:
    """Somebody who may see everything in the admin."""
    client = Client()
    client.force_login(staff)
    return client


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def viewing(item: Item, played: float, *, began: datetime | None = None, **more: Any) -> Viewing:
    began = began or timezone.now()
    values = {"device": f"device {next(numbers)}", "duration_seconds": 100.0, "started_at": began, **more}
    return Viewing.objects.create(
        item=item, last_beacon_at=began, credited_until=began, played_seconds=played, **values
    )


def opening(item: Item, number: int, user: User | None = None, days: int = 0) -> None:
    Opening.objects.create(item=item, user=user, day=timezone.now().date() - timedelta(days=days), number=number)


def page_of(admin: Client, item: Item) -> str:
    return str(admin.get(f"/admin/content/item/{item.pk}/audience/").content.decode())


def figure(page: str, name: str) -> str:
    found = re.search(rf"<dt>{re.escape(name)}</dt><dd>(.*?)</dd>", page)
    assert found, name
    return found[1]


def test_members_are_counted_by_account_others_by_browser(admin: Client, staff: User, member: User) -> None:
    film = rows.film()
    viewing(film, 60, user=member, device="laptop")
    viewing(film, 120, user=member, device="telephone")
    viewing(film, 30, device="stranger")
    viewing(film, 30, device="stranger")
    viewing(film, 30, device="another")
    viewing(film, 0.5, device="by mistake")
    viewing(rows.film(), 6_000, user=staff)
    opening(film, 3, member)
    opening(film, 2, member, days=1)
    opening(film, 1, staff)
    opening(film, 1_000)

    page = page_of(admin, film)
    assert figure(page, "Views of the page") == "1,006"
    assert figure(page, "Members who opened it") == "2"
    assert figure(page, "Viewings") == "5"
    assert figure(page, "Unique viewers") == "3"
    assert figure(page, "Minutes played") == "4.5"
    assert figure(page, "Minutes a viewing, on average") == "0.9"


def test_the_completion_curve_is_the_share_of_viewings_in_which_each_part_was_played() -> None:
    film = rows.film()
    viewing(film, 60, watched=0b1111)
    viewing(film, 60, watched=0b11)
    viewing(film, 60, watched=1 << 19 | 1)
    viewing(film, 60, watched=1)
    viewing(film, 60, watched=0, duration_seconds=None)  # whose player does not know
    parts = audience.of(film, audience.last_months(timezone.now())).parts
    assert [part.share for part in parts] == [1, 0.5, 0.25, 0.25, *[0] * 15, 0.25]
    assert (parts[0].begin, parts[0].end, parts[19].begin, parts[19].end) == (0, 5, 95, 100)


def test_the_curve_stands_in_the_page_with_the_table_behind_it(admin: Client) -> None:
    film = rows.film()
    viewing(film, 60, watched=0b1)
    viewing(film, 60, watched=0b11)
    page = page_of(admin, film)
    assert '<rect class="bar" x="24.0" y="48.0" width="24.0" height="48.0"><title>5 to 10 %: 50 %</title>' in page
    assert '<tr><th scope="row">5 to 10 %</th><td>50 %</td></tr>' in page


def test_minutes_are_of_the_calendar_months_in_utc_in_which_viewings_began() -> None:
    film = rows.film()
    months = audience.last_months(at("2026-05-20"), 3)
    viewing(film, 60, began=at("2026-02-28T23:59:59"))
    viewing(film, 120, began=at("2026-03-01"))
    viewing(film, 180, began=at("2026-04-30T23:59:59"))
    viewing(film, 240, began=at("2026-05-01"))
    viewing(film, 300, began=at("2026-06-01"))
    found = audience.of(film, months)
    assert [seconds for _, seconds in found.months] == [120, 180, 240]
    assert found.played_seconds == 900
    assert [month.start for month in audience.last_months(at("2026-01-31"), 2)] == [at("2025-12-01"), at("2026-01-01")]


def test_an_article_has_readers_and_no_player(admin: Client, member: User) -> None:
    article = rows.item()
    opening(article, 4, member)
    page = page_of(admin, article)
    assert figure(page, "Views of the page") == "4"
    assert "Minutes played" not in page


def test_what_nobody_opened_says_so_and_when_it_would_change(admin: Client) -> None:
    page = page_of(admin, rows.film())
    assert "Nobody has opened it yet" in page
    assert "Completion curve" not in page


def test_viewings_that_tell_no_part_leave_the_curve_out(admin: Client) -> None:
    film = rows.film()
    viewing(film, 60, watched=0)
    assert "No player has told of it yet" in page_of(admin, film)


def test_titles_are_escaped(admin: Client) -> None:
    film = rows.film(title="<script>alert(1)</script>")
    opening(film, 1)
    for page in (page_of(admin, film), admin.get(ALL).content.decode()):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_the_overview_ranks_by_minutes_then_views_and_shows_each_month(admin: Client) -> None:
    quiet, seen, read = rows.film(title="Quiet"), rows.film(title="Seen"), rows.item(title="Read")
    viewing(seen, 1_200)
    viewing(quiet, 60)
    viewing(quiet, 60_000, began=timezone.now() - timedelta(days=400))
    opening(read, 9)
    page = admin.get(ALL).content.decode()
    found = re.findall(r'<tr><th scope="row"><a href="[^"]+">(.*?)</a></th>(.*?)</tr>', page)
    assert [title for title, _ in found] == ["Seen", "Quiet", "Read"]
    cells = [re.findall(r"<td>(.*?)</td>", row) for _, row in found]
    assert cells[0] == ["Video", "0", "1", "20", "20", *["0"] * 11]
    assert cells[1] == ["Video", "0", "1", "1.0", "1.0", *["0"] * 11]
    assert cells[2] == ["Article", "9", "0", "0", *["0"] * 12]


def test_the_overview_of_an_empty_library_says_so(admin: Client) -> None:
    assert "The library is empty" in admin.get(ALL).content.decode()


def test_the_overview_is_cut_into_pages(admin: Client) -> None:
    for number in range(admin_audience.PER_PAGE + 1):
        opening(rows.item(title=f"Number {number}"), number + 1)
    first = admin.get(ALL).content.decode()
    assert "Page 1 of 2" in first
    assert ">Number 0<" not in first
    assert ">Number 0<" in admin.get(f"{ALL}?page=2").content.decode()
    assert ">Number 0<" in admin.get(f"{ALL}?page=900").content.decode()
    assert admin.get(f"{ALL}?page=x").status_code == 200


def test_an_items_page_costs_as_many_queries_however_many_came(
    admin: Client, django_assert_max_num_queries: Any
) -> None:
    film = rows.film()
    for _ in range(20):
        viewing(film, 60, watched=1)
        opening(film, 1, days=next(numbers))
    with django_assert_max_num_queries(6):  # session, user, and what the admin itself asks, among them
        page_of(admin, film)


def test_the_overview_costs_as_many_queries_however_many_items(
    admin: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(30):
        film = rows.film()
        viewing(film, 60)
        opening(film, 1)
    with django_assert_max_num_queries(7):
        admin.get(ALL)


@pytest.mark.parametrize(("right", "status"), [("content.view_item", 200), ("content.view_tag", 403), ("", 403)])
def test_it_is_for_who_may_see_items(right: str, status: int) -> None:
    film = rows.film()
    user = User.objects.create_user("ed", "ed@example.org", is_staff=True)
    if right:
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label="content", codename=right.partition(".")[2])
        )
    client = Client()
    client.force_login(user)
    assert client.get(ALL).status_code == status
    assert client.get(f"/admin/content/item/{film.pk}/audience/").status_code == status


@pytest.mark.parametrize("path", [ALL, "/admin/content/item/1/audience/"])
def test_visitors_and_members_are_sent_to_sign_in(client: Client, member: User, path: str) -> None:
    assert client.get(path).status_code == 302
    client.force_login(member)
    assert client.get(path).status_code == 302


def test_an_item_that_is_not_there_is_not_found(admin: Client) -> None:
    assert admin.get("/admin/content/item/987654/audience/").status_code == 404


def test_the_list_of_items_leads_there(admin: Client) -> None:
    film = rows.film()
    assert f"/admin/content/item/{film.pk}/audience/" in admin.get("/admin/content/item/").content.decode()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0"), (1, "0.0"), (6, "0.1"), (594, "9.9"), (600, "10"), (6e6, "100,000")]
)
def test_minutes_in_words(seconds: float, words: str) -> None:
    assert admin_audience.minutes(seconds) == words


def test_the_curves_whole_height_is_every_viewing() -> None:
    steps = admin_audience.steps([Part(0, 5, 1.0), Part(5, 10, 0.0)])
    assert [(step.y, step.height) for step in steps] == [(0, 96), (96, 0)]
