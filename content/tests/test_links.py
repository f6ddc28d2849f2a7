"""Links to files: who gets which, whom they let in, and for how long."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.signing import Signer
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from structlog.testing import CapturingLogger

from accounts import membership
from accounts.models import Membership, User
from bambisleep.tests.client import AsgiClient
from content import links
from content.models import MediaFile, Role
from content.tests import rows
from content.tests.reading import Reader, made_member, signed_in
from observability.http import edge

pytestmark = pytest.mark.usefixtures("library")

SECRET = b"what members pay for"


@pytest.fixture
def film(db: None) -> MediaFile:
    """A members' film."""
    return rows.media(rows.members_item(kind="video"), SECRET)


@pytest.fixture
def reader(asgi: AsgiClient, member: User) -> Reader:
    """A member, signed in."""
    return signed_in(asgi, made_member(member))


@pytest.fixture
def stranger(asgi: AsgiClient) -> Reader:
    """Nobody in particular."""
    return Reader(asgi)


def another(name: str = "otto") -> User:
    return User.objects.create_user(name, f"{name}@example.org", "a long enough phrase")


def link_of(address: str) -> str:
    return address.partition("?link=")[2]


def test_a_member_gets_a_members_film_by_a_link(reader: Reader, member: User, film: MediaFile) -> None:
    answer = reader.ask(links.address_of(film, member))

    assert (answer.status, answer.body) == (200, SECRET)
    assert answer.headers["cache-control"] == "private, no-cache"


def test_the_address_alone_opens_nothing(reader: Reader, film: MediaFile, metric: Any) -> None:
    before = metric("content_denied_total", reason="bad_link")

    answer = reader.ask(f"/watch/media/{film.key}/")

    assert (answer.status, SECRET in answer.body) == (403, False)
    assert metric("content_denied_total", reason="bad_link") - before == 1


def test_a_lapsed_member_gets_no_bytes_at_the_very_next_request(
    reader: Reader, member: User, film: MediaFile, metric: Any
) -> None:
    address = links.address_of(film, member)
    assert reader.ask(address).status == 200
    before = metric("content_denied_total", reason="lapsed")

    membership.end(Membership.objects.get(user=member))
    answer = reader.ask(address, Range="bytes=0-4")

    assert (answer.status, answer.json["code"]) == (403, "lapsed")
    assert SECRET[:5] not in answer.body
    assert metric("content_denied_total", reason="lapsed") - before == 1


def test_a_link_lets_nobody_else_in(asgi: AsgiClient, member: User, film: MediaFile, metric: Any) -> None:
    before = metric("content_denied_total", reason="other_user")
    other = signed_in(asgi, made_member(another()))

    answer = other.ask(links.address_of(film, made_member(member)))

    assert (answer.status, answer.json["code"]) == (403, "other_user")
    assert metric("content_denied_total", reason="other_user") - before == 1


def test_a_link_does_not_stand_for_signing_in(stranger: Reader, member: User, film: MediaFile) -> None:
    answer = stranger.ask(links.address_of(film, made_member(member)))

    assert (answer.status, answer.json["code"]) == (403, "sign_in")


def test_a_link_opens_no_other_file(reader: Reader, member: User, film: MediaFile) -> None:
    other = rows.media(rows.members_item(kind="video"))

    answer = reader.ask(f"/watch/media/{other.key}/?link={link_of(links.address_of(film, member))}")

    assert (answer.status, answer.json["code"]) == (403, "bad_link")


def test_a_link_ends(reader: Reader, member: User, film: MediaFile, metric: Any, settings: Any) -> None:
    settings.LIBRARY_LINK = timedelta(seconds=-1)
    before = metric("content_denied_total", reason="expired_link")

    answer = reader.ask(links.address_of(film, member))

    assert (answer.status, answer.json["code"]) == (403, "expired_link")
    assert metric("content_denied_total", reason="expired_link") - before == 1


def test_a_link_is_good_for_as_long_as_the_setting_says(member: User, film: MediaFile, settings: Any) -> None:
    settings.LIBRARY_LINK = timedelta(minutes=30)

    seconds = links.seconds_left(links.address_of(film, member))

    assert seconds is not None
    assert 27 * 60 - 1 <= seconds <= 30 * 60


def test_a_link_is_the_same_when_it_is_asked_for_again(
    member: User, film: MediaFile, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LIBRARY_LINK = timedelta(minutes=30)
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    first = links.address_of(film, member)
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0 + 3 * 60 - 1)

    assert links.address_of(film, member) == first


@given(data=st.data())
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
def test_a_link_with_any_letter_altered_is_refused(member: User, film: MediaFile, data: st.DataObject) -> None:
    link = link_of(links.address_of(film, member))
    place = data.draw(st.integers(0, len(link) - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda letter: letter != link[place]))
    altered = link[:place] + letter + link[place + 1 :]

    assert links.refusal_with(altered, film, member) == "bad_link"


@given(link=st.text(max_size=200))
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_text_is_a_link(member: User, film: MediaFile, link: str) -> None:
    assert links.refusal_with(link, film, member) == "bad_link"


@pytest.mark.parametrize(
    "query",
    [
        *("link=", "link", "link=%ff%fe", "link[]={link}", "LINK={link}", "link={link}&link={link}", "&&&=;"),
        *("link={cut}", "link={link}x", "link=%20{link}", "link=" + "a" * 8000, "link={key}-1-9999999999:x"),
    ],
)
def test_a_query_that_is_none_of_ours_is_refused(reader: Reader, member: User, film: MediaFile, query: str) -> None:
    link = link_of(links.address_of(film, member))

    answer = reader.ask(f"/watch/media/{film.key}/?" + query.format(link=link, cut=link[:-1], key=film.key.hex))

    assert answer.status == 403
    assert SECRET not in answer.body


def test_a_forged_link_is_a_security_event(reader: Reader, member: User, film: MediaFile, metric: Any) -> None:
    before = metric("security_events_total", type="bad_signature")

    reader.ask(links.address_of(film, member)[:-1] + "_")

    assert metric("security_events_total", type="bad_signature") - before == 1


def test_what_another_part_of_the_site_has_signed_is_no_link(member: User, film: MediaFile) -> None:
    value, _, _ = link_of(links.address_of(film, member)).partition(":")

    assert links.refusal_with(Signer().sign(value), film, made_member(member)) == "bad_link"
    assert links.refusal_with(Signer(salt=links.SALT).sign("anything"), film, member) == "bad_link"


def test_links_outlive_a_new_secret_key_that_names_the_former(
    reader: Reader, member: User, film: MediaFile, settings: Any
) -> None:
    link = link_of(links.address_of(film, member))
    former = settings.SECRET_KEY

    settings.SECRET_KEY = "another-key-for-tests-only-that-is-long-enough-to-be-accepted-012"
    assert links.refusal_with(link, film, member) == "bad_link"
    settings.SECRET_KEY_FALLBACKS = [former]
    assert links.refusal_with(link, film, member) is None


@pytest.mark.parametrize("role", [Role.MAIN, Role.POSTER, Role.ILLUSTRATION])
def test_every_file_of_a_public_item_is_for_everybody(stranger: Reader, role: Role, db: None) -> None:
    file = rows.media(rows.item(), role=role)

    address = links.address_of(file, AnonymousUser())
    answer = stranger.ask(address)

    assert "?" not in address
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert "vary" not in answer.headers


@pytest.mark.parametrize(("role", "status"), [(Role.MAIN, 403), (Role.POSTER, 200), (Role.ILLUSTRATION, 403)])
def test_of_a_members_item_everybody_sees_the_poster_alone(stranger: Reader, role: Role, status: int, db: None) -> None:
    file = rows.media(rows.members_item(), role=role)

    assert stranger.ask(links.address_of(file, AnonymousUser())).status == status


def test_a_picture_in_a_members_text_has_an_address_for_good_and_is_for_members_alone(
    asgi: AsgiClient, reader: Reader, stranger: Reader, member: User
) -> None:
    file = rows.media(rows.members_item(), SECRET, role=Role.ILLUSTRATION)
    address = links.address_of(file, member)
    answer = reader.ask(address)

    assert address == f"/watch/media/{file.key}/"
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, SECRET, "private, no-cache")
    assert (stranger.ask(address).status, signed_in(asgi, another()).ask(address).status) == (403, 403)


@pytest.mark.parametrize("role", [Role.MAIN, Role.POSTER, Role.ILLUSTRATION])
@pytest.mark.parametrize("published_at", [None, timezone.now() + timedelta(days=1)])
def test_a_file_of_what_is_not_published_is_not_there(
    reader: Reader, member: User, role: Role, published_at: Any, metric: Any
) -> None:
    file = rows.media(rows.item(published_at=published_at), SECRET, role=role)
    before = metric("content_denied_total", reason="not_published")

    answer = reader.ask(links.address_of(file, member))
    unknown = reader.ask(f"/watch/media/{uuid.uuid4()}/")

    assert answer.status == unknown.status == 404
    assert {**answer.json, "request_id": ""} == {**unknown.json, "request_id": ""}
    assert metric("content_denied_total", reason="not_published") - before == 1


@pytest.mark.parametrize("of", ["no item", "a draft", "a members' item"])
def test_staff_see_every_file_in_their_preview(asgi: AsgiClient, staff: User, of: str) -> None:
    item = {"no item": None, "a draft": rows.item(published_at=None), "a members' item": rows.members_item()}[of]
    file = rows.media(item, SECRET)

    answer = signed_in(asgi, staff).ask(links.address_of(file, staff))

    assert (answer.status, answer.body) == (200, SECRET)
    assert answer.headers["cache-control"] == "private, no-cache"


def test_a_player_gets_a_new_link(reader: Reader, film: MediaFile, settings: Any) -> None:
    settings.LIBRARY_LINK = timedelta(minutes=30)

    told = reader.ask(f"/watch/links/{film.key}/")

    assert told.headers["cache-control"] == "no-store"
    assert 27 * 60 - 1 <= told.json["expires_in"] <= 30 * 60
    assert reader.ask(told.json["url"]).body == SECRET


def test_a_new_link_to_a_public_file_has_no_end(stranger: Reader, db: None) -> None:
    file = rows.media(rows.item())

    told = stranger.ask(f"/watch/links/{file.key}/").json

    assert told == {"url": f"/watch/media/{file.key}/", "expires_in": None}


def test_who_may_not_see_a_film_gets_no_new_link_and_the_reason(
    asgi: AsgiClient, stranger: Reader, film: MediaFile, member: User, metric: Any
) -> None:
    before = metric("content_denied_total", reason="no_membership")
    told = signed_in(asgi, member).ask(f"/watch/links/{film.key}/")

    assert told.status == 403
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json["code"] == "no_membership"
    assert metric("content_denied_total", reason="no_membership") - before == 1
    assert stranger.ask(f"/watch/links/{film.key}/").json["code"] == "sign_in"


def test_there_is_no_new_link_to_what_is_not_published(reader: Reader, metric: Any) -> None:
    file = rows.media(rows.item(published_at=None))

    assert reader.ask(f"/watch/links/{file.key}/").status == 404
    assert reader.ask(f"/watch/links/{uuid.uuid4()}/").status == 404


def test_people_get_a_page_that_says_why(reader: Reader, member: User, film: MediaFile, settings: Any) -> None:
    settings.LIBRARY_LINK = timedelta(seconds=-1)

    answer = reader.ask(links.address_of(film, member), Accept="text/html")

    assert answer.status == 403
    assert b"This link has expired" in answer.body


def test_no_link_is_written_into_the_log(
    reader: Reader, member: User, film: MediaFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = CapturingLogger()
    monkeypatch.setattr(edge, "log", logger)
    address = links.address_of(film, member)

    reader.ask(address)
    reader.ask(address[:-1] + "_")

    assert [call.kwargs["status"] for call in logger.calls] == [200, 403]
    assert link_of(address).partition(":")[2][:-1] not in str(logger.calls)
