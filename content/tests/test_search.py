"""The search finds what is asked for, on either database; and nobody learns from it what is in members' texts."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.paginator import Paginator
from django.db import connection
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from accounts.tests.browser import text_of
from content import search
from content.models import Item, SearchEntry, Tag, Visibility
from content.questions import MOST_CHARACTERS, MOST_TERMS, terms
from content.tests import rows
from content.tests.pages import as_lapsed, as_member, browser_of, titles, words

pytestmark = pytest.mark.django_db


def found(question: str, user: User | None = None) -> set[str]:
    """The titles of all that is found."""
    result = search.find(question, user)
    hits = result[0:1000]
    assert len(result) == len(hits)
    return {hit.item.title for hit in hits}


def hit(question: str, user: User | None = None) -> search.Hit:
    (only,) = search.find(question, user)[0:10]
    return only


# What is found


def test_an_item_is_found_by_title_summary_tags_and_text() -> None:
    item = rows.item("Anchors", summary="Of blankets.", body="About *candles*.", transcript="And doors.")
    item.tags.add(Tag.objects.create(slug="evenings", name="Evenings"))
    for word in ("anchors", "blankets", "candles", "doors", "evenings"):
        assert found(word) == {"Anchors"}, word


def test_words_are_found_in_their_other_forms_and_cases() -> None:
    rows.item("Sleeping", body="They breathed.")
    assert found("SLEEP") == {"Sleeping"}
    assert found("breathing") == {"Sleeping"}


def test_all_words_must_be_there() -> None:
    rows.item("One", body="moon and stars")
    rows.item("Two", body="moon")
    assert found("moon stars") == {"One"}
    assert found("moon the stars") == {"One"}


def test_words_in_quotes_stand_in_a_row() -> None:
    rows.item("One", body="the far away rain")
    rows.item("Two", body="rain from far and then away")
    assert found('"far away"') == {"One"}
    assert found("far away") == {"One", "Two"}


def test_an_excluded_word_leaves_out() -> None:
    rows.item("One", body="rain")
    rows.item("Two", body="rain and thunder")
    assert found("rain -thunder") == {"One"}
    assert found('rain -"and thunder"') == {"One"}


@pytest.mark.parametrize("written", ["half-hour", "half/hour", "half.hour", "half_hour", "half@hour", "<half>hour"])
def test_words_are_told_apart_by_any_sign_between_them(written: str) -> None:
    rows.item("One", body=f"a `{written}` of rest")
    assert found("half") == found("hour") == found("half-hour") == found(written) == {"One"}
    assert hit("hour").excerpt == f"a {escape(written)} of rest".replace("hour", "<mark>hour</mark>")


def test_addresses_and_numbers_are_found() -> None:
    rows.item("One", body="`https://www.example.org/a?b=c&d` at 3.5 or -7 or 1,000 &amp; <b>R&D</b>")
    for question in ("example.org", "example", "www.example.org/a", "3.5", "7", "1,000", "R&D"):
        assert found(question) == {"One"}, question


def test_what_is_in_the_title_comes_before_what_is_in_the_text() -> None:
    rows.item("Rain", published_at=rows.days_ago(9))
    rows.item("Other", body="rain")
    assert [hit.item.title for hit in search.find("rain", None)[0:10]] == ["Rain", "Other"]


def test_what_is_equally_good_comes_newest_first() -> None:
    for days in (2, 1, 3):
        rows.item(f"Rain {days}", body="", published_at=rows.days_ago(days))
    assert [hit.item.title for hit in search.find("rain", None)[0:10]] == ["Rain 1", "Rain 2", "Rain 3"]


# Who finds what


def test_only_members_find_what_is_in_members_texts(member: User) -> None:
    rows.members_item("Kept", body="marzipan", transcript="saffron")
    assert found("marzipan") == found("marzipan", member) == found("saffron", member) == set()
    assert found("marzipan", as_member(member)) == found("saffron", member) == {"Kept"}


def test_a_lapsed_member_finds_as_anybody_does(member: User) -> None:
    rows.members_item("Kept", body="marzipan")
    assert found("marzipan", as_lapsed(member)) == set()
    assert found("kept", member) == {"Kept"}


def test_everybody_finds_members_items_by_what_the_teaser_shows(member: User) -> None:
    item = rows.members_item("Kept", summary="Of cinnamon.", body="marzipan")
    item.tags.add(Tag.objects.create(slug="spice", name="Spice"))
    for word in ("kept", "cinnamon", "spice"):
        assert found(word) == {"Kept"}


def test_an_excluded_word_tells_nothing_of_members_texts() -> None:
    rows.members_item("Kept", body="marzipan")
    assert found("kept -marzipan") == {"Kept"}


def test_what_strangers_see_of_a_hit_is_the_same_whatever_the_members_text_is() -> None:
    item = rows.members_item("Kept", summary="Of cinnamon.", body="kept cinnamon marzipan")
    other = rows.members_item("Kept too", summary="Of cinnamon.", body="")
    before = [(hit.item.pk, hit.title, hit.excerpt) for hit in search.find("cinnamon", None)[0:10]]
    item.body, other.body = "", "cinnamon " * 500
    item.save()
    other.save()
    assert [(hit.item.pk, hit.title, hit.excerpt) for hit in search.find("cinnamon", None)[0:10]] == before


def test_drafts_and_what_is_scheduled_are_found_by_nobody(member: User, staff: User) -> None:
    rows.item("Draft", body="rain", published_at=None)
    rows.item("Scheduled", body="rain", published_at=timezone.now() + timedelta(minutes=1))
    assert found("rain") == found("rain", as_member(member)) == found("rain", as_member(staff)) == set()


def test_what_becomes_members_is_found_by_its_text_no_more() -> None:
    item = rows.item("Open", body="marzipan")
    item.visibility = Visibility.MEMBERS
    item.save()
    assert found("marzipan") == set()
    assert found("open") == {"Open"}


def test_what_becomes_members_behind_our_back_is_not_found_at_all_before_it_is_indexed_anew(member: User) -> None:
    rows.item("Open", body="marzipan")
    Item.objects.update(visibility=Visibility.MEMBERS)
    assert found("marzipan") == found("open") == set()
    assert found("open", as_member(member)) == {"Open"}
    call_command("rebuild_search", stdout=StringIO())
    assert found("marzipan") == set()
    assert found("open") == {"Open"}


# What is shown


def test_the_words_are_marked_in_title_and_text() -> None:
    rows.item("Rain, far away", body="It rains " + "and on it goes " * 100)
    only = hit("rain")
    assert only.title == "<mark>Rain</mark>, far away"
    assert "It <mark>rains</mark>" in only.excerpt
    assert len(only.excerpt) < 600


def test_where_the_text_does_not_hold_it_the_summary_is_shown() -> None:
    rows.item("Title", summary="Of rain & wind.", body="Something else.")
    assert hit("rain").excerpt == "Of <mark>rain</mark> &amp; wind."


def test_a_text_that_holds_markup_is_escaped() -> None:
    rows.item("<script>Rain", summary="", body="`<img src=x onerror=alert(1)>` rain \x02<b>\x03")
    only = hit("rain")
    assert only.title == "&lt;script&gt;<mark>Rain</mark>"
    assert re.findall(r"<[^>]*>", only.excerpt) == ["<mark>", "</mark>"]


def test_the_last_words_of_a_long_text_are_found_and_shown() -> None:
    rows.item("Long", body="lorem ipsum " * 3_000 + "hidden treasure")
    assert "<mark>treasure</mark>" in hit("treasure").excerpt


# What stays in step


def test_a_change_of_the_text_is_found_at_once() -> None:
    item = rows.item("One", body="rain")
    item.body = "snow"
    item.save()
    assert found("rain") == set()
    assert found("snow") == {"One"}


def test_an_item_that_is_deleted_is_found_no_more(member: User) -> None:
    item = rows.item("One", body="rain")
    item.delete()
    assert found("rain") == found("rain", as_member(member)) == set()
    assert SearchEntry.objects.count() == 0


def test_tags_are_followed_from_either_side() -> None:
    first, second = rows.item("First"), rows.item("Second")
    tag = Tag.objects.create(slug="a", name="Evenings")
    first.tags.set([tag])
    assert found("evenings") == {"First"}
    tag.items.add(second)
    assert found("evenings") == {"First", "Second"}
    tag.name = "Mornings"
    tag.save()
    assert found("evenings") == set()
    assert found("mornings") == {"First", "Second"}
    tag.items.remove(first)
    assert found("mornings") == {"Second"}
    tag.items.clear()
    assert found("mornings") == set()


def test_a_tag_that_is_deleted_finds_nothing() -> None:
    item = rows.item("First")
    item.tags.add(Tag.objects.create(slug="a", name="Evenings"))
    Tag.objects.all().delete()
    assert found("evenings") == set()


def test_rebuilding_brings_back_what_was_lost() -> None:
    rows.item("One", body="rain")
    SearchEntry.objects.all().delete()
    assert found("rain") == set()
    told = StringIO()
    call_command("rebuild_search", stdout=told)
    assert found("rain") == {"One"}
    assert told.getvalue() == "1 items indexed.\n"


def test_a_text_of_many_different_words_can_be_saved_and_found() -> None:
    rows.item("Many", body=" ".join(f"w{number}x" for number in range(120_000)) + " " + "y" * 5_000)
    assert found("w77x") == {"Many"}


class FlushTest(TransactionTestCase):
    """Emptying the tables, as tests with threads do, empties the index."""

    def test_an_emptied_database_finds_nothing_even_where_an_item_gets_an_old_number(self) -> None:
        item = rows.item("One", body="rain")
        self._fixture_teardown()
        rows.item("Two", body="snow", pk=item.pk)
        assert found("rain") == set()
        assert found("snow") == {"Two"}


# What is asked


ODD_QUESTIONS = [
    '"', '""', '"rain', 'rain"', "'", "rain'; DROP TABLE content_item; --", "rain AND", "NOT rain", "OR", "rain OR",
    "NEAR(rain, 5)", "title:rain", "{title}: rain", "rain*", "^rain", "(rain", "rain)", "rain &", "rain | !", "!rain",
    "rain <-> rain", ":*", "rain:A", "a\x00b", "\x00", "\ud800", "😴", "😴 rain", "--", "-", "-rain", "- rain",
    '-""', "%", "%s", "%(a)s", "\\", "\\'", "rain\\", "+rain", "$$", "?", "\x02rain\x03", "İstanbul", "ｒａｉｎ", "ﬁ",
    "a" * 10_000, "rain " * 2_000, '"' * 10_000, "-" * 10_000, "( " * 500, "😴" * 3_000, " ", "\n\t",
]  # fmt: skip


@pytest.mark.parametrize("question", ODD_QUESTIONS, ids=range(len(ODD_QUESTIONS)))
def test_no_question_breaks_the_search(question: str, member: User) -> None:
    rows.item("One", body="rain")
    for user in (None, as_member(member)):
        found(question, user)


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters() | st.sampled_from("\"-():*^&|!<>'\\ rain\x00"), max_size=60))
def test_no_text_at_all_breaks_the_search(question: str) -> None:
    assert found(question) == set()


@pytest.mark.parametrize("question", ["the", "The And OF", '"to be or not to be"', "", "😴 !!", "-rain", "-rain -snow"])
def test_what_says_nothing_finds_nothing(question: str) -> None:
    rows.item("One", body="the and of to be or not to be")
    assert found(question) == set()


def test_a_question_is_cut_to_a_length_that_the_databases_can_bear() -> None:
    assert sum(len(term.words) for term in terms("ab " * 10_000)) <= MOST_CHARACTERS
    assert len(terms("ab " * 10_000)) == MOST_TERMS


# The page


def test_the_page_shows_what_was_found_and_says_what_was_not_searched(member: User) -> None:
    rows.item("Rain", body="It rained.")
    answer = browser_of().get("/content/search/", {"q": "rain"})
    assert titles(answer) == ["Rain"]
    assert "It <mark>rained</mark>" in text_of(answer)
    assert "1 item found. Of what is for members, only titles, summaries and subjects were searched." in words(answer)
    answer = browser_of(as_member(member)).get("/content/search/", {"q": "rain"})
    assert "1 item found." in words(answer)
    assert "only titles" not in words(answer)


def test_the_page_says_what_to_do_where_nothing_was_found() -> None:
    browser = browser_of()
    assert "Nothing was found for “rain”" in words(browser.get("/content/search/", {"q": "rain"}))
    assert "There is no word in that to look for: “the”" in words(browser.get("/content/search/", {"q": "the"}))
    assert "Type what you look for" in words(browser.get("/content/search/"))


def test_too_long_a_question_and_one_with_nul_are_refused_with_a_word() -> None:
    browser = browser_of()
    assert "That is too long: 200 characters at most." in words(browser.get("/content/search/", {"q": "a" * 5_000}))
    assert "Null characters are not allowed" in words(browser.get("/content/search/", {"q": "a\x00b"}))


def test_what_was_found_comes_in_pages_that_keep_the_question() -> None:
    for number in range(25):
        rows.item(f"Rain {number}")
    browser = browser_of()
    first, second = (browser.get("/content/search/", {"q": 'rain "rain"', "page": page}) for page in (1, 2))
    assert len(titles(first)) == 20
    assert len(titles(second)) == 5
    assert not set(titles(first)) & set(titles(second))
    link = re.search(r'rel="next" href="([^"]+)"', text_of(first))
    assert link
    assert titles(browser.get("/content/search/" + link[1].replace("&amp;", "&"))) == titles(second)
    assert titles(browser.get("/content/search/", {"q": "rain", "page": "99"}))


def test_a_page_costs_the_same_few_queries_however_much_is_found() -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert list(Paginator(search.find("rain", None), 20).get_page(1))
        return len(queries)

    rows.item("Rain")
    one = cost()
    for _ in range(10):
        rows.item("Rain").tags.add(Tag.objects.get_or_create(slug="a", name="A")[0])
    assert cost() <= one
    assert one <= 5


@pytest.mark.needs("postgresql")
def test_postgresql_finds_by_the_index() -> None:
    at = timezone.now()
    items = Item.objects.bulk_create(Item(slug=f"i{n}", title=f"Word{n}", published_at=at) for n in range(3_000))
    SearchEntry.objects.bulk_create(SearchEntry(item=item, title=item.title) for item in items)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE content_item, content_searchentry")
        cursor.execute("SET LOCAL enable_seqscan = off")  # which is as quick for rows so small
        cursor.execute("EXPLAIN " + search.search_sql.POSTGRESQL_EVERYONE_COUNT, ['"word7"', at])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Bitmap Index Scan on search_for_everyone" in plan
