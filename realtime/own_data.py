"""What this room keeps about a person: exported, and parted from the person when the account is erased."""

from typing import Any

from django.utils import timezone

from accounts import history
from accounts.models import User

from .models import (
    AccessChange,
    Action,
    Attendance,
    Entry,
    EntryKind,
    ModerationAction,
    Report,
    Resolution,
    Restriction,
    Room,
)

# Instead of a notice that named somebody who is gone.
NOTICE = "This notice was about somebody whose account is gone."


def export(user: User) -> dict[str, Any]:
    """What was said, what was reported, and what moderators did."""
    said = Entry.objects.filter(author=user, kind=EntryKind.MESSAGE).select_related("room").order_by("created_at", "pk")
    reports = Report.objects.filter(reporter=user).select_related("entry__room").order_by("created_at", "pk")
    restrictions = Restriction.objects.filter(user=user).select_related("room").order_by("created_at", "pk")
    trail = ModerationAction.objects.select_related("room").order_by("at", "pk")
    return {
        "messages": [
            {
                "room": entry.room.slug,
                "number": entry.number,
                "at": entry.created_at.isoformat(),
                "text": entry.text,
                "deleted_at": entry.deleted_at.isoformat() if entry.deleted_at else None,
            }
            for entry in said
        ],
        "reports": [
            {
                "room": report.entry.room.slug,
                "number": report.entry.number,
                "at": report.created_at.isoformat(),
                "reason": report.reason,
                "became": report.get_resolution_display(),
            }
            for report in reports
        ],
        # Of their own messages: who reported them is somebody else's data.
        "reported": [
            {
                "room": report.entry.room.slug,
                "number": report.entry.number,
                "at": report.created_at.isoformat(),
                "text": report.text,
                "became": report.get_resolution_display(),
            }
            for report in Report.objects.filter(entry__author=user)
            .select_related("entry__room")
            .order_by("created_at", "pk")
        ],
        "restrictions": [
            {
                "room": restriction.room.slug if restriction.room else None,
                "kind": restriction.kind,
                "reason": restriction.reason,
                "from": restriction.created_at.isoformat(),
                "until": restriction.until.isoformat() if restriction.until else None,
                "lifted_at": restriction.lifted_at.isoformat() if restriction.lifted_at else None,
            }
            for restriction in restrictions
        ],
        "moderators_did": [_told(row) for row in trail.filter(subject=user)],
        "did_as_moderator": [_told(row) for row in trail.filter(actor=user)],
        "present_in": [room.slug for room in _rooms_of(user)],
        "access_changed_at": [
            change.at.isoformat() for change in AccessChange.objects.filter(user_id=user.pk).order_by("pk")
        ],
    }


def _told(row: ModerationAction) -> dict[str, Any]:
    return {
        "at": row.at.isoformat(),
        "action": row.action,
        "room": row.room.slug if row.room else None,
        "number": row.entry_number,
        "reason": row.reason,
        "detail": row.detail,
    }


def _rooms_of(user: User) -> list[Room]:
    there = [row.room_id for row in Attendance.objects.all() if user.pk in row.people]
    return list(Room.objects.filter(pk__in=there))


def erase(user: User) -> None:
    """Empty what was said: the numbers stay, so that nobody's place in a room moves, and the words go.

    So do the words of others about this person: reasons, notices in the rooms, reports of what is gone. The audit trail
    keeps that something was done, and when. That access has changed is kept for minutes still: by it the connections of
    the account end, in every process.
    """
    now = timezone.now()
    about = Report.objects.filter(entry__author=user)
    about.open().update(resolution=Resolution.ACTED, resolved_at=now)
    about.update(text="", reason="")
    Report.objects.filter(reporter=user).update(reporter=None, reason="")
    _empty_notices(user)
    messages = Entry.objects.filter(author=user, kind=EntryKind.MESSAGE)
    messages.filter(deleted_at=None).update(deleted_at=now)
    messages.update(text="", client_id=None, author=None)
    Entry.objects.filter(author=user).update(author=None)
    history.forget(Restriction.objects.filter(user=user))
    Restriction.objects.filter(user=user).delete()
    ModerationAction.objects.filter(subject=user).update(subject=None, reason="")
    ModerationAction.objects.filter(actor=user).update(actor=None, actor_name="")
    for row in Attendance.objects.all():
        if user.pk in row.people:
            row.people = [pk for pk in row.people if pk != user.pk]
            row.save(update_fields=["people"])


def _empty_notices(user: User) -> None:
    told = ModerationAction.objects.filter(subject=user, action__in=[Action.MUTE, Action.BAN, Action.LIFT])
    for room_id, number in told.values_list("room_id", "entry_number"):
        if room_id is not None and number is not None:
            Entry.objects.filter(room=room_id, number=number, kind=EntryKind.NOTICE).update(text=NOTICE)
