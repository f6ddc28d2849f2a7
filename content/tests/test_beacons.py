"""POST /watch/beacons/: what players tell, and what is not taken from anybody."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import membership
from accounts.models import User
from bambisleep.tests.client import AsgiClient
from content import players
from content.models import Item, Player, Viewing
from content.tests import rows

PATH = "/watch/beacons/"


def token(film: Item, user: Any = None) -> str:
    """Of a page that was loaded a minute ago."""
    media = film.media
    assert media is not None
    return players.token(film, media, user or AnonymousUser(), at=timezone.now() - timedelta(minutes=1))


def beacon(film: Item, user: Any = None, **more: Any) -> dict[str, Any]:
    values = {"token": token(film, user), "sequence": 1, "played": 5.5, "position": 6, "duration": 60}
    return {**values, "segments": [[0, 6]], **more}


@pytest.fixture
def film(db: None) -> Item:
    """A public film."""
    return rows.film()


@pytest.fixture
def browser() -> Client:
    """With CSRF checks, as real ones meet them."""
    return Client(enforce_csrf_checks=True)


def post(browser: Client, body: Any, **headers: str) -> Any:
    return browser.post(PATH, body, content_type="application/json", headers=headers)


def test_a_strangers_beacon_is_taken_and_told_so(browser: Client, film: Item) -> None:
    answer = post(browser, beacon(film, device=str(uuid.uuid4())))
    assert (answer.status_code, answer.json()) == (200, {"accepted": True})
    row = Viewing.objects.get()
    assert (row.user, row.item, row.played_seconds, row.position_seconds, row.duration_seconds, row.watched) == (
        None, film, 5.5, 6.0, 60.0, 0b11,
    )  # fmt: skip


def test_the_same_beacon_again_is_answered_and_left_aside(browser: Client, film: Item) -> None:
    body = beacon(film)
    post(browser, body)
    answer = post(browser, {**body, "played": 50})
    assert (answer.status_code, answer.json()) == (200, {"accepted": False})
    assert Viewing.objects.get().played_seconds == 5.5


def test_a_members_device_is_made_by_us_whatever_the_body_says(browser: Client, film: Item, member: User) -> None:
    browser.force_login(member)
    told = uuid.uuid4()
    post(browser, beacon(film, member, device=str(told)))
    row = Viewing.objects.get()
    assert row.user == member
    assert told.hex not in row.device
    assert browser.session.session_key not in row.device


def test_two_browsers_of_one_member_are_two_viewings_two_tabs_are_one(film: Item, member: User) -> None:
    for _ in range(2):
        browser = Client()
        browser.force_login(member)
        for _ in range(2):
            assert post(browser, beacon(film, member)).status_code == 200
    assert Viewing.objects.count() == 2
    assert Player.objects.count() == 4


def test_who_goes_on_plays_on_where_they_were(browser: Client, film: Item, member: User, rf: Any) -> None:
    browser.force_login(member)
    post(browser, beacon(film, member, position=30, duration=100))
    request = rf.get("/")
    request.user = member
    context = players.context(request, film)
    assert context is not None
    assert context["position_seconds"] == 30


@pytest.mark.parametrize("of", ["another", "nobody"])
def test_a_token_of_somebody_else_is_refused(browser: Client, film: Item, member: User, staff: User, of: str) -> None:
    browser.force_login(member)
    answer = post(browser, beacon(film, staff if of == "another" else None))
    assert (answer.status_code, answer.json()["code"]) == (403, "other_user")
    assert not Viewing.objects.exists()


def test_a_members_token_is_refused_where_nobody_is_signed_in(browser: Client, film: Item, member: User) -> None:
    assert post(browser, beacon(film, member)).json()["code"] == "other_user"


@given(where=st.floats(0, 1, exclude_max=True), other=st.characters(min_codepoint=33, max_codepoint=126))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.django_db
def test_an_altered_token_is_none_of_ours(where: float, other: str) -> None:
    made = players.token(Item(pk=1), rows.MediaFile(), AnonymousUser())
    index = int(where * len(made))
    altered = made[:index] + other + made[index + 1 :]
    assert altered == made or players.read(altered) is None


@pytest.mark.parametrize("told", ["", "x", "a.b:c", "\0", "é" * 500, "." * 1000])
def test_a_token_that_is_none_is_refused_and_recorded(browser: Client, film: Item, told: str, metric: Any) -> None:
    before = metric("security_events_total", type="bad_signature")
    answer = post(browser, beacon(film, token=told))
    assert answer.status_code == (403 if told.strip("\0") else 400)
    assert metric("security_events_total", type="bad_signature") == before + (answer.status_code == 403)


def test_a_token_signed_by_the_former_key_is_taken(browser: Client, film: Item, settings: Any) -> None:
    body = beacon(film)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, long enough to be one" * 2
    assert post(browser, body).status_code == 200


BAD = [
    ("played", -1), ("played", "5"), ("played", True), ("played", None), ("played", [5]), ("played", 1e9),
    ("position", -0.1), ("position", "NaN"), ("position", 10**40), ("duration", -5), ("duration", "long"),
    ("sequence", 0), ("sequence", -1), ("sequence", 1.5), ("sequence", True), ("sequence", 2**31), ("sequence", "1"),
    ("segments", [[1]]), ("segments", [[1, 2, 3]]), ("segments", [[0, 1]] * 51), ("segments", "all"),
    ("segments", [[0, "1"]]), ("segments", [[-1, 1]]), ("segments", {}), ("device", "me"), ("device", [5]),
    ("token", None), ("token", [5]), ("token", "x" * 1001),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_is_no_beacon_is_said_to_be_none_by_field(browser: Client, film: Item, name: str, value: Any) -> None:
    answer = post(browser, beacon(film, **{name: value}))
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [name]
    assert not Viewing.objects.exists()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_has_not_are_refused(browser: Client, film: Item, text: str) -> None:
    body = json.dumps(beacon(film, played="HERE")).replace('"HERE"', text)
    assert post(browser, body).status_code == 400
    assert not Viewing.objects.exists()


@pytest.mark.parametrize("missing", ["token", "sequence", "played", "position"])
def test_a_beacon_needs_these(browser: Client, film: Item, missing: str) -> None:
    body = beacon(film)
    del body[missing]
    assert list(post(browser, body).json()["errors"]) == [missing]


@pytest.mark.parametrize("missing", ["device", "duration", "segments"])
def test_a_beacon_may_do_without_these(browser: Client, film: Item, missing: str) -> None:
    body = beacon(film)
    body.pop(missing, None)
    assert post(browser, body).status_code == 200


@pytest.mark.parametrize("body", ["", "{", "[]", "5", "null", '"token"', "[" * 5_000, '{"token":' * 300])
def test_a_body_that_is_no_object_is_a_mistake_of_the_client(browser: Client, db: None, body: str) -> None:
    assert post(browser, body).status_code == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(["token", "device", "sequence", "played", "position", "duration", "segments"])


@pytest.mark.django_db
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.dictionaries(fields, json_values, min_size=1, max_size=4))
def test_no_json_is_an_error_of_ours(changes: dict[str, Any]) -> None:
    body = json.dumps(beacon(rows.film(), **changes))
    assert post(Client(), body).status_code in {200, 400, 403}


def test_a_long_beacon_is_refused(browser: Client, film: Item) -> None:
    body = json.dumps(beacon(film)).replace("{", "{" + " " * 8192, 1)
    assert post(browser, body).status_code == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_is_no_beacon(browser: Client, film: Item, kind: str) -> None:
    """These are what another site's page may send without asking first."""
    answer = browser.post(PATH, json.dumps(beacon(film)), content_type=kind)
    assert answer.status_code == 415
    assert not Viewing.objects.exists()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://testserver.evil.example", "https://testserver"]
)
def test_another_sites_page_is_refused_and_recorded(browser: Client, film: Item, origin: str, metric: Any) -> None:
    before = metric("security_events_total", type="bad_origin")
    answer = post(browser, beacon(film), Origin=origin)
    assert (answer.status_code, answer.json()["code"]) == (403, "bad_origin")
    assert metric("security_events_total", type="bad_origin") == before + 1
    assert not Viewing.objects.exists()


def test_this_sites_own_pages_need_no_csrf_token(browser: Client, film: Item) -> None:
    assert post(browser, beacon(film), Origin="http://testserver").status_code == 200


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_beacons_are_posted(browser: Client, db: None, method: str) -> None:
    assert getattr(browser, method)(PATH).status_code == 405


def test_an_item_that_is_not_published_any_more_is_refused(browser: Client, film: Item, metric: Any) -> None:
    body = beacon(film)
    Item.objects.update(published_at=None)
    before = metric("content_denied_total", reason="not_published")
    answer = post(browser, body)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_published")
    assert metric("content_denied_total", reason="not_published") == before + 1


def test_a_member_whose_membership_ended_is_refused(browser: Client, member: User) -> None:
    film = rows.film(visibility="members")
    given = membership.give(user=member, by=None, reason="a test")
    browser.force_login(member)
    body = beacon(film, member)
    assert post(browser, body).status_code == 200
    membership.end(given)
    answer = post(browser, {**body, "sequence": 2})
    assert (answer.status_code, answer.json()["code"]) == (403, "lapsed")
    assert Viewing.objects.get().played_seconds == 5.5


def test_an_item_that_is_gone_is_not_found(browser: Client, film: Item) -> None:
    body = beacon(film)
    film.delete()
    assert post(browser, body).status_code == 404


def test_a_beacon_costs_few_queries(browser: Client, film: Item, django_assert_max_num_queries: Any) -> None:
    body = beacon(film)
    with django_assert_max_num_queries(10):
        post(browser, body)
    with django_assert_max_num_queries(9):
        post(browser, {**body, "sequence": 2, "played": 7})


def test_through_the_edge_it_is_one_of_the_sites_routes(asgi: AsgiClient, film: Item, metric: Any) -> None:
    before = metric("http_requests_total", route="/watch/beacons/", status="200")
    assert asgi.post(PATH, json=beacon(film)).json == {"accepted": True}
    assert metric("http_requests_total", route="/watch/beacons/", status="200") == before + 1


# The page


def test_staffs_preview_is_given_no_token(staff: User, rf: Any) -> None:
    draft, film = rows.film(published_at=None), rows.film()
    request = rf.get("/", {"as": "member"})
    request.user = staff
    for item in (draft, film):
        context = players.context(request, item)
        assert context is not None
        assert context["token"] == ""
    request = rf.get("/")
    request.user = staff
    watching = players.context(request, film)
    assert watching is not None
    assert players.read(watching["token"]) is not None


def test_an_article_has_no_player(rf: Any, db: None) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    assert players.context(request, rows.item()) is None
