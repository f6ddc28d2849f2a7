"""The chat's pages, as they come from the server: what each visitor is told, and what works without JavaScript."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership, User
from accounts.tests.browser import text_of
from realtime.models import Attendance, Entry, EntryKind
from realtime.tests import rows
from realtime.tests.pages import browser_of, words
from realtime.views import SHOWN

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> \" ' {{ 7|add:7 }} \u202e javascript:alert(1)"


def get(path: str, user: User | None = None, status: int = 200) -> Any:
    answer = browser_of(user).get(path)
    assert answer.status_code == status, path
    return answer


def lapsed() -> User:
    user = rows.person()
    now = timezone.now()
    dates = {"starts_at": now - timedelta(days=30), "ends_at": now - timedelta(days=1)}
    Membership.objects.create(user=user, source=Membership.Source.STAFF, reason="a test", **dates)
    return user


def shown(page: Any) -> list[str]:
    """The texts of the messages, as the page has them."""
    return re.findall(r'<p class="chat-text[^"]*" dir="auto">(.*?)</p>', text_of(page), re.S)


# The rooms


def test_without_rooms_the_list_says_so_and_offers_staff_to_open_one() -> None:
    assert "No room is open yet." in words(get("/chat/"))
    assert "Open the first room" not in words(get("/chat/", rows.member()))
    assert "Open the first room" in words(get("/chat/", User.objects.create_superuser("kim", "kim@example.org", "x")))


def test_the_list_shows_names_topics_and_who_is_there_in_the_rooms_order() -> None:
    rows.members_room("second", name="Second", position=2, topic="Of cinnamon.", slow_mode_seconds=10)
    first = rows.room("first", name="First", position=1)
    Attendance.objects.create(process="a", room=first, people=[1, 2], guests=1)
    Attendance.objects.create(process="b", room=first, people=[2, 3], guests=0)
    page = words(get("/chat/"))
    assert page.index("First") < page.index("Second")
    assert "everyone 3 people and 1 guest here now" in page
    assert "members nobody is here now slow mode Of cinnamon." in page


def test_archived_rooms_are_not_listed_and_staff_s_only_for_staff() -> None:
    rows.room("old", name="The old room", is_archived=True)
    rows.staff_room("staff", name="The back room")
    assert "old room" not in words(get("/chat/"))
    assert "back room" not in words(get("/chat/", rows.member()))
    assert "back room" in words(get("/chat/", rows.colleague()))


def test_each_visitor_is_told_what_a_room_asks_of_them() -> None:
    room = rows.members_room("night")
    banned = rows.member()
    rows.ban(banned, room)
    stranger = get("/chat/")
    assert "For members: sign in, or see the plans." in words(stranger)
    assert "/accounts/login/?next=/chat/night/" in text_of(stranger)
    assert "For members. See the plans." in words(get("/chat/", lapsed()))
    assert "A moderator has shown you out of this room." in words(get("/chat/", banned))
    page = words(get("/chat/", rows.member()))
    assert "For members" not in page
    assert "shown you out" not in page


def test_a_stranger_may_read_a_public_room() -> None:
    rows.room("lobby")
    assert "You can read along. Sign in to write." in words(get("/chat/"))
    assert "read along" not in words(get("/chat/", rows.person()))


# A room


def test_a_room_that_is_not_there_and_one_for_staff_look_the_same() -> None:
    rows.staff_room("staff")
    for path in ("/chat/nothing/", "/chat/staff/"):
        get(path, status=404)
        get(path, rows.member(), status=404)
    get("/chat/staff/", rows.colleague())


def test_a_members_room_asks_a_stranger_to_sign_in_and_a_lapsed_member_for_a_plan() -> None:
    room = rows.members_room("night", topic="Keep the light low.")
    rows.entry(room, text="marzipan")
    assert get("/chat/night/", status=302).headers["location"] == "/accounts/login/?next=/chat/night/"
    page = get("/chat/night/", lapsed(), status=403)
    assert "This room is for members. See the plans" in words(page)
    assert "marzipan" not in text_of(page)
    assert "<script" not in text_of(page)


def test_whoever_is_banned_is_told_why_and_until_when() -> None:
    room = rows.room("lobby")
    banned = rows.person()
    rows.ban(banned, room, reason="shouting", until=timezone.now() + timedelta(hours=1))
    until = timezone.now() + timedelta(days=2)
    rows.ban(banned, None, reason="shouting again", until=until)
    page = get("/chat/lobby/", banned, status=403)
    assert f"until {until:%-d %B %Y, %H:%M} UTC" in words(page)
    assert "The reason: shouting again" in words(page)
    rows.ban(banned, room, reason="for good")
    page = words(get("/chat/lobby/", banned, status=403))
    assert "A moderator has shown you out of this room." in page
    assert "The reason: for good" in page


def test_the_last_messages_stand_in_the_page_with_their_numbers() -> None:
    room = rows.room("lobby")
    for made in rows.entries(room, SHOWN + 5):
        Entry.objects.filter(pk=made.pk).update(text=f"text {made.number}")
    page = get("/chat/lobby/")
    assert shown(page) == [f"text {number}" for number in range(6, SHOWN + 6)]
    assert f'data-first="6" data-last="{SHOWN + 5}"' in text_of(page)
    assert 'data-socket="/ws/chat/lobby/"' in text_of(page)


def test_an_empty_room_is_known_from_its_beginning() -> None:
    rows.room("lobby")
    assert 'data-first="1" data-last="0"' in text_of(get("/chat/lobby/"))


def test_numbers_are_written_without_separators(settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    room = rows.room("lobby", last_number=1233)
    rows.entry(room)
    assert 'data-first="1234" data-last="1234"' in text_of(get("/chat/lobby/"))


def test_a_deleted_message_is_named_as_such_and_its_deletion_is_known_though_not_shown() -> None:
    room = rows.room("lobby")
    rows.entry(room, text="", deleted_at=timezone.now())
    rows.entry(room, kind=EntryKind.DELETION, text="-", target=1)
    rows.entry(room, kind=EntryKind.NOTICE, text="Somebody was muted.")
    page = get("/chat/lobby/")
    assert shown(page) == ["This message was deleted.", "Somebody was muted."]
    assert 'data-first="1" data-last="3"' in text_of(page)


def test_a_hostile_message_is_text() -> None:
    room = rows.room("lobby", name=HOSTILE[:100], topic=HOSTILE)
    rows.entry(room, text=HOSTILE)
    page = text_of(get("/chat/lobby/"))
    assert "<img" not in page
    assert "<script>" not in page
    assert "14" not in words(get("/chat/lobby/")).partition("add:7")[0]
    assert shown(get("/chat/lobby/"))[0].startswith("&lt;script&gt;alert(1)")


def test_somebody_who_has_left_is_named_so() -> None:
    rows.entry(rows.room("lobby"), author_id=None)
    assert "Somebody who has left" in words(get("/chat/lobby/"))


def test_a_guest_is_asked_to_sign_in_and_a_member_is_told_what_needs_javascript() -> None:
    rows.room("lobby")
    page = get("/chat/lobby/")
    assert "Sign in to write" in words(page)
    assert 'href="/accounts/login/?next=/chat/lobby/"' in text_of(page)
    assert "data-me=" not in text_of(page)
    member = rows.member()
    page = get("/chat/lobby/", member)
    assert "needs JavaScript" in words(page)
    assert f'data-me="{member.pk}"' in text_of(page)
    assert "Sign in to write" not in words(page)


def test_a_page_holds_no_script_and_no_style_of_its_own() -> None:
    rows.room("lobby")
    for path in ("/chat/", "/chat/lobby/"):
        page = text_of(get(path, rows.member()))
        assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*src=)", page)


def test_a_room_costs_the_same_however_much_is_said_in_it() -> None:
    room = rows.room("lobby")
    rows.entry(room)
    with CaptureQueriesContext(
        connection,
    ) as few:
        get("/chat/lobby/")
    for _ in range(30):
        rows.entry(room)
    with CaptureQueriesContext(connection) as many:
        get("/chat/lobby/")
    assert len(many) == len(few) <= 5
