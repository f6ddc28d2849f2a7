"""What moderators do, and what members ask of them: each with its row in the audit trail, in one transaction.

The same functions serve the room itself and the admin. What comes of them are entries of the room, which every process
finds by itself, whichever one they were written in; `hub.wake_soon` has this one look at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.text import Truncator

from accounts.models import User
from observability.problems import Problem

from . import access, changes, hub, log, protocol
from .models import (
    MOST_REASON,
    Action,
    Entry,
    EntryKind,
    ModerationAction,
    Report,
    Resolution,
    Restriction,
    RestrictionKind,
    RestrictionQuerySet,
    Room,
)

Request = protocol.Delete | protocol.Report | protocol.Restrict | protocol.Lift

ACTION_OF = {RestrictionKind.MUTE: Action.MUTE, RestrictionKind.BAN: Action.BAN}
DONE = {RestrictionKind.MUTE: "muted", RestrictionKind.BAN: "banned"}
NO_REASON = "No reason was given."
MOST_DETAIL = 300


class Refused(Problem):
    """It was not done; the words are for whoever asked."""

    code: protocol.ErrorCode

    def __init__(self, code: protocol.ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def perform(room_id: int, user_id: int, request: Request) -> list[protocol.Entry]:
    """Do what a client asked for.

    Returns:
        The entries that came of it.

    Raises:
        Refused: where that user may not, or there is no such message or person.
    """
    with _held(room_id) as room:
        actor = User.objects.filter(pk=user_id, is_active=True).first()
        if room is None or actor is None or access.rights(room, actor).refusal is not None:
            raise Refused("forbidden", "You may not be in this room any more.")
        if isinstance(request, protocol.Delete):
            return delete(room, request.number, by=actor, reason=request.reason)
        if isinstance(request, protocol.Report):
            report(room, request.number, by=actor, reason=request.reason)
            return []
        _expect_moderator(actor)
        subject = User.objects.filter(pk=request.user).first() if abs(request.user) < 2**63 else None
        if subject is None:
            raise Refused("not_found", "There is no such person.")
        kind = RestrictionKind(request.action)
        if isinstance(request, protocol.Lift):
            return lift_all(room, subject, kind, by=actor)
        until = timezone.now() + timedelta(minutes=request.minutes) if request.minutes else None
        _, entries = restrict(room, subject, kind, by=actor, until=until, reason=request.reason)
        return entries


# --- Messages ---------------------------------------------------------------------------------------------------------


def delete(room: Room, number: int, *, by: User, reason: str = "") -> list[protocol.Entry]:
    """Delete a message: its text goes, its number stays.

    Open reports of it are acted upon where a moderator deletes it. Where its author does, they stay open: they keep
    what it said, and taking it back makes nothing unsaid.

    Raises:
        Refused: where it is somebody else's and `by` is no moderator, or there is no such message.
    """
    with _held(room.pk):
        entry = Entry.objects.select_related("author").filter(room=room, number=number, kind=EntryKind.MESSAGE).first()
        if entry is None:
            raise Refused("not_found", "There is no such message.")
        is_own = entry.author_id == by.pk
        acted = 0
        if not is_own:
            _expect_moderator(by)
            acted = _resolve(entry, Resolution.ACTED, by=by)
        is_new = entry.deleted_at is None
        if not is_own and (is_new or acted):
            detail = "" if is_new else "it was deleted already"
            _note(
                Action.DELETE, by=by, room=room, subject=entry.author, entry_number=number, reason=reason, detail=detail
            )
        if not is_new:
            return []
        entry.text, entry.deleted_at, entry.deleted_by = "", timezone.now(), by
        entry.save(update_fields=["text", "deleted_at", "deleted_by"])
        return [_tell(room, kind=EntryKind.DELETION, target=number)]


def report(room: Room, number: int, *, by: User, reason: str = "") -> Report:
    """Ask the moderators to look at a message; once more is the same report.

    Raises:
        Refused: where there is no such message.
    """
    entry = Entry.objects.filter(room=room, number=number, kind=EntryKind.MESSAGE, deleted_at=None).first()
    if entry is None:
        raise Refused("not_found", "There is no such message.")
    told = {"reason": _words(reason), "text": entry.text}
    found, _ = Report.objects.get_or_create(entry=entry, reporter=by, defaults=told)
    return found


def dismiss(entry: Entry, *, by: User, reason: str = "") -> bool:
    """Leave a message as it is, whoever reported it: every open report of it is dismissed.

    Returns:
        Whether there was an open one.

    Raises:
        Refused: where `by` is no moderator.
    """
    _expect_moderator(by)
    with transaction.atomic():
        number = _resolve(entry, Resolution.DISMISSED, by=by)
        if number:
            detail = "" if number == 1 else f"{number} reports"
            _note(
                Action.DISMISS, by=by, room=entry.room, subject=entry.author, entry_number=entry.number, reason=reason,
                detail=detail,
            )  # fmt: skip
    return bool(number)


def _resolve(entry: Entry, resolution: Resolution, *, by: User) -> int:
    told = {"resolution": resolution, "resolved_at": timezone.now(), "resolved_by": by}
    return Report.objects.open().filter(entry=entry).update(**told)


# --- People -----------------------------------------------------------------------------------------------------------


def restrict(
    room: Room | None, subject: User, kind: RestrictionKind, *, by: User, until: datetime | None, reason: str = ""
) -> tuple[Restriction, list[protocol.Entry]]:
    """Mute or ban somebody, in a room or in all, until then or until it is lifted.

    What was in force of that kind in the same place is replaced. The room is told; where it is all rooms, none is.

    Args:
        room: None: all rooms.
        until: in the future; None: until it is lifted.

    Raises:
        Refused: where `by` is no moderator, the subject is one, or the end has passed.
    """
    _expect_moderator(by)
    now = timezone.now()
    if access.may_moderate(subject):
        raise Refused("forbidden", "Moderators are neither muted nor banned.")
    if until is not None and until <= now:
        raise Refused("invalid", "The end must lie ahead.")
    with _held(room.pk if room else None):
        _in_force(room, subject, kind).update(lifted_at=now, lifted_by=by)
        reason = _words(reason) or NO_REASON
        made = Restriction.objects.create(
            room=room, user=subject, kind=kind, reason=reason, until=until, created_by=by, created_at=now
        )
        entries = []
        if room is not None:
            entries = [_tell(room, text=f"{subject.username} was {DONE[kind]} {_for_how_long(until, now)}.")]
        detail = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until it is lifted"
        number = entries[0].number if entries else None
        _note(
            ACTION_OF[kind], by=by, room=room, subject=subject, entry_number=number, reason=reason,
            detail=detail if room else f"in all rooms, {detail}",
        )  # fmt: skip
    return made, entries


def lift(restriction: Restriction, *, by: User) -> list[protocol.Entry]:
    """End one mute or ban now, of a room or of all.

    Raises:
        Refused: where `by` is no moderator, or it is not in force.
    """
    _expect_moderator(by)
    with _held(restriction.room_id) as room:
        now = timezone.now()
        lifted = Restriction.objects.filter(pk=restriction.pk).in_force(now).update(lifted_at=now, lifted_by=by)
        if not lifted:
            raise Refused("not_found", "There is nothing to lift.")
        restriction.refresh_from_db()
        return _said_to_be_lifted(room, restriction.user, RestrictionKind(restriction.kind), by=by)


def lift_all(room: Room, subject: User, kind: RestrictionKind, *, by: User) -> list[protocol.Entry]:
    """End what is in force of a kind in this room.

    Raises:
        Refused: where `by` is no moderator, or there is none.
    """
    _expect_moderator(by)
    with _held(room.pk):
        if not _in_force(room, subject, kind).update(lifted_at=timezone.now(), lifted_by=by):
            raise Refused("not_found", "There is nothing to lift.")
        return _said_to_be_lifted(room, subject, kind, by=by)


def _said_to_be_lifted(room: Room | None, subject: User, kind: RestrictionKind, *, by: User) -> list[protocol.Entry]:
    changes.leave_word(user_id=subject.pk)  # an UPDATE says nothing by itself
    entries = [_tell(room, text=f"{subject.username} is no longer {DONE[kind]}.")] if room else []
    detail = f"was {DONE[kind]}" if room else f"was {DONE[kind]} in all rooms"
    number = entries[0].number if entries else None
    _note(Action.LIFT, by=by, room=room, subject=subject, entry_number=number, detail=detail)
    return entries


def _in_force(room: Room | None, subject: User, kind: RestrictionKind) -> RestrictionQuerySet:
    return Restriction.objects.filter(room=room, user=subject, kind=kind).in_force()


# --- Rooms ------------------------------------------------------------------------------------------------------------


def open_room(room: Room, *, by: User) -> None:
    """Store a room that is new."""
    with transaction.atomic():
        room.full_clean()
        room.save(force_insert=True)
        _note(Action.ROOM, by=by, room=room, detail=f"opened it for {room.get_audience_display()}")


def change_room(room: Room, *, by: User, **values: Any) -> list[protocol.Entry]:
    """Change a room, and tell the people in it what concerns them: slow mode, whom it is for, its archiving.

    Args:
        values: the fields that are to be different; those that are not do no harm.

    Returns:
        The notices that came of it.

    Raises:
        ValidationError: where a value is none.
    """
    with _held(room.pk) as current:
        if current is None:
            raise Refused("not_found", "There is no such room any more.")
        before = {name: getattr(current, name) for name in values}
        changed = [name for name, value in values.items() if before[name] != value]
        if not changed:
            return []
        for name in changed:
            setattr(current, name, values[name])
        current.full_clean()
        # Never the number of its last entry, which others may have given meanwhile to whoever made `room`.
        current.save(update_fields=[*changed, "updated_at"])
        room.refresh_from_db()
        detail = "; ".join(_told(current, name, before[name]) for name in changed)
        _note(Action.ROOM, by=by, room=current, detail=detail)
        notices = [NOTICES[name](current) for name in changed if name in NOTICES]
        return [_tell(current, text=notice) for notice in notices]


def remove_room(room: Room, *, by: User) -> None:
    """Delete a room in which nothing was ever said; any other is archived.

    Raises:
        Refused: where something was.
    """
    with _held(room.pk) as current:
        if current is None or current.last_number:
            raise Refused("forbidden", "Something was said in this room: archive it instead.")
        _note(Action.ROOM, by=by, room=None, detail=f"deleted {current.slug}, in which nothing was said")
        current.delete()


def _slow_mode(room: Room) -> str:
    seconds = room.slow_mode_seconds
    if not seconds:
        return "Slow mode is off."
    return f"Slow mode is on: one message every {'second' if seconds == 1 else f'{seconds} seconds'}."


NOTICES: dict[str, Callable[[Room], str]] = {
    "slow_mode_seconds": _slow_mode,
    "audience": lambda room: f"This room is for {room.get_audience_display()} from now on.",
    "is_archived": lambda room: "This room was archived." if room.is_archived else "This room is open again.",
}


def _told(room: Room, name: str, before: Any) -> str:
    field = Room._meta.get_field(name)
    was, now = (Truncator(str(value)).chars(60) or "nothing" for value in (before, getattr(room, name)))
    return f"{getattr(field, 'verbose_name', name)}: {was} → {now}"


# --- What all have in common ------------------------------------------------------------------------------------------


@contextmanager
def _held(room_id: int | None) -> Iterator[Room | None]:
    """In one transaction, with the room's row locked: nothing is said there meanwhile. None: no room is concerned."""
    with transaction.atomic():
        transaction.on_commit(hub.wake_soon, robust=True)
        yield Room.objects.select_for_update().filter(pk=room_id).first() if room_id is not None else None


def _tell(
    room: Room, *, kind: EntryKind = EntryKind.NOTICE, text: str = "", target: int | None = None
) -> protocol.Entry:
    return log.said(log.append(room, kind=kind, author=None, text=text, target=target))


def _expect_moderator(user: User) -> None:
    if not access.may_moderate(user):
        raise Refused("forbidden", "Only moderators may do that.")


def _words(text: str) -> str:
    """What may be stored of a reason."""
    return log.clean(text)[:MOST_REASON]


def _for_how_long(until: datetime | None, now: datetime) -> str:
    if until is None:
        return "until a moderator lifts it"
    minutes = max(round((until - now).total_seconds() / 60), 1)
    for size, name in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0 and (size > 1 or minutes <= 90):
            number = minutes // size
            return f"for {number} {name}{'' if number == 1 else 's'}"
    return f"until {until:%Y-%m-%d %H:%M} UTC"


def _note(
    action: Action,
    *,
    by: User,
    room: Room | None,
    subject: User | None = None,
    entry_number: int | None = None,
    reason: str = "",
    detail: str = "",
) -> None:
    ModerationAction.objects.create(
        actor=by, actor_name=by.username, action=action, room=room, subject=subject, entry_number=entry_number,
        reason=_words(reason), detail=Truncator(detail).chars(MOST_DETAIL),
    )  # fmt: skip
