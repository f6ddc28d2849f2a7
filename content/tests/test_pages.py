"""The lists of the library, and what an item's page says beside its text."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from accounts.tests.browser import text_of
from content.models import Item, Kind, Role, Tag
from content.templatetags import library as filters
from content.tests import rows
from content.tests.documents import Document
from content.tests.pages import as_member, browser_of, titles, words

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>\" onmouseover='x' & ]]> {{ 7|add:7 }} \u202e"


@pytest.fixture(autouse=True)
def _library(library: Any) -> None:
    """Files are the test's own."""


def get(path: str = "/content/", user: User | None = None, **query: Any) -> Any:
    answer = browser_of(user).get(path, query)
    assert answer.status_code == 200, path
    return answer


def tagged(item: Item, *names: str) -> Item:
    item.tags.set([Tag.objects.get_or_create(slug=name.lower(), defaults={"name": name})[0] for name in names])
    return item


def begun(item: Item, user: User, **more: Any) -> None:
    now = timezone.now()
    rows.viewing(item, user=user, **{"credited_until": now, "last_beacon_at": now, "duration_seconds": 600.0, **more})


# The list


def test_everybody_sees_what_is_published_newest_first_and_what_is_for_members() -> None:
    rows.item("Older", published_at=rows.days_ago(3))
    rows.members_item("Newer", summary="Of cinnamon.", body="marzipan")
    rows.item("Draft", published_at=None)
    rows.item("Scheduled", published_at=timezone.now() + timedelta(days=1))
    answer = get()
    assert titles(answer) == ["Newer", "Older"]
    assert words(answer).count(" members ") == 1
    assert "Of cinnamon." in words(answer)
    assert "marzipan" not in text_of(answer)


def test_an_empty_library_says_so_and_what_to_do(staff: User) -> None:
    answer = get()
    assert "Nothing is published yet." in words(answer)
    assert "See what membership opens" in words(answer)
    assert "Write the first item" in words(get(user=staff))


def test_filters_narrow_the_list_and_are_kept_by_the_form() -> None:
    collection = rows.collection(title="Nights", slug="nights")
    tagged(rows.item("Text", collection=collection), "Sleep")
    tagged(rows.film(title="Film"), "Sleep")
    rows.film(title="Other film")
    assert titles(get(kind="video")) == ["Other film", "Film"]
    assert titles(get(tag="sleep")) == ["Film", "Text"]
    assert titles(get(collection="nights")) == ["Text"]
    answer = get(kind="video", tag="sleep")
    assert titles(answer) == ["Film"]
    assert '<option value="video" selected>' in text_of(answer)
    assert '<option value="sleep" selected>' in text_of(answer)
    assert "1 item" in words(answer)


def test_filters_that_leave_nothing_say_so_and_how_to_see_everything() -> None:
    tagged(rows.item("Text"), "Sleep")
    answer = get(kind="video", tag="sleep")
    assert "Nothing in the library is all of that." in words(answer)
    assert "Show everything" in words(answer)


@pytest.mark.parametrize("name", ["kind", "tag", "collection"])
@pytest.mark.parametrize("value", ["nowhere", "\x00", "a" * 5_000, "'", "<b>"], ids=range(5))
def test_a_filter_of_no_meaning_is_an_error_beside_it(name: str, value: str) -> None:
    tagged(rows.item("Text", collection=rows.collection()), "Sleep")
    answer = get(**{name: value})
    assert titles(answer) == []
    assert "There is nothing of that name." in words(answer) or "Select a valid choice" in words(answer)


def test_subjects_and_collections_without_anything_published_are_not_offered() -> None:
    tagged(rows.item("Draft", published_at=None, collection=rows.collection(title="Hidden nights")), "Secret")
    rows.collection(title="Empty")
    tagged(rows.item("Text", collection=rows.collection(title="Nights")), "Sleep")
    page = text_of(get())
    assert "Nights" in page
    assert "Sleep" in page
    assert not {"Hidden nights", "Empty", "Secret"} & set(re.findall(r"[\w ]+", page))


def test_twenty_are_on_a_page_and_the_ways_to_the_others_keep_the_filters() -> None:
    for number in range(45):
        rows.item(f"Film {number}", kind=Kind.VIDEO)
    first = get(kind="video")
    link = re.search(r'rel="next" href="([^"]+)"', text_of(first))
    assert link
    assert html.unescape(link[1]) == "?kind=video&page=2"
    assert 'rel="prev"' not in text_of(first)
    pages = [titles(get(kind="video", page=number)) for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [20, 20, 5]
    assert len({title for page in pages for title in page}) == 45
    assert 'rel="next"' not in text_of(get(kind="video", page=3))


@pytest.mark.parametrize("page", ["99", "0", "-1", "9" * 5_000, "last", "1.5", "\x00", "²", ""])
def test_a_page_out_of_range_is_the_nearest_there_is(page: str) -> None:
    for number in range(21):
        rows.item(f"Item {number}")
    assert len(titles(get(page=page))) in {1, 20}


def test_a_list_costs_the_same_few_queries_however_long_it_is(member: User) -> None:
    as_member(member)
    browser = browser_of(member)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("/content/").status_code == 200
        return len(queries)

    def add(number: int) -> None:
        for _ in range(number):
            item = tagged(rows.film(collection=rows.collection()), "Sleep", "Night")
            rows.media(item, role=Role.POSTER, kind="image", content_type="image/png", width=10, height=10)
            begun(item, member)

    add(1)
    few = cost()
    add(18)
    assert cost() == few
    assert few <= 16


# Going on


def test_who_has_begun_something_is_offered_to_go_on(member: User) -> None:
    begun(rows.film(title="Begun"), member, position_seconds=187.0)
    begun(rows.film(title="Seen"), member, position_seconds=599.0)
    answer = get(user=member)
    assert "Go on where you left off Begun Video at 3:07 of 10:00" in words(answer)
    assert "Go on" not in words(get())
    assert titles(get("/content/continue/", member)) == ["Begun"]


def test_the_start_shows_three_and_the_page_for_it_all(member: User) -> None:
    for number in range(25):
        begun(rows.item(f"Film {number}", kind=Kind.VIDEO, published_at=rows.days_ago(number + 1)), member)
    section = words(get(user=member)).partition("Newest first")[0]
    assert len(re.findall(r"Film \d+", section)) == 3
    first, second = get("/content/continue/", member), get("/content/continue/", member, page=2)
    assert len(titles(first)) == 20
    assert len(titles(second)) == 5


def test_what_is_filtered_does_not_begin_with_what_was_begun(member: User) -> None:
    begun(rows.film(title="Begun"), member)
    assert "Go on" not in words(get(user=member, kind="video"))


def test_nothing_to_go_on_with_says_so(member: User) -> None:
    assert "There is nothing that you have begun" in words(get("/content/continue/", member))


def test_going_on_asks_to_sign_in_and_comes_back() -> None:
    answer = browser_of().get("/content/continue/")
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=/content/continue/"


# Collections and tags


def test_a_collection_has_its_own_order_and_text() -> None:
    collection = rows.collection(title="Nights", description="To *begin* with. <b>")
    rows.item("Second", collection=collection, position=2)
    rows.members_item("First", collection=collection, position=1)
    rows.item("Draft", collection=collection, position=0, published_at=None)
    rows.item("Elsewhere")
    answer = get(collection.get_absolute_url())
    assert titles(answer) == ["First", "Second"]
    assert "To <em>begin</em> with. &lt;b&gt;" in text_of(answer)


def test_a_tag_lists_what_carries_it() -> None:
    tagged(rows.item("One"), "Sleep")
    rows.item("Other")
    assert titles(get("/content/tags/sleep/")) == ["One"]


def test_what_holds_nothing_published_is_there_for_staff_alone(staff: User) -> None:
    collection = rows.collection()
    tagged(rows.item(published_at=None, collection=collection), "Secret")
    for path in (collection.get_absolute_url(), "/content/tags/secret/", "/content/tags/nowhere/"):
        assert browser_of().get(path).status_code == 404
    assert "Nothing in this collection is published yet." in words(get(collection.get_absolute_url(), staff))
    assert "Nothing about this is published yet." in words(get("/content/tags/secret/", staff))


def test_an_item_leads_to_its_neighbours_in_the_collection() -> None:
    collection = rows.collection(title="Nights")
    first, middle, last = (rows.item(name, collection=collection, position=at) for at, name in enumerate("ABC"))
    rows.item("Draft", collection=collection, position=1, published_at=None)
    text = text_of(get(middle.get_absolute_url()))
    assert f'rel="prev" href="{first.get_absolute_url()}">Previous: A<' in text
    assert f'rel="next" href="{last.get_absolute_url()}">Next: C<' in text
    assert "2 of 3 in Nights" in words(get(middle.get_absolute_url()))
    assert "Previous" not in words(get(first.get_absolute_url()))
    assert "Next" not in words(get(last.get_absolute_url()))


# An item


def test_an_item_says_what_it_is_when_it_came_and_how_long_it_takes() -> None:
    item = tagged(rows.item("Text", body="word " * 500, language="de"), "Sleep")
    at = item.published_at
    assert at
    answer = get(item.get_absolute_url())
    assert f"Article {at.day} {at:%B %Y} 3 min to read" in words(answer)
    assert f'<time datetime="{at:%Y-%m-%dT%H:%M}' in text_of(answer)
    assert '<article class="item" lang="de">' in text_of(answer)
    assert '<a href="/content/tags/sleep/">Sleep</a>' in text_of(answer)


def test_a_film_says_how_long_it_is_and_has_a_player_and_a_transcript() -> None:
    item = rows.item("Film", kind=Kind.VIDEO, transcript="# Said\n\nGood *night*.")
    rows.media(item, duration_seconds=754.2)
    text = text_of(get(item.get_absolute_url()))
    assert "<span>13 min</span>" in text
    assert "<video " in text
    assert re.search(r"<details class=\"transcript\">.*<h3>Said</h3>.*<em>night</em>.*</details>", text, re.S)


def test_a_film_whose_file_is_missing_says_so() -> None:
    item = rows.item("Film", kind=Kind.VIDEO)
    assert "The video itself is not there yet." in words(get(item.get_absolute_url()))


def test_a_page_tells_others_what_it_is(settings: Any) -> None:
    settings.PUBLIC_URL = "https://bambisleep.example"
    item = rows.item("Moon & stars", body="About *the* moon. " * 20)
    poster = rows.media(item, role=Role.POSTER, kind="image", content_type="image/png", description="A moon.")
    text = text_of(get(item.get_absolute_url()))
    meta = {
        name: html.unescape(value)
        for name, value in re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', text)
    }
    address = f"https://bambisleep.example/content/{item.slug}/"
    assert f'<link rel="canonical" href="{address}">' in text
    assert meta["og:title"] == meta["twitter:title"] == "Moon & stars"
    assert meta["og:url"] == address
    assert meta["og:image"] == f"https://bambisleep.example/watch/media/{poster.key}/"
    assert meta["twitter:card"] == "summary_large_image"
    assert meta["description"] == meta["og:description"]
    assert meta["description"].startswith("About the moon.")
    assert len(meta["description"]) <= 160


def test_a_members_page_tells_others_the_summary_alone() -> None:
    item = rows.members_item("Kept", body="marzipan", summary="Of cinnamon.")
    assert text_of(get(item.get_absolute_url())).count('content="Of cinnamon."') == 3
    item.summary = ""
    item.save()
    assert "marzipan" not in text_of(get(item.get_absolute_url()))


def test_whatever_titles_hold_is_text(member: User) -> None:
    collection = rows.collection(title=HOSTILE, description=HOSTILE)
    item = rows.film(
        title=HOSTILE, summary=HOSTILE, body=HOSTILE, transcript=HOSTILE, collection=collection, language='x"><b>'
    )
    rows.item(HOSTILE, collection=collection)
    item.tags.add(Tag.objects.create(slug="hostile", name=HOSTILE[:60]))
    begun(item, member)
    paths = ["/", "/content/", "/content/continue/", "/content/search/?q=script", "/content/search/?q=" + HOSTILE[:60]]
    paths += [item.get_absolute_url(), collection.get_absolute_url(), "/content/tags/hostile/", "/content/feed/"]
    for path in paths:
        text = text_of(get(path, member))
        document = Document(text)
        assert not {"b", "a comment"} & document.tags, path
        assert [src for _, name, src in document.attributes if name == "src" and not src.startswith("/")] == []
        assert text.count("<script") == text.count('<script src="/static/'), path
        assert not {"onmouseover", "onmouseover'"} & {name for _, name, _ in document.attributes}, path
        assert "{{ 7|add:7 }}" in html.unescape(text) or path == "/content/feed/", path


# The start page, and what is everywhere


def test_the_start_page_lists_the_newest_three() -> None:
    for number in range(5):
        rows.item(f"Item {number}", published_at=rows.days_ago(9 - number))
    said = words(get("/"))
    assert "The newest Item 4 Item 3 Item 2 Live chat" in said
    assert "Nothing is published" not in said


def test_the_start_page_says_so_where_there_is_nothing() -> None:
    assert "Nothing is published yet." in words(get("/"))


def test_the_start_page_stands_without_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    rows.item("Item")

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(connection, "cursor", away)
    said = words(get("/"))
    assert "See the library" in said
    assert "Nothing is published" not in said


def test_the_navigation_leads_to_the_library_and_pages_of_it_to_the_feed() -> None:
    assert '<a href="/content/">Library</a>' in text_of(get("/"))
    assert '<a href="/content/" aria-current="page">Library</a>' in text_of(get())
    assert 'type="application/rss+xml" title="bambisleep: the library" href="/content/feed/"' in text_of(get())


@pytest.mark.parametrize("path", ["/content/", "/content/search/", "/content/continue/", "/content/nowhere/"])
def test_pages_are_read_not_posted_to(path: str, member: User) -> None:
    browser = browser_of(member)
    browser.handler.enforce_csrf_checks = False
    assert browser.post(path).status_code == 405


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (754.2, "13 min"),
        (3599, "1 h 0 min"),
        (7380, "2 h 3 min"),
    ],
)
def test_durations_are_said_in_words(seconds: float | None, said: str) -> None:
    assert filters.duration(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (187.9, "3:07"), (3723, "1:02:03")])
def test_moments_are_said_as_players_do(seconds: float, said: str) -> None:
    assert filters.clock(seconds) == said
