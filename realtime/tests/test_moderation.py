"""What moderators do and members ask for: who may, what comes of it, and what stands in the audit trail."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from realtime import hub, moderation, protocol
from realtime.models import (
    MOST_REASON,
    AccessChange,
    Action,
    Entry,
    EntryKind,
    ModerationAction,
    Report,
    Resolution,
    Restriction,
    RestrictionKind,
    Room,
)
from realtime.moderation import Refused
from realtime.tests import rows
from realtime.tests.talking import talking
from realtime.threads import in_database

pytestmark = pytest.mark.django_db
MUTE, BAN = RestrictionKind.MUTE, RestrictionKind.BAN


@pytest.fixture
def room() -> Room:
    return rows.room("lobby")


@pytest.fixture
def kim() -> User:
    return rows.moderator("kim")


@pytest.fixture
def ash() -> User:
    return rows.person("ash")


def ask(room: Room, user: User, request: moderation.Request) -> list[protocol.Entry]:
    """As a connection does."""
    return moderation.perform(room.pk, user.pk, request)


def refusal(room: Room, user: User, request: moderation.Request) -> str:
    before = (Entry.objects.count(), Restriction.objects.count(), ModerationAction.objects.count())
    with pytest.raises(Refused) as refused:
        ask(room, user, request)
    assert (Entry.objects.count(), Restriction.objects.count(), ModerationAction.objects.count()) == before
    return refused.value.code


def trail() -> list[tuple[str, str, str | None, int | None, str, str]]:
    rows = ModerationAction.objects.select_related("subject").order_by("pk")
    return [
        (
            row.actor_name,
            row.action,
            row.subject.username if row.subject else None,
            row.entry_number,
            row.reason,
            row.detail,
        )
        for row in rows
    ]


# --- Who may ----------------------------------------------------------------------------------------------------------

REQUESTS: dict[str, Any] = {
    "delete": lambda ash: protocol.Delete(number=1),
    "mute": lambda ash: protocol.Restrict(action="mute", user=ash.pk),
    "ban": lambda ash: protocol.Restrict(action="ban", user=ash.pk),
    "lift": lambda ash: protocol.Lift(action="mute", user=ash.pk),
}


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.parametrize("who", [rows.person, rows.member, rows.colleague])
def test_only_moderators_moderate(room: Room, ash: User, what: str, who: Any) -> None:
    rows.entry(room, ash)
    rows.restriction(ash, room)
    assert refusal(room, who(), REQUESTS[what](ash)) == "forbidden"


@pytest.mark.parametrize("what", REQUESTS)
def test_somebody_who_may_not_be_there_does_nothing_there(ash: User, what: str) -> None:
    room, outsider = rows.members_room(), rows.person()
    rows.entry(room, outsider)
    assert refusal(room, outsider, REQUESTS[what](ash)) == "forbidden"


def test_who_was_deactivated_meanwhile_does_nothing(room: Room, kim: User, ash: User) -> None:
    rows.entry(room, ash)
    User.objects.filter(pk=kim.pk).update(is_active=False)
    assert refusal(room, kim, protocol.Delete(number=1)) == "forbidden"


def test_in_a_room_that_is_gone_nothing_is_done(room: Room, kim: User) -> None:
    Room.objects.all().delete()
    assert refusal(room, kim, protocol.Delete(number=1)) == "forbidden"


@pytest.mark.parametrize("kind", [MUTE, BAN])
@pytest.mark.parametrize("other", [rows.moderator, lambda: User.objects.create_superuser("root", "r@example.org", "x")])
def test_moderators_do_nothing_to_one_another(room: Room, kim: User, kind: str, other: Any) -> None:
    assert refusal(room, kim, protocol.Restrict(action=kind, user=other().pk)) == "forbidden"
    assert refusal(room, kim, protocol.Restrict(action=kind, user=kim.pk)) == "forbidden"


def test_staff_who_do_not_moderate_can_be_muted(room: Room, kim: User) -> None:
    assert ask(room, kim, protocol.Restrict(action="mute", user=rows.colleague().pk))


# --- Messages ---------------------------------------------------------------------------------------------------------


def test_a_moderator_deletes_anybodys_message(room: Room, kim: User, ash: User) -> None:
    rows.entry(room, ash, "hateful")
    (said,) = ask(room, kim, protocol.Delete(number=1, reason="hate"))
    assert (said.number, said.kind, said.target, said.author) == (2, "deletion", 1, None)
    entry = Entry.objects.get(room=room, number=1)
    assert (entry.text, entry.author, entry.deleted_by) == ("", ash, kim)
    assert trail() == [("kim", Action.DELETE, "ash", 1, "hate", "")]


def test_ones_own_message_is_taken_back_without_a_trail(room: Room, ash: User) -> None:
    rows.entry(room, ash)
    assert len(ask(room, ash, protocol.Delete(number=1))) == 1
    assert trail() == []


def test_who_is_muted_still_takes_back_what_they_said(room: Room, ash: User) -> None:
    rows.entry(room, ash)
    rows.restriction(ash, room)
    assert len(ask(room, ash, protocol.Delete(number=1))) == 1


def test_deleting_twice_is_deleting_once(room: Room, kim: User) -> None:
    rows.entry(room)
    ask(room, kim, protocol.Delete(number=1))
    assert ask(room, kim, protocol.Delete(number=1)) == []
    assert len(trail()) == 1


@pytest.mark.parametrize("number", [0, 7, 2**53 - 1])
def test_what_is_not_there_is_not_deleted_nor_reported(room: Room, kim: User, number: int) -> None:
    assert refusal(room, kim, protocol.Delete(number=number)) == "not_found"
    assert refusal(room, kim, protocol.Report(number=number)) == "not_found"


@pytest.mark.parametrize("kind", [EntryKind.NOTICE, EntryKind.DELETION])
def test_only_messages_are_deleted_and_reported(room: Room, kim: User, kind: EntryKind) -> None:
    rows.entry(room, kim, kind=kind)
    assert refusal(room, kim, protocol.Delete(number=1)) == "not_found"
    assert refusal(room, kim, protocol.Report(number=1)) == "not_found"


def test_a_message_of_another_room_is_out_of_reach(room: Room, kim: User) -> None:
    rows.entry(rows.room())
    assert refusal(room, kim, protocol.Delete(number=1)) == "not_found"


# --- Reports ----------------------------------------------------------------------------------------------------------


def test_a_report_keeps_what_was_said_and_is_one_however_often(room: Room, ash: User) -> None:
    entry = rows.entry(room, text="hateful")
    assert ask(room, ash, protocol.Report(number=1, reason=" hate\x00 ")) == []
    ask(room, ash, protocol.Report(number=1, reason="again"))
    report = Report.objects.get()
    assert (report.entry, report.reporter, report.text, report.reason) == (entry, ash, "hateful", "hate")
    assert trail() == []


def test_a_deleted_message_is_not_reported(room: Room, ash: User) -> None:
    rows.entry(room, deleted_at=timezone.now())
    assert refusal(room, ash, protocol.Report(number=1)) == "not_found"


def test_deleting_settles_every_report(room: Room, kim: User) -> None:
    entry = rows.entry(room)
    made = [rows.report(entry), rows.report(entry), rows.report(rows.entry(room))]
    ask(room, kim, protocol.Delete(number=1))
    for report in made:
        report.refresh_from_db()
    assert [report.resolution for report in made] == [Resolution.ACTED, Resolution.ACTED, Resolution.OPEN]
    assert made[0].resolved_by == kim


def test_to_take_a_message_back_settles_no_report(room: Room, kim: User, ash: User) -> None:
    rows.report(rows.entry(room, ash, "hateful"))
    ask(room, ash, protocol.Delete(number=1))
    report = Report.objects.get()
    assert (report.resolution, report.text) == (Resolution.OPEN, "hateful")
    assert ask(room, kim, protocol.Delete(number=1, reason="seen")) == []
    report.refresh_from_db()
    assert report.resolution == Resolution.ACTED
    assert trail() == [("kim", Action.DELETE, "ash", 1, "seen", "it was deleted already")]


def test_dismissing_settles_every_report_of_a_message_with_one_row(room: Room, kim: User, ash: User) -> None:
    entry = rows.entry(room, ash)
    rows.report(entry)
    rows.report(entry)
    assert moderation.dismiss(entry, by=kim, reason="mild")
    assert not moderation.dismiss(entry, by=kim)
    assert set(Report.objects.values_list("resolution", flat=True)) == {Resolution.DISMISSED}
    assert trail() == [("kim", Action.DISMISS, "ash", 1, "mild", "2 reports")]


def test_only_moderators_dismiss(room: Room, ash: User) -> None:
    report = rows.report(rows.entry(room))
    with pytest.raises(Refused):
        moderation.dismiss(report.entry, by=ash)
    report.refresh_from_db()
    assert report.resolution == Resolution.OPEN


# --- People -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (1, "for 1 minute"),
        (10, "for 10 minutes"),
        (60, "for 1 hour"),
        (90, "for 90 minutes"),
        (180, "for 3 hours"),
        (1440, "for 1 day"),
        (43_200, "for 30 days"),
        (None, "until a moderator lifts it"),
    ],
)
def test_the_room_is_told_for_how_long(room: Room, kim: User, ash: User, minutes: int | None, words: str) -> None:
    (said,) = ask(room, kim, protocol.Restrict(action="mute", user=ash.pk, minutes=minutes))
    assert (said.kind, said.text) == ("notice", f"ash was muted {words}.")


def test_an_odd_end_is_told_by_the_clock(room: Room, kim: User, ash: User) -> None:
    until = timezone.now() + timedelta(minutes=1001)
    _, (said,) = moderation.restrict(room, ash, BAN, by=kim, until=until)
    assert said.text == f"ash was banned until {until:%Y-%m-%d %H:%M} UTC."


def test_a_restriction_is_noted_with_its_end_and_its_notice(room: Room, kim: User, ash: User) -> None:
    ask(room, kim, protocol.Restrict(action="ban", user=ash.pk, minutes=60, reason="spam"))
    made = Restriction.objects.get()
    assert made.until is not None
    assert trail() == [("kim", Action.BAN, "ash", 1, "spam", f"until {made.until:%Y-%m-%d %H:%M} UTC")]


def test_a_restriction_replaces_that_of_its_kind_and_place(room: Room, kim: User, ash: User) -> None:
    stay = [rows.restriction(ash), rows.restriction(ash, rows.room()), rows.ban(ash, room)]
    replaced = rows.restriction(ash, room)
    ask(room, kim, protocol.Restrict(action="mute", user=ash.pk, minutes=5))
    replaced.refresh_from_db()
    assert replaced.lifted_by == kim
    assert set(stay) < set(Restriction.objects.in_force())
    assert Restriction.objects.in_force().filter(room=room, kind=MUTE).count() == 1


def test_an_end_that_has_passed_is_none(room: Room, kim: User, ash: User) -> None:
    with pytest.raises(Refused):
        moderation.restrict(room, ash, MUTE, by=kim, until=timezone.now())
    assert not Restriction.objects.exists()


def test_there_is_nobody_to_restrict(room: Room, kim: User) -> None:
    for number in (10**9, 2**63, -(2**70), 0):
        assert refusal(room, kim, protocol.Restrict(action="mute", user=number)) == "not_found"


def test_lifting_in_a_room_ends_what_holds_there(room: Room, kim: User, ash: User) -> None:
    everywhere, here = rows.restriction(ash), rows.restriction(ash, room)
    (said,) = ask(room, kim, protocol.Lift(action="mute", user=ash.pk))
    here.refresh_from_db()
    assert (here.lifted_by, said.text) == (kim, "ash is no longer muted.")
    assert list(Restriction.objects.in_force()) == [everywhere]
    assert refusal(room, kim, protocol.Lift(action="mute", user=ash.pk)) == "not_found"
    assert refusal(room, kim, protocol.Lift(action="ban", user=ash.pk)) == "not_found"
    assert trail() == [("kim", Action.LIFT, "ash", 1, "", "was muted")]


def test_what_holds_in_all_rooms_is_lifted_by_itself_and_told_in_none(kim: User, ash: User) -> None:
    made, said = moderation.restrict(None, ash, BAN, by=kim, until=None, reason="spam")
    assert moderation.lift(made, by=kim) == said == []
    assert made.lifted_by == kim
    assert not Entry.objects.exists()
    assert [row[1:] for row in trail()] == [
        (Action.BAN, "ash", None, "spam", "in all rooms, until it is lifted"),
        (Action.LIFT, "ash", None, "", "was banned in all rooms"),
    ]
    with pytest.raises(Refused):
        moderation.lift(made, by=kim)


def test_everything_about_a_person_leaves_word(room: Room, kim: User, ash: User) -> None:
    for act in (
        lambda: moderation.restrict(room, ash, MUTE, by=kim, until=None),
        lambda: moderation.lift_all(room, ash, MUTE, by=kim),
        lambda: moderation.restrict(None, ash, BAN, by=kim, until=None),
        lambda: moderation.lift(Restriction.objects.get(kind=BAN), by=kim),
    ):
        AccessChange.objects.all().delete()
        act()
        assert set(AccessChange.objects.values_list("user_id", flat=True)) == {ash.pk}


def test_reasons_are_cut_and_cleaned(room: Room, kim: User, ash: User) -> None:
    moderation.restrict(room, ash, MUTE, by=kim, until=None, reason="  bad\x00 \ud800 " + "x" * 400)
    assert len(Restriction.objects.get().reason) == MOST_REASON
    assert ModerationAction.objects.get().reason.startswith("bad")


def test_without_a_reason_it_says_so(room: Room, kim: User, ash: User) -> None:
    ask(room, kim, protocol.Restrict(action="mute", user=ash.pk))
    assert Restriction.objects.get().reason == moderation.NO_REASON


# --- Rooms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "notice"),
    [
        ({"slow_mode_seconds": 1}, "Slow mode is on: one message every second."),
        ({"slow_mode_seconds": 30}, "Slow mode is on: one message every 30 seconds."),
        ({"is_archived": True}, "This room was archived."),
        ({"audience": "staff"}, "This room is for staff from now on."),
    ],
)
def test_what_concerns_the_people_there_is_told_and_taken_back(
    room: Room, kim: User, values: dict[str, Any], notice: str
) -> None:
    before = {name: getattr(room, name) for name in values}
    (said,) = moderation.change_room(room, by=kim, **values)
    assert (said.kind, said.text) == ("notice", notice)
    (back,) = moderation.change_room(room, by=kim, **before)
    assert back.text in {"Slow mode is off.", "This room is open again.", "This room is for everyone from now on."}


def test_what_concerns_nobody_there_is_noted_alone(room: Room, kim: User) -> None:
    assert moderation.change_room(room, by=kim, name="Tea", topic="t" * 300, position=3) == []
    assert room.name == "Tea"
    detail = trail()[0][-1]
    assert detail.startswith("name: Lobby → Tea; topic: nothing → ttt")
    assert len(detail) <= 300


def test_a_room_that_stays_as_it_is_leaves_no_trace(room: Room, kim: User) -> None:
    before = room.updated_at
    assert moderation.change_room(room, by=kim, name=room.name, slow_mode_seconds=0) == []
    room.refresh_from_db()
    assert room.updated_at == before
    assert trail() == []


def test_a_change_gives_a_room_a_new_version(room: Room, kim: User) -> None:
    before = room.updated_at
    moderation.change_room(room, by=kim, topic="Tea")
    room.refresh_from_db()
    assert room.updated_at > before  # by which every process sees it


# --- All together -----------------------------------------------------------------------------------------------------


def test_the_trail_and_what_was_done_come_and_go_together(room: Room, kim: User, ash: User, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the trail cannot be written")

    monkeypatch.setattr(moderation, "_note", fail)
    rows.entry(room, ash, "hateful")
    report = rows.report(Entry.objects.get(), ash)
    ban = rows.ban(ash)
    for act in (
        lambda: moderation.delete(room, 1, by=kim),
        lambda: moderation.dismiss(report.entry, by=kim),
        lambda: moderation.restrict(room, ash, MUTE, by=kim, until=None),
        lambda: moderation.lift(ban, by=kim),
        lambda: moderation.change_room(Room.objects.get(), by=kim, is_archived=True),
    ):
        with pytest.raises(RuntimeError):
            act()
    assert Entry.objects.get().text == "hateful"
    assert list(Restriction.objects.in_force()) == [ban]
    assert Report.objects.get().resolution == Resolution.OPEN
    assert not Room.objects.get().is_archived
    assert Room.objects.get().last_number == 1


def test_what_is_done_elsewhere_wakes_the_rooms_once_it_is_stored(
    room: Room, kim: User, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    woken: list[int] = []
    monkeypatch.setattr(hub, "wake_soon", lambda: woken.append(Entry.objects.count()))
    rows.entry(room)
    with django_capture_on_commit_callbacks(execute=True):
        moderation.delete(room, 1, by=kim)
        assert woken == []
    assert 2 in woken


@pytest.mark.django_db(transaction=True)
def test_what_staff_do_in_the_admin_reaches_the_people_in_the_room(
    room: Room, kim: User, ash: User, settings: Any, monkeypatch: Any
) -> None:
    """By what the database says: the page of the admin may have come from another process."""
    settings.CHAT_POLL_SECONDS = 0.2
    monkeypatch.setattr(hub, "wake_soon", lambda: None)
    admin, token = Client(), tokens.issue(ash).access
    admin.force_login(kim)
    page = reverse("admin:realtime_room_changelist")

    @in_database
    def act(path: str, chosen: Any, action: str, **more: str) -> int:
        sent = {"action": action, "_selected_action": str(chosen.pk), "confirmed": "yes", **more}
        return admin.post(path, sent).status_code

    @in_database
    def ban() -> int:
        sent = {"name": "ash", "room": "", "kind": "ban", "until": "", "reason": "spam"}
        return admin.post(reverse("admin:realtime_restriction_add"), sent).status_code

    async def go() -> tuple[int, str]:
        async with talking("/ws/chat/lobby/") as guest, talking("/ws/chat/lobby/") as talker:
            talker.say({"type": "auth", "token": token})
            assert (await talker.hears("standing"))["you"]["may_write"]
            talker.say({"type": "chat", "id": "a", "text": "hateful"})
            await talker.hears("ack")
            entry = await in_database(Entry.objects.get)(number=1)
            assert await act(reverse("admin:realtime_entry_changelist"), entry, "delete_messages", reason="hate") == 302
            assert await act(page, room, "slow_mode", seconds="30") == 302
            for one in (guest, talker):
                await one.hears("entry", kind="deletion", target=1)
                await one.hears("entry", text="Slow mode is on: one message every 30 seconds.")
            assert (await talker.hears("standing"))["room"]["slow_mode_seconds"] == 30
            assert await act(page, room, "archive") == 302
            await talker.hears("entry", text="This room was archived.")
            assert not (await talker.hears("standing"))["you"]["may_write"]
            assert await ban() == 302
            ended = await talker.ends()
            guest.say({"type": "ping"})
            await guest.hears("pong")
            return ended

    assert asyncio.run(go()) == (4403, "banned")
