"""Who gets to see what of an item, by its page and its captions; what is counted; and what staff see beforehand."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from accounts import membership
from accounts.models import Membership, User
from accounts.tests.browser import text_of
from content import access, reading
from content.models import Captions, Item, Kind, Role
from content.tests import rows
from content.tests.pages import as_lapsed, as_member, browser_of, words

pytestmark = pytest.mark.django_db

SECRETS = ("marzipan", "saffron", "vanilla", "<video", "/watch/captions/")


@pytest.fixture(autouse=True)
def _library(library: Any) -> None:
    """Files are the test's own."""


@pytest.fixture
def kept() -> Item:
    """A members' film with all that an item may have."""
    item = rows.members_item(
        "Kept", kind=Kind.VIDEO, summary="Of cinnamon.", body="About *marzipan*.", transcript="And saffron."
    )
    rows.media(item)
    rows.media(item, role=Role.POSTER, kind="image", content_type="image/png")
    Captions.objects.create(item=item, label="English", text="WEBVTT\n\n00:00.000 --> 00:01.000\nvanilla\n")
    return item


def page(item: Item, user: User | None = None, **query: str) -> Any:
    return browser_of(user).get(item.get_absolute_url(), query)


def assert_teaser(answer: Any) -> None:
    """What everybody may see is there, and nothing else."""
    assert answer.status_code == 200
    text = text_of(answer)
    assert "Kept" in text
    assert "Of cinnamon." in text
    assert [secret for secret in SECRETS if secret in text] == []


# Members' items


def test_a_stranger_sees_the_teaser_and_the_ways_in(kept: Item, metric: Any) -> None:
    before = metric("content_denied_total", reason="sign_in"), metric("content_access_total")
    answer = page(kept)
    assert_teaser(answer)
    assert f'href="/accounts/login/?next=/content/{kept.slug}/"' in text_of(answer)
    assert 'href="/billing/plans/"' in text_of(answer)
    assert (metric("content_denied_total", reason="sign_in"), metric("content_access_total")) == (
        before[0] + 1,
        before[1],
    )


def test_the_teaser_shows_the_poster(kept: Item) -> None:
    poster = kept.files.get(role=Role.POSTER)
    assert f'<img class="item-poster" src="/watch/media/{poster.key}/"' in text_of(page(kept))


def test_who_was_never_a_member_is_offered_membership(kept: Item, member: User, metric: Any) -> None:
    before = metric("content_denied_total", reason="no_membership")
    answer = page(kept, member)
    assert_teaser(answer)
    assert "Become a member" in words(answer)
    assert metric("content_denied_total", reason="no_membership") == before + 1


def test_a_lapsed_member_is_asked_to_renew(kept: Item, member: User, metric: Any) -> None:
    before = metric("content_denied_total", reason="lapsed")
    answer = page(kept, as_lapsed(member))
    assert_teaser(answer)
    assert "Renew your membership" in words(answer)
    assert metric("content_denied_total", reason="lapsed") == before + 1


def test_a_member_sees_all_of_it(kept: Item, member: User, metric: Any) -> None:
    denied = metric("content_denied_total")
    before = metric("content_access_total", type="private")
    text = text_of(page(kept, as_member(member)))
    assert [secret for secret in SECRETS if secret not in text] == ["vanilla"]  # which its captions hold
    assert metric("content_access_total", type="private") == before + 1
    assert metric("content_denied_total") == denied


def test_a_membership_that_ends_closes_the_page_at_once(kept: Item, member: User) -> None:
    as_member(member)
    browser = browser_of(member)
    assert "marzipan" in text_of(browser.get(kept.get_absolute_url()))
    membership.end(Membership.objects.get(user=member))
    assert_teaser(browser.get(kept.get_absolute_url()))


def test_staff_without_a_membership_see_the_teaser_too(kept: Item, staff: User) -> None:
    assert_teaser(page(kept, staff))


def test_nothing_of_a_members_page_is_kept_on_the_way(kept: Item, member: User) -> None:
    for user in (None, as_member(member)):
        assert page(kept, user)["Cache-Control"] == "private, no-store"


# Public items


def test_a_stranger_sees_all_of_a_public_item(metric: Any) -> None:
    item = rows.item("Open", body="About *marzipan*.")
    before = metric("content_access_total", type="public")
    answer = page(item)
    assert "<p>About <em>marzipan</em>.</p>" in text_of(answer)
    assert metric("content_access_total", type="public") == before + 1
    assert "no-store" not in answer["Cache-Control"]


def test_a_public_page_of_somebody_who_is_signed_in_is_theirs(member: User) -> None:
    assert page(rows.item(), member)["Cache-Control"] == "private, no-store"


def test_only_a_page_that_is_read_is_counted(metric: Any) -> None:
    item = rows.item()
    before = metric("content_access_total")
    assert browser_of().head(item.get_absolute_url()).status_code == 200
    assert browser_of().post(item.get_absolute_url()).status_code in {403, 405}
    assert metric("content_access_total") == before


# Drafts and what is scheduled


@pytest.mark.parametrize("ahead", [None, timedelta(seconds=30)], ids=["draft", "scheduled"])
def test_nobody_is_told_of_what_is_not_published(ahead: timedelta | None, member: User, metric: Any) -> None:
    item = rows.item("Secret", published_at=ahead and timezone.now() + ahead)
    before = metric("content_denied_total", reason="not_published"), metric("content_access_total")
    nowhere = browser_of().get("/content/nowhere/")
    for user in (None, as_member(member)):
        answer = page(item, user)
        assert answer.status_code == 404
        assert "Secret" not in text_of(answer)
        assert _without_request_id(answer) == _without_request_id(nowhere)
    assert (metric("content_denied_total", reason="not_published"), metric("content_access_total")) == (
        before[0] + 2,
        before[1],
    )


def test_an_address_of_no_item_is_not_counted_as_refused(metric: Any) -> None:
    before = metric("content_denied_total")
    assert browser_of().get("/content/nowhere/").status_code == 404
    assert metric("content_denied_total") == before


def test_what_is_scheduled_appears_at_its_time() -> None:
    item = rows.item(published_at=timezone.now() + timedelta(minutes=5))
    at = timezone.now() + timedelta(minutes=5, seconds=1)
    assert access.refusal(item, None) == "not_published"
    assert access.refusal(item, None, at) is None


# Previews


def test_staff_preview_a_draft_as_a_member_and_as_a_visitor(staff: User, metric: Any) -> None:
    draft = rows.members_item("Draft", body="marzipan", published_at=None)
    before = metric("content_access_total"), metric("content_denied_total")
    whole, teaser = page(draft, staff, **{"as": "member"}), page(draft, staff, **{"as": "visitor"})
    assert "Preview: as a member sees it once it is published. It is a draft" in words(whole)
    assert "marzipan" in text_of(whole)
    assert "Preview: as a visitor sees it once it is published" in words(teaser)
    assert "marzipan" not in text_of(teaser)
    assert "This is for members" in words(teaser)
    assert (metric("content_access_total"), metric("content_denied_total")) == before


def test_the_preview_says_when_something_will_appear(staff: User) -> None:
    at = timezone.now() + timedelta(days=2)
    scheduled = rows.item(published_at=at)
    answer = page(scheduled, staff, **{"as": "visitor"})
    assert f"as a visitor sees it from {at.day} {at:%B %Y, %H:%M} UTC on. It is scheduled" in words(answer)


def test_the_preview_of_what_is_published_says_so(kept: Item, staff: User) -> None:
    answer = page(kept, staff, **{"as": "member"})
    assert "as a member sees it. It is published. Looking at it here is not counted." in words(answer)
    assert "<video" in text_of(answer)
    assert 'data-token=""' in text_of(answer)


def test_without_asking_for_a_preview_staff_see_a_draft_as_anybody_does(staff: User) -> None:
    assert page(rows.item(published_at=None), staff).status_code == 404
    assert page(rows.item(published_at=None), staff, **{"as": "nobody"}).status_code == 404


def test_nobody_else_gets_a_preview(kept: Item, member: User, metric: Any) -> None:
    draft = rows.item(published_at=None)
    helper = User.objects.create_user("hal", "hal@example.org", is_staff=True)
    before = metric("content_denied_total", reason="no_membership")
    for user in (None, member, helper):
        assert page(draft, user, **{"as": "member"}).status_code == 404
        answer = page(kept, user, **{"as": "member"})
        assert_teaser(answer)
        assert "Preview" not in words(answer)
    assert metric("content_denied_total", reason="no_membership") == before + 2


def test_staff_who_may_view_items_get_one(kept: Item) -> None:
    helper = User.objects.create_user("hal", "hal@example.org", is_staff=True)
    helper.user_permissions.add(Permission.objects.get(codename="view_item"))
    assert "marzipan" in text_of(page(kept, helper, **{"as": "member"}))


# Captions


def captions_of(item: Item, user: User | None = None) -> Any:
    return browser_of(user).get(f"/watch/captions/{item.captions.get().pk}/")


def test_captions_are_webvtt_for_who_may_see_the_film(kept: Item, member: User) -> None:
    answer = captions_of(kept, as_member(member))
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/vtt; charset=utf-8"
    assert answer["Cache-Control"] == "private, no-store"
    assert text_of(answer).startswith("WEBVTT\n")


def test_captions_of_a_public_film_are_for_everybody() -> None:
    film = rows.film()
    Captions.objects.create(item=film, label="English", text="WEBVTT\n")
    assert captions_of(film).status_code == 200


@pytest.mark.parametrize("who", ["sign_in", "no_membership", "lapsed"])
def test_captions_are_refused_as_the_film_is(kept: Item, member: User, who: str, metric: Any) -> None:
    user = {"sign_in": None, "no_membership": member, "lapsed": member}[who]
    if who == "lapsed":
        as_lapsed(member)
    before = metric("content_denied_total", reason=who)
    answer = captions_of(kept, user)
    assert answer.status_code == 403
    assert "vanilla" not in text_of(answer)
    assert metric("content_denied_total", reason=who) == before + 1


def test_captions_of_a_draft_are_there_for_staff_alone(staff: User, member: User, metric: Any) -> None:
    draft = rows.film(published_at=None)
    Captions.objects.create(item=draft, label="English", text="WEBVTT\n")
    before = metric("content_denied_total", reason="not_published")
    assert captions_of(draft, as_member(member)).status_code == 404
    assert captions_of(draft, staff).status_code == 200
    assert browser_of().get("/watch/captions/999999/").status_code == 404
    assert metric("content_denied_total", reason="not_published") == before + 1


def test_captions_with_a_number_that_no_database_holds_are_not_there() -> None:
    assert browser_of().get("/watch/captions/99999999999999999999999/").status_code == 404


# What is read


def test_only_illustrations_of_the_item_itself_are_shown() -> None:
    other = rows.media(rows.item(), role=Role.ILLUSTRATION, kind="image", content_type="image/png")
    item = rows.item()
    own = rows.media(item, role=Role.ILLUSTRATION, kind="image", content_type="image/png", description="Hills.")
    item.body = f"![](media:{own.key}) ![Theirs](media:{other.key})"
    item.save()
    assert f'src="/watch/media/{own.key}/" alt="Hills."' in text_of(page(item))
    assert str(other.key) not in text_of(page(item))


def test_a_members_illustration_has_a_link_that_works(member: User) -> None:
    item = rows.members_item()
    own = rows.media(item, b"a picture", role=Role.ILLUSTRATION, kind="image", content_type="image/png")
    item.body = f"![Hills](media:{own.key})"
    item.save()
    browser = browser_of(as_member(member))
    address = re.search(r'<img src="(/watch/media/[^"]+)"', text_of(browser.get(item.get_absolute_url())))
    assert address
    assert browser.get(address[1].replace("&amp;", "&")).status_code == 200


def test_what_is_read_costs_the_same_few_queries_however_much_stands_beside_it(
    member: User, django_assert_max_num_queries: Any
) -> None:
    as_member(member)
    collection = rows.collection()
    item = rows.members_item(collection=collection)
    for _ in range(12):
        rows.members_item(collection=collection)
        rows.media(item, role=Role.ILLUSTRATION, kind="image", content_type="image/png")
    with django_assert_max_num_queries(6):
        assert reading.read(item.slug, member)


def _without_request_id(answer: Any) -> str:
    return re.sub(r"<code>.*?</code>", "", text_of(answer))
