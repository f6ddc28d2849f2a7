"""Who may be in a room, write and moderate: the whole table."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.utils import timezone

from accounts import membership
from accounts.models import User
from realtime import access
from realtime.access import Rights
from realtime.models import Audience, Restriction, Room
from realtime.tests import rows

pytestmark = pytest.mark.django_db

GUEST = Rights(why_not="Sign in to write.")
WRITES = Rights(may_write=True)
MODERATES = Rights(may_write=True, may_moderate=True)
MUTED = Rights(why_not="A moderator has muted you.")

WHO: dict[str, Callable[[], Any]] = {
    "nobody": lambda: None,
    "visitor": AnonymousUser,
    "inactive": lambda: rows.member(is_active=False),
    "person": rows.person,
    "member": rows.member,
    "colleague": rows.colleague,
    "moderator": rows.moderator,
    "superuser": lambda: User.objects.create_superuser("root", "root@example.org", rows.PASSWORD),
}
# For each: in a room for everyone, for members, for staff.
UNRESTRICTED = {
    "nobody": [GUEST, Rights("unauthenticated"), Rights("not_found")],
    "visitor": [GUEST, Rights("unauthenticated"), Rights("not_found")],
    "inactive": [GUEST, Rights("unauthenticated"), Rights("not_found")],
    "person": [WRITES, Rights("forbidden"), Rights("not_found")],
    "member": [WRITES, WRITES, Rights("not_found")],
    "colleague": [WRITES, Rights("forbidden"), WRITES],  # to be staff makes nobody a member
    "moderator": [MODERATES, MODERATES, MODERATES],
    "superuser": [MODERATES, MODERATES, MODERATES],
}
AUDIENCES = list(Audience)


def expected(who: str, audience: Audience, kind: str, is_archived: bool) -> Rights:
    """The table above, with what a restriction and the archive take away."""
    found = UNRESTRICTED[who][AUDIENCES.index(audience)]
    if found.may_write and not found.may_moderate and kind:
        found = Rights("banned") if kind == "ban" else MUTED
    if found.may_write and is_archived:
        why = "This room is archived: it can be read, not written in."
        return Rights(may_moderate=found.may_moderate, why_not=why)
    return found


@pytest.mark.parametrize("who", WHO)
def test_the_table(who: str) -> None:
    somebody = WHO[who]()
    for audience, is_archived in product(AUDIENCES, (False, True)):
        room = rows.room(audience=audience, is_archived=is_archived)
        for kind, place in [("", None), *product(("mute", "ban"), (room, None))]:
            Restriction.objects.all().delete()
            if kind and isinstance(somebody, User):
                rows.restriction(somebody, place, kind=kind, until=None)
            told = f"{audience}, {kind or 'free'}, {'archived' if is_archived else 'open'}"
            assert access.rights(room, somebody) == expected(who, audience, kind, is_archived), told


def test_somebody_whose_membership_lapses_is_in_until_then() -> None:
    room, person, end = rows.members_room(), rows.person(), timezone.now() + timedelta(hours=1)
    membership.give(user=person, by=None, reason="a test", until=end)
    assert access.rights(room, person, end - timedelta(seconds=1)) == WRITES
    assert access.rights(room, person, end) == Rights("forbidden")


# --- Restrictions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def room() -> Room:
    return rows.room()


@pytest.fixture
def person() -> User:
    return rows.person("mara")


def test_a_restriction_holds_until_its_end(room: Room, person: User) -> None:
    end = timezone.now() + timedelta(hours=1)
    rows.ban(person, room, until=end)
    assert access.rights(room, person, end - timedelta(seconds=1)) == Rights("banned")
    assert access.rights(room, person, end) == WRITES


def test_a_restriction_that_is_lifted_is_none(room: Room, person: User) -> None:
    rows.ban(person, room, lifted_at=timezone.now())
    assert access.rights(room, person) == WRITES


def test_a_restriction_that_begins_later_is_none_yet(room: Room, person: User) -> None:
    start = timezone.now() + timedelta(hours=1)
    made = rows.ban(person, room, created_at=start)
    assert access.rights(room, person) == WRITES
    assert not made.is_in_force()
    assert access.rights(room, person, start) == Rights("banned")


def test_a_restriction_of_another_room_is_none(room: Room, person: User) -> None:
    rows.ban(person, rows.room())
    assert access.rights(room, person) == WRITES


def test_a_restriction_of_somebody_else_is_none(room: Room, person: User) -> None:
    rows.ban(rows.person(), room)
    assert access.rights(room, person) == WRITES


def test_a_ban_counts_for_more_than_a_mute(room: Room, person: User) -> None:
    rows.restriction(person, room)
    rows.ban(person)
    assert access.rights(room, person) == Rights("banned")


def test_of_two_mutes_the_later_end_counts(room: Room, person: User) -> None:
    later = timezone.now() + timedelta(hours=5)
    rows.restriction(person, room)
    rows.restriction(person, until=later)
    assert access.rights(room, person).muted_until == later


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_mutes_the_one_without_an_end_counts(room: Room, person: User, order: tuple[int, int]) -> None:
    ends = (None, timezone.now() + timedelta(hours=1))
    for place in order:
        rows.restriction(person, room, until=ends[place])
    assert access.rights(room, person) == MUTED


def test_whoever_becomes_a_moderator_is_free(room: Room) -> None:
    kim = rows.colleague("kim")
    rows.ban(kim, room)
    assert access.rights(room, kim) == Rights("banned")
    kim.user_permissions.add(Permission.objects.get(codename="moderate_room"))
    assert access.rights(room, User.objects.get(pk=kim.pk)) == MODERATES


# --- Moderating -------------------------------------------------------------------------------------------------------


def test_a_group_makes_moderators_too() -> None:
    kim = rows.colleague("kim")
    group = Group.objects.create(name="moderators")
    group.permissions.add(Permission.objects.get(codename="moderate_room"))
    kim.groups.add(group)
    assert access.may_moderate(User.objects.get(pk=kim.pk))


@pytest.mark.parametrize("missing", ["is_staff", "is_active"])
def test_a_moderator_is_staff_and_active(missing: str) -> None:
    kim = rows.moderator("kim")
    assert access.may_moderate(kim)
    User.objects.filter(pk=kim.pk).update(**{missing: False})
    assert not access.may_moderate(User.objects.get(pk=kim.pk))


def test_to_change_rooms_makes_nobody_a_moderator() -> None:
    assert not access.may_moderate(rows.colleague("kim", "change_room", "delete_entry", "add_restriction"))


@pytest.mark.parametrize("who", ["nobody", "visitor"])
def test_who_is_nobody_is_no_moderator(who: str) -> None:
    assert not access.may_moderate(WHO[who]())


# --- Lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "names"),
    [
        ("nobody", ["lobby", "den"]),
        ("person", ["lobby", "den"]),
        ("member", ["lobby", "den"]),
        ("inactive", ["lobby", "den"]),
        ("colleague", ["lobby", "den", "office"]),
        ("moderator", ["lobby", "den", "office"]),
    ],
)
def test_what_a_list_shows(who: str, names: list[str]) -> None:
    made = [rows.room("lobby"), rows.members_room("den"), rows.staff_room("office"), rows.room("old", is_archived=True)]
    assert [room.slug for room in access.visible(made, WHO[who]())] == names
