"""What the chat knows about a person: exported whole, and parted from them."""

import json
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.utils import timezone

from accounts import deletion, personal_data
from accounts.models import User
from realtime import changes, log, moderation, own_data
from realtime.models import (
    AccessChange,
    Action,
    Attendance,
    Entry,
    EntryKind,
    ModerationAction,
    Report,
    Resolution,
    Restriction,
    RestrictionKind,
    Room,
)
from realtime.tests import rows

pytestmark = pytest.mark.django_db
NOTHING: dict[str, Any] = {
    "messages": [],
    "reports": [],
    "reported": [],
    "restrictions": [],
    "moderators_did": [],
    "did_as_moderator": [],
    "present_in": [],
    "access_changed_at": [],
}


@pytest.fixture
def room() -> Room:
    return rows.room("lobby")


@pytest.fixture
def kim() -> User:
    return rows.moderator("kim")


@pytest.fixture
def mara(room: Room, kim: User) -> User:
    """Somebody of whom there is everything that there can be."""
    mara, ash = rows.person("mara"), rows.person("ash")
    rows.entry(room, mara, "what mara said", client_id="mara-1")
    rows.entry(room, ash, "what ash said")
    rows.entry(room, mara, "what mara said and was deleted")
    moderation.report(room, 1, by=ash, reason="ash about mara")
    moderation.report(room, 2, by=mara, reason="mara about ash")
    moderation.report(room, 3, by=ash, reason="ash about mara again")
    moderation.delete(room, 3, by=kim, reason="kim about mara")
    moderation.restrict(room, mara, RestrictionKind.MUTE, by=kim, until=None, reason="kim about mara")
    moderation.restrict(None, mara, RestrictionKind.BAN, by=kim, until=None, reason="kim about mara")
    moderation.lift_all(room, mara, RestrictionKind.MUTE, by=kim)
    Attendance.objects.create(process="one", room=room, people=[ash.pk, mara.pk])
    AccessChange.objects.all().delete()
    changes.leave_word(user_id=mara.pk)
    return mara


def told(user: User) -> dict[str, Any]:
    found: dict[str, Any] = personal_data.export(user)["chat"]
    assert json.loads(json.dumps(found)) == found
    return found


def test_a_person_gets_everything_and_nothing_of_others(mara: User) -> None:
    found = told(mara)
    assert [(row["room"], row["number"], row["text"]) for row in found["messages"]] == [
        ("lobby", 1, "what mara said"),
        ("lobby", 3, ""),
    ]
    assert [row["deleted_at"] is None for row in found["messages"]] == [True, False]
    assert [(row["number"], row["reason"], row["became"]) for row in found["reports"]] == [
        (2, "mara about ash", "open")
    ]
    assert [(row["number"], row["text"]) for row in found["reported"]] == [
        (1, "what mara said"),
        (3, "what mara said and was deleted"),
    ]
    assert [(row["room"], row["kind"], row["lifted_at"] is None) for row in found["restrictions"]] == [
        ("lobby", "mute", False),
        (None, "ban", True),
    ]
    assert [row["action"] for row in found["moderators_did"]] == ["delete", "mute", "ban", "lift"]
    assert found["did_as_moderator"] == []
    assert found["present_in"] == ["lobby"]
    assert len(found["access_changed_at"]) == 1
    text = json.dumps(found)
    assert "ash about mara" not in text
    assert "what ash said" not in text
    assert "kim" not in text.replace("kim about mara", "")


def test_a_moderator_gets_what_they_did(mara: User, kim: User) -> None:
    assert [row["action"] for row in told(kim)["did_as_moderator"]] == ["delete", "mute", "ban", "lift"]


def test_who_was_never_there_is_told_so() -> None:
    assert told(rows.person()) == NOTHING


def test_the_export_costs_the_same_however_much_there_is(
    room: Room, mara: User, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12) as few:
        own_data.export(mara)
    number = len(few)
    for entry in rows.entries(room, 5, mara):
        rows.report(entry)
        rows.report(rows.entry(rows.room()), mara)
    with django_assert_num_queries(number):
        own_data.export(mara)


def everything() -> str:
    """All that the chat's tables hold, as text."""
    found = [list(model.objects.values()) for model in apps.get_app_config("realtime").get_models()]  # type: ignore[attr-defined]
    return json.dumps(found, default=str)


def test_after_erasing_nothing_says_who_it_was_or_what_they_said(mara: User) -> None:
    before = everything()
    assert all(words in before for words in ("what mara said", "mara about ash", "ash about mara", "mara was muted"))
    erase(mara)
    after = everything()
    assert "mara" not in after
    assert "what ash said" in after


def erase(user: User) -> int:
    """Erase the account, as the command does; its id."""
    pk = user.pk
    deletion.erase(User.objects.get(pk=pk))
    assert not User.objects.filter(pk=pk).exists()
    return int(pk)


def test_after_erasing_no_row_holds_the_persons_id(mara: User) -> None:
    pk = erase(mara)
    for model in apps.get_app_config("realtime").get_models():
        for field in model._meta.get_fields():
            if isinstance(field, models.ForeignKey) and field.related_model is User:
                assert not model.objects.filter(**{field.name: pk}).exists()  # type: ignore[attr-defined]
    assert all(pk not in row.people for row in Attendance.objects.all())
    assert set(AccessChange.objects.values_list("user_id", flat=True)) == {pk}  # for minutes: its connections end by it


def test_after_erasing_the_numbers_are_what_they_were(room: Room, mara: User) -> None:
    before = list(Entry.objects.order_by("number").values_list("number", "kind", "created_at"))
    erase(mara)
    assert list(Entry.objects.order_by("number").values_list("number", "kind", "created_at")) == before
    shown = log.after(room.pk, 0, 100)
    assert [(entry.number, entry.text) for entry in shown if entry.kind == "message"] == [
        (1, ""),
        (2, "what ash said"),
        (3, ""),
    ]
    assert all(entry.deleted and entry.author is None for entry in shown if entry.number in {1, 3})
    assert [entry.text for entry in shown if entry.kind == "notice"] == [own_data.NOTICE] * 2


def test_when_a_message_was_deleted_stays_what_it_was(mara: User) -> None:
    before = Entry.objects.get(number=3).deleted_at
    erase(mara)
    assert Entry.objects.get(number=3).deleted_at == before


def test_what_waited_for_a_moderator_waits_no_more(mara: User) -> None:
    erase(mara)
    assert set(Report.objects.filter(entry__number=1).values_list("resolution", "reason", "text")) == {
        (Resolution.ACTED, "", "")
    }
    theirs = Report.objects.get(entry__number=2)
    assert (theirs.reporter, theirs.reason, theirs.text) == (None, "", "what ash said")
    assert theirs.resolution == Resolution.OPEN  # of somebody else's message: it still waits
    assert not Restriction.objects.exists()


def test_the_trail_keeps_that_something_was_done_and_not_to_whom(mara: User) -> None:
    before = list(ModerationAction.objects.values_list("pk", "at", "action", "actor_name", "entry_number"))
    erase(mara)
    assert list(ModerationAction.objects.values_list("pk", "at", "action", "actor_name", "entry_number")) == before
    assert set(ModerationAction.objects.values_list("subject", "reason")) == {(None, "")}


def test_a_moderators_name_goes_with_their_account_and_what_they_did_stays(room: Room, mara: User, kim: User) -> None:
    erase(kim)
    assert set(ModerationAction.objects.values_list("actor", "actor_name")) == {(None, "")}
    assert Restriction.objects.in_force().get().user == mara
    entry = Entry.objects.get(number=3)
    assert entry.deleted_at is not None
    assert entry.deleted_by is None
    assert str(ModerationAction.objects.earliest("at")) == "Somebody deleted a message"


def test_erasing_somebody_leaves_everybody_else_alone(room: Room, mara: User) -> None:
    zoe = rows.person("zoe")
    moderation.restrict(room, zoe, RestrictionKind.MUTE, by=rows.moderator("lee"), until=None, reason="zoe's")
    erase(mara)
    assert Restriction.objects.get().user == zoe
    assert "zoe was muted until a moderator lifts it." in Entry.objects.values_list("text", flat=True)
    assert ModerationAction.objects.get(subject=zoe).reason == "zoe's"


def test_a_notice_of_a_room_that_is_gone_stops_nothing(kim: User) -> None:
    zoe = rows.person("zoe")
    rows.action(kim, action=Action.BAN, subject=zoe, room=None, entry_number=1)
    rows.action(kim, action=Action.BAN, subject=zoe, room=rows.room(), entry_number=None)
    rows.entry(rows.room(), kind=EntryKind.NOTICE, text="another", author=rows.person())
    erase(zoe)
    assert Entry.objects.get().text == "another"


def test_the_erased_are_erased_whatever_else_happened_to_them(room: Room) -> None:
    zoe = rows.person("zoe")
    rows.entry(room, zoe, deleted_at=timezone.now(), deleted_by=zoe, text="")
    erase(zoe)
    assert Entry.objects.get().deleted_by is None
