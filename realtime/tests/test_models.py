"""What the database itself holds to: numbers without a gap, messages once, a trail that is never rewritten."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from accounts.tests.threads import at_once
from realtime import log, moderation
from realtime.models import (
    MOST_CHARACTERS,
    Action,
    Entry,
    EntryKind,
    ModerationAction,
    Restriction,
    RestrictionKind,
    Room,
)
from realtime.tests import rows

pytestmark = pytest.mark.django_db


def numbers_of(room: Room) -> list[int]:
    return list(Entry.objects.filter(room=room).order_by("number").values_list("number", flat=True))


def say(room: Room, user: User, client_id: str, text: str = "hello") -> log.Stored:
    stored, _ = log.write(room.pk, [log.Draft(user.pk, client_id, text)])
    return stored[0]


def error_of(stored: log.Stored) -> str:
    assert stored.error is not None
    return stored.error.code


# --- Numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_leave_no_gap_and_nothing_twice() -> None:
    room, people, kim = rows.room(), [rows.person() for _ in range(4)], rows.moderator("kim")
    first = rows.entry(room)

    def talk(user: User) -> Callable[[], list[int | None]]:
        def act() -> list[int | None]:
            return [say(room, user, f"{user.pk}-{turn // 2}").number for turn in range(10)]  # each twice

        return act

    def moderate() -> list[int]:
        moderation.delete(Room.objects.get(pk=room.pk), first.number, by=kim)
        for turn in range(4):
            moderation.change_room(Room.objects.get(pk=room.pk), by=kim, slow_mode_seconds=0, topic=f"{turn}")
            moderation.change_room(Room.objects.get(pk=room.pk), by=kim, is_archived=False, position=turn + 1)
        return []

    def restrict() -> list[int]:
        for person in (rows.person("zoe"), rows.person("yan")):
            moderation.restrict(Room.objects.get(pk=room.pk), person, RestrictionKind.MUTE, by=kim, until=None)
        return []

    *told, _, _ = at_once(*(talk(user) for user in people), moderate, restrict, seconds=60)

    assert numbers_of(room) == list(range(1, 1 + 1 + 4 * 5 + 1 + 2))
    room.refresh_from_db()
    assert room.last_number == len(numbers_of(room))
    assert all(numbers[::2] == numbers[1::2] for numbers in told)  # again is the same
    assert all(numbers == sorted(numbers) for numbers in told)  # each author's in their order
    acknowledged = [number for numbers in told for number in numbers[::2]]
    assert len(set(acknowledged)) == 20


@pytest.mark.django_db(transaction=True)
def test_the_same_message_from_two_connections_at_once_is_stored_once() -> None:
    room, mara = rows.room(), rows.person("mara")
    told = at_once(*[lambda: say(room, mara, "same").number] * 4, seconds=60)
    assert told == [1, 1, 1, 1]
    assert numbers_of(room) == [1]


@pytest.mark.django_db(transaction=True)
def test_slow_mode_holds_whichever_process_is_asked() -> None:
    room, mara = rows.room(slow_mode_seconds=60), rows.person("mara")
    acts = [lambda name=name: say(room, mara, name) for name in ("a", "b", "c", "d")]
    told = at_once(*acts, seconds=60)
    assert [stored.number for stored in told if stored.error is None] == [1]
    refused = [stored.error for stored in told if stored.error is not None]
    assert [error.code for error in refused] == ["slow_mode"] * 3
    assert all(0 < (error.retry_after or 0) <= 60 for error in refused)


@pytest.mark.django_db(transaction=True)
def test_a_mute_holds_for_what_is_said_at_the_same_time() -> None:
    room, mara, kim = rows.room(), rows.person("mara"), rows.moderator("kim")

    def mute() -> None:
        moderation.restrict(Room.objects.get(pk=room.pk), mara, RestrictionKind.MUTE, by=kim, until=None)

    at_once(mute, *[lambda turn=turn: say(room, mara, f"m{turn}") for turn in range(6)], seconds=60)
    muted_at = Entry.objects.get(room=room, kind=EntryKind.NOTICE).number
    assert numbers_of(room)[-1] == muted_at, "something was said after it"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["say", "again", "delete"])), max_size=12))
def test_whatever_is_said_again_and_deleted_the_log_is_whole(acts: list[tuple[str, str]]) -> None:
    with transaction.atomic():
        room, kim = rows.room(), rows.moderator()
        people = {name: rows.person() for name in "ABC"}
        said: dict[str, list[tuple[str, int]]] = {name: [] for name in people}
        for turn, (name, act) in enumerate(acts):
            if act == "say":
                number = say(room, people[name], f"m{turn}", f"text {turn}").number
                assert number is not None
                said[name].append((f"m{turn}", number))
            elif said[name]:
                client_id, number = said[name][-1]
                if act == "again":
                    assert say(room, people[name], client_id, "another text").number == number
                else:
                    moderation.delete(room, number, by=kim)
        assert numbers_of(room) == list(range(1, len(numbers_of(room)) + 1))
        assert not Entry.objects.filter(room=room, text="another text").exists()
        gone = set(Entry.objects.filter(room=room).exclude(deleted_at=None).values_list("number", flat=True))
        told = list(Entry.objects.filter(room=room, kind=EntryKind.DELETION).values_list("target", flat=True))
        assert sorted(told) == sorted(gone)
        transaction.set_rollback(True)


# --- Messages ---------------------------------------------------------------------------------------------------------


def test_a_deleted_message_that_is_sent_again_stays_deleted() -> None:
    room, mara = rows.room(), rows.person("mara")
    assert say(room, mara, "once", "regretted").number == 1
    moderation.delete(room, 1, by=mara)
    assert say(room, mara, "once", "regretted").number == 1
    entry = Entry.objects.get(room=room, number=1)
    assert (entry.text, numbers_of(room)) == ("", [1, 2])


def test_a_message_that_was_stored_is_acknowledged_though_its_author_may_not_write_any_more() -> None:
    room, mara = rows.room(slow_mode_seconds=60), rows.person("mara")
    assert say(room, mara, "once").number == 1
    assert say(room, mara, "once").number == 1, "in slow mode"
    assert error_of(say(room, mara, "another")) == "slow_mode"
    rows.restriction(mara, room, kind="mute")
    assert say(room, mara, "once").number == 1, "muted"
    assert error_of(say(room, mara, "another")) == "muted"
    assert numbers_of(room) == [1]


def test_what_was_stored_and_what_is_new_may_come_together() -> None:
    room, mara, ash = rows.room(), rows.person("mara"), rows.person("ash")
    say(room, mara, "a", "one")
    texts = {"b": "two", "a": "one", "c": "three"}
    drafts = [log.Draft(user.pk, name, text) for user in (mara, ash) for name, text in texts.items()]
    stored, entries = log.write(room.pk, drafts)
    assert [one.number for one in stored] == [2, 1, 3, 4, 5, 6]
    assert [(entry.number, entry.text) for entry in entries] == [
        (2, "two"), (3, "three"), (4, "two"), (5, "one"), (6, "three"),
    ]  # fmt: skip
    assert numbers_of(room) == [1, 2, 3, 4, 5, 6]


def test_to_delete_a_message_does_not_shorten_slow_mode() -> None:
    room, mara = rows.room(slow_mode_seconds=60), rows.person("mara")
    say(room, mara, "a")
    moderation.delete(room, 1, by=mara)
    assert error_of(say(room, mara, "b")) == "slow_mode"


def test_slow_mode_ends_by_the_clock_and_holds_no_moderator() -> None:
    room, mara, kim = rows.room(slow_mode_seconds=60), rows.person("mara"), rows.moderator("kim")
    say(room, mara, "a")
    Entry.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    assert say(room, mara, "b").number == 2
    assert [say(room, kim, name).number for name in ("a", "b")] == [3, 4]


def test_slow_mode_forgets_what_a_clock_said_that_was_set_back() -> None:
    room, mara = rows.room(slow_mode_seconds=60), rows.person("mara")
    say(room, mara, "a")
    Entry.objects.update(created_at=timezone.now() + timedelta(hours=1))

    assert say(room, mara, "b").number == 2
    assert error_of(say(room, mara, "c")) == "slow_mode"


def test_slow_mode_counts_each_room_for_itself() -> None:
    mara = rows.person("mara")
    for room in (rows.room(slow_mode_seconds=60), rows.room(slow_mode_seconds=60)):
        assert say(room, mara, "a").number == 1


@pytest.mark.parametrize(
    ("text", "code"), [("", "empty"), ("x" * (MOST_CHARACTERS + 1), "too_long"), ("x" * MOST_CHARACTERS, "")]
)
def test_a_message_has_a_length(text: str, code: str) -> None:
    stored = say(rows.room(), rows.person(), "a", text)
    assert (stored.error.code if stored.error else "") == code


@pytest.mark.parametrize(("kind", "code"), [("mute", "muted"), ("ban", "forbidden")])
def test_who_is_restricted_says_nothing(kind: str, code: str) -> None:
    room, mara = rows.room(), rows.person("mara")
    rows.restriction(mara, room, kind=kind)
    assert error_of(say(room, mara, "a")) == code
    assert numbers_of(room) == []


def test_in_an_archived_room_nobody_writes() -> None:
    room = rows.room(is_archived=True)
    told = [error_of(say(room, user, "a")) for user in (rows.person(), rows.moderator())]
    assert told == ["read_only", "read_only"]


def test_of_those_who_write_together_each_is_judged_alone() -> None:
    room, mara, ash = rows.members_room(), rows.member("mara"), rows.person("ash")
    drafts = [log.Draft(mara.pk, "a", "one"), log.Draft(ash.pk, "a", "two"), log.Draft(10**9, "a", "three")]
    stored, entries = log.write(room.pk, drafts)
    assert [one.number for one in stored] == [1, None, None]
    assert [entry.text for entry in entries] == ["one"]


# --- The trail --------------------------------------------------------------------------------------------------------


@pytest.fixture
def trail() -> ModerationAction:
    return rows.action(
        rows.moderator("kim"),
        subject=rows.person(),
        room=rows.room(),
        entry_number=4,
        reason="spam",
        detail="for an hour",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"actor_name": "lee"},
        {"reason": "something else"},
        {"detail": "for a day"},
        {"action": Action.BAN},
        {"entry_number": None},
        {"entry_number": 5},
        {"at": F("at") - timedelta(days=1)},
    ],
)
def test_a_row_of_the_trail_is_never_rewritten(trail: ModerationAction, change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="never rewritten"), transaction.atomic():
        ModerationAction.objects.filter(pk=trail.pk).update(**change)


@pytest.mark.parametrize("name", ["actor", "subject", "room"])
def test_it_is_never_said_of_somebody_else(trail: ModerationAction, name: str) -> None:
    other = rows.room() if name == "room" else rows.person()
    with pytest.raises(IntegrityError, match="never rewritten"), transaction.atomic():
        ModerationAction.objects.filter(pk=trail.pk).update(**{name: other})


def test_it_outlives_those_whom_it_names(trail: ModerationAction) -> None:
    for row in (trail.room, trail.subject, trail.actor):
        assert row is not None
        row.delete()
    trail.refresh_from_db()
    assert (trail.actor, trail.subject, trail.room, trail.actor_name) == (None, None, None, "kim")


# --- Reads ------------------------------------------------------------------------------------------------------------


def test_restrictions_are_in_force_or_over_or_lifted_and_never_two_of_them() -> None:
    now, mara = timezone.now(), rows.person("mara")
    hour = timedelta(hours=1)
    for until in (None, now - hour, now + hour):
        for lifted_at in (None, now - hour):
            rows.restriction(mara, until=until, lifted_at=lifted_at)
    every = Restriction.objects.all()
    parts = [set(every.in_force()), set(every.over()), set(every.lifted())]
    assert [len(part) for part in parts] == [2, 1, 3]
    assert set.union(*parts) == set(every)
    assert {row for row in every if row.is_in_force()} == parts[0]
