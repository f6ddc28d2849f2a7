"""Who may be in a room, write and moderate there: the one place that decides it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.utils import timezone

from accounts import membership
from accounts.models import User

from .models import Audience, Restriction, RestrictionKind, Room

Refusal = Literal["unauthenticated", "forbidden", "banned", "not_found"]


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may do in a room.

    Attributes:
        refusal: why they may not be there; None where they may.
        may_write: whether they may say something.
        may_moderate: whether they may delete, mute and ban.
        muted_until: when a mute ends; None where there is none, or it has no end.
        why_not: why they may not write, in words for them.
    """

    refusal: Refusal | None = None
    may_write: bool = False
    may_moderate: bool = False
    muted_until: datetime | None = None
    why_not: str = ""


def may_moderate(user: Any) -> bool:
    """Whether `user` is staff who may delete messages, mute and ban."""
    return isinstance(user, User) and user.is_active and user.is_staff and user.has_perm("realtime.moderate_room")


def rights(room: Room, user: Any, at: datetime | None = None) -> Rights:
    """What `user` (who may be anonymous, or None) may do in `room` at that moment, by default now.

    A room for staff does not exist for anybody else. Moderators may be in every room, and are neither muted nor banned.
    """
    return rights_of_all(room, [user], at)[0]


def rights_of_all(room: Room, users: Sequence[Any], at: datetime | None = None) -> list[Rights]:
    """The same for each of several, in as many queries as for one."""
    moment = at or timezone.now()
    asked = {user.pk for user in users if isinstance(user, User) and user.is_active and not may_moderate(user)}
    if room.audience == Audience.STAFF:
        asked = {user.pk for user in users if isinstance(user, User) and user.pk in asked and user.is_staff}
    members = membership.members_among(asked, moment) if asked and room.audience == Audience.MEMBERS else asked
    restrictions = _restrictions(room, asked & members, moment)
    return [_rights(room, user, user is not None and user.pk in members, restrictions) for user in users]


def _rights(room: Room, user: Any, is_member: bool, restrictions: dict[int, dict[str, datetime | None]]) -> Rights:
    if not isinstance(user, User) or not user.is_active:
        if room.audience == Audience.PUBLIC:
            return Rights(why_not="Sign in to write.")
        return Rights("unauthenticated" if room.audience == Audience.MEMBERS else "not_found")
    moderates = may_moderate(user)
    if room.audience == Audience.STAFF and not user.is_staff:
        return Rights("not_found")
    if not moderates:
        if room.audience == Audience.MEMBERS and not is_member:
            return Rights("forbidden")
        standing = restrictions.get(user.pk, {})
        if RestrictionKind.BAN in standing:
            return Rights("banned")
        if RestrictionKind.MUTE in standing:
            return Rights(muted_until=standing[RestrictionKind.MUTE], why_not="A moderator has muted you.")
    if room.is_archived:
        return Rights(may_moderate=moderates, why_not="This room is archived: it can be read, not written in.")
    return Rights(may_write=True, may_moderate=moderates)


def visible(rooms: Iterable[Room], user: Any) -> list[Room]:
    """Those of `rooms` that a list shows `user`: what they may enter, and members' rooms, which they may come to."""
    is_staff = isinstance(user, User) and user.is_active and user.is_staff
    return [room for room in rooms if not room.is_archived and (room.audience != Audience.STAFF or is_staff)]


def _restrictions(room: Room, user_ids: set[int], moment: datetime) -> dict[int, dict[str, datetime | None]]:
    """By user, the kinds in force, each with its latest end; None: no end."""
    found: dict[int, dict[str, datetime | None]] = {}
    # Nobody has many, and each message pays for this query: what is over is left out here, not in it.
    for row in Restriction.objects.filter(user__in=user_ids, lifted_at=None).order_by():  # nobody: no query
        if row.room_id in {None, room.pk} and row.is_in_force(moment):
            standing = found.setdefault(row.user_id, {})
            known = standing.get(row.kind, row.until)
            standing[row.kind] = None if known is None or row.until is None else max(known, row.until)
    return found
