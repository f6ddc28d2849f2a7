"""Feed, sitemap and robots.txt hold what everybody may know of, in a form that machines can read."""

import re
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.utils import timezone

from accounts.tests.browser import text_of
from content import feeds
from content.models import Item, Role, Tag
from content.tests import rows
from content.tests.pages import browser_of

pytestmark = pytest.mark.django_db

SITE = "https://bambisleep.example"
LOCATION = "{http://www.sitemaps.org/schemas/sitemap/0.9}loc"


@pytest.fixture(autouse=True)
def _site(settings: Any, library: Any) -> None:
    """It has a public name, by which nobody asks here."""
    settings.PUBLIC_URL = SITE


def get(path: str, **query: Any) -> Any:
    answer = browser_of().get(path, query)
    assert answer.status_code == 200
    return answer


def entries() -> list[ElementTree.Element]:
    return ElementTree.fromstring(get("/content/feed/").content).findall("channel/item")


def locations(**query: Any) -> list[str]:
    tree = ElementTree.fromstring(get("/sitemap.xml", **query).content)
    return [(location.text or "").removeprefix(SITE) for location in tree.iter(LOCATION)]


# The feed


def test_the_feed_holds_what_is_public_newest_first() -> None:
    older = rows.item("Older", summary="Of rain.", published_at=rows.days_ago(3))
    rows.item("Newer")
    rows.members_item("Members")
    rows.item("Draft", published_at=None)
    rows.item("Scheduled", published_at=timezone.now() + timedelta(days=1))
    assert [entry.findtext("title") for entry in entries()] == ["Newer", "Older"]
    last = entries()[-1]
    assert last.findtext("link") == last.findtext("guid") == f"{SITE}{older.get_absolute_url()}"
    assert last.findtext("description") == "Of rain."
    assert older.published_at
    assert (last.findtext("pubDate") or "").startswith(f"{older.published_at:%a, %d %b %Y %H:%M:%S}")


def test_the_feed_gives_players_the_file_itself() -> None:
    film = rows.film()
    file = film.media
    assert file
    rows.media(film, role=Role.POSTER, kind="image", content_type="image/png")
    (enclosure,) = entries()[0].findall("enclosure")
    assert enclosure.attrib == {
        "url": f"{SITE}/watch/media/{file.key}/", "length": str(file.size_bytes), "type": "video/webm"
    }  # fmt: skip
    answer = browser_of().get(enclosure.attrib["url"].removeprefix(SITE))
    assert answer.status_code == 200


def test_the_feed_is_valid_whatever_titles_hold() -> None:
    item = rows.item("A\x0b\x1b[0m\x08 ]]> & <b> \ufffe\uffff 😴", summary="\x0c")
    Item.objects.filter(pk=item.pk).update(title="A\x0b\x1b[0m\x08 ]]> & <b> \ufffe\uffff 😴", summary="\x0c")
    item.tags.add(Tag.objects.create(slug="odd", name="Odd\x02"))
    (entry,) = entries()
    assert entry.findtext("title") == "A[0m ]]> & <b>  😴"
    assert entry.findtext("category") == "Odd"


def test_the_feed_ends_at_fifty() -> None:
    for number in range(52):
        rows.item(f"Item {number}", published_at=rows.days_ago(number + 1))
    found = entries()
    assert len(found) == 50
    assert found[0].findtext("title") == "Item 0"


def test_the_feed_names_itself_and_is_rss() -> None:
    answer = get("/content/feed/")
    assert answer["Content-Type"] == "application/rss+xml; charset=utf-8"
    assert f'<atom:link href="{SITE}/content/feed/" rel="self"' in text_of(answer)
    assert '<rss version="2.0"' in text_of(answer)


@pytest.mark.parametrize("path", ["/content/feed/", "/sitemap.xml", "/robots.txt"])
def test_who_has_it_already_is_not_sent_it_again(path: str) -> None:
    rows.item()
    answer = get(path)
    assert answer["Cache-Control"] == "public, max-age=300"
    again = browser_of().get(path, headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    assert "Vary" not in answer or "Cookie" not in answer["Vary"]


def test_the_feed_costs_the_same_few_queries_however_long_it_is(django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        film = rows.film()
        film.tags.add(Tag.objects.get_or_create(slug="a", name="A")[0])
    with django_assert_max_num_queries(5):
        get("/content/feed/")


# The sitemap


def test_the_sitemap_holds_every_page_that_everybody_may_know_of() -> None:
    collection, empty = rows.collection(), rows.collection()
    public = rows.item(collection=collection)
    members, draft = rows.members_item(), rows.item(published_at=None, collection=empty)
    found = locations()
    assert {"/", "/content/", public.get_absolute_url(), members.get_absolute_url()} <= set(found)
    assert collection.get_absolute_url() in found
    assert not {draft.get_absolute_url(), empty.get_absolute_url()} & set(found)
    assert len(found) == len(set(found))
    for path in found:
        get(path)


def test_a_sitemap_too_long_for_one_document_becomes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds._OfThisSite, "limit", 3)
    items = [rows.item().get_absolute_url() for _ in range(7)]
    parts = locations()
    assert [part for part in parts if "section=items" in part] == [
        f"/sitemap.xml?section=items&p={number}" for number in (1, 2, 3)
    ]
    found = []
    for part in parts:
        found += locations(**dict(re.findall(r"(\w+)=(\w+)", part)))
    assert [path for path in found if path in items] == items
    assert "/" in found


@pytest.mark.parametrize("query", [{"section": "nowhere"}, {"p": "99"}, {"p": "x"}, {"section": "\x00", "p": "\x00"}])
def test_a_part_of_the_sitemap_that_does_not_exist_is_not_found(query: dict[str, str]) -> None:
    assert browser_of().get("/sitemap.xml", query).status_code == 404


# robots.txt


def test_robots_are_told_where_they_have_no_business_and_where_the_sitemap_is() -> None:
    answer = get("/robots.txt")
    lines = text_of(answer).splitlines()
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert lines[0] == "User-agent: *"
    assert {f"Disallow: /{path}/" for path in ("admin", "accounts", "billing", "watch")} <= set(lines)
    assert f"Sitemap: {SITE}/sitemap.xml" in lines
    assert "Disallow: /content/" not in lines
