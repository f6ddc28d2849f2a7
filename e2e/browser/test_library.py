"""Readers at the library, with and without JavaScript: looking round, searching, and from a teaser to the whole."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from e2e.browser.site import READER, Account, Site, Visitor

pytestmark = pytest.mark.needs("chromium")

KEPT = "When sleep does not come"  # an article for members
ITS_ADDRESS = "/content/demo-when-sleep-does-not-come/"
ITS_TEXT = "Twenty minutes awake are enough"


@pytest.fixture(scope="module")
def site(site_with_library: Site) -> Site:
    """The one with something to read."""
    return site_with_library


def titles(visitor: Visitor) -> Locator:
    return visitor.page.locator("main .entry-title")


def follow(visitor: Visitor, name: str) -> None:
    visitor.page.locator("main").get_by_role("link", name=name).first.click()


def test_a_stranger_finds_the_library_narrows_it_and_reads(visit: Callable[..., Visitor], javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.opens("/")
    visitor.page.locator("header").get_by_role("link", name="Library").click()
    expect(titles(visitor).filter(has_text=KEPT)).to_be_visible()
    visitor.page.get_by_label("Kind", exact=True).select_option("article")
    visitor.page.get_by_label("Subject", exact=True).select_option("evening")
    visitor.presses("Show")
    expect(titles(visitor)).to_have_text(["A room for the night"])
    assert visitor.page.get_by_label("Kind", exact=True).input_value() == "article"
    follow(visitor, "A room for the night")
    visitor.reads("Three things make a room good to sleep in.")
    follow(visitor, "Evening")
    visitor.page.wait_for_url("**/content/tags/evening/")
    expect(titles(visitor)).to_have_count(2)


def test_a_stranger_searches_and_learns_nothing_of_members_texts(
    visit: Callable[..., Visitor], javascript: bool
) -> None:
    visitor = visit(javascript=javascript)
    visitor.opens("/content/")
    visitor.fills(q="breathing")
    visitor.presses("Search")
    expect(titles(visitor).first).to_have_text("Breathing with the light")
    expect(titles(visitor).first.locator("mark")).to_have_text("Breathing")
    visitor.fills(q='"twenty minutes awake"')
    visitor.page.keyboard.press("Enter")
    visitor.reads("Nothing was found for")
    assert visitor.page.get_by_label("Search the library").input_value() == '"twenty minutes awake"'


def test_a_member_searches_the_texts_too(visit: Callable[..., Visitor], javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(Account(READER))
    visitor.opens("/content/")
    visitor.fills(q='"twenty minutes awake"')
    visitor.presses("Search")
    expect(titles(visitor)).to_have_text([KEPT])
    expect(visitor.page.locator("main .entry mark").first).to_be_visible()


def test_a_teaser_leads_through_the_sign_in_to_the_whole(visit: Callable[..., Visitor], javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.opens("/content/")
    follow(visitor, KEPT)
    visitor.reads("This is for members")
    assert ITS_TEXT not in visitor.page.content()
    visitor.presses("Sign in")
    visitor.fills(login=READER, password=Account(READER).password)
    visitor.presses("Sign in")
    visitor.page.wait_for_url(f"**{ITS_ADDRESS}")
    visitor.reads(ITS_TEXT)


def test_who_is_no_member_is_led_to_the_plans(visit: Callable[..., Visitor], member: Account, javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    visitor.opens(ITS_ADDRESS)
    assert ITS_TEXT not in visitor.page.content()
    visitor.presses("Become a member")
    visitor.page.wait_for_url("**/billing/plans/")


def test_who_left_off_goes_on_from_the_start_of_the_library(visit: Callable[..., Visitor], javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(Account(READER))
    visitor.opens("/content/")
    begun = visitor.page.get_by_role("region", name="Go on where you left off")
    expect(begun).to_contain_text("of 0:40")
    begun.get_by_role("link", name="Rain, far away").click()
    expect(visitor.page.locator("main audio")).to_be_visible()


def test_a_collection_is_read_from_one_to_the_next(visit: Callable[..., Visitor], javascript: bool) -> None:
    visitor = visit(javascript=javascript)
    visitor.opens("/content/")
    follow(visitor, "First nights")
    expect(titles(visitor).first).to_have_text("A room for the night")
    follow(visitor, "A room for the night")
    follow(visitor, "Next: Breathing with the light")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Breathing with the light")
    expect(visitor.page.locator("main video")).to_have_attribute("src", re.compile(r"^/watch/media/"))


def test_a_picture_comes_with_every_item_that_has_one(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    visitor.opens("/content/collections/demo-first-nights/")
    posters = visitor.page.locator("main img.entry-poster")
    expect(posters).to_have_count(4)
    for poster in posters.all():
        poster.scroll_into_view_if_needed()
        expect(poster).to_have_js_property("complete", True)
        assert poster.evaluate("image => image.naturalWidth") > 0
