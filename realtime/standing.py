"""What a process looks up every few seconds: new entries, changed rooms, and whose access may have changed."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone

from . import access, identity, protocol
from .identity import Identity
from .models import AccessChange, Room

EVERYBODY_SECONDS = 15.0  # how often all are looked at: what lapses with time says nothing
# Rows get their ids before they are committed: one with a smaller id may show up after one with a greater.
LOOK_BACK = 200
KEPT = timedelta(minutes=10)


@dataclass(slots=True)
class Seen:
    """What a process has dealt with."""

    changes: set[int] | None = None  # ids of AccessChange; None: none was looked at yet
    last_id: int = 0
    everybody_at: float = field(default_factory=time.monotonic)

    def owe_everybody(self) -> None:
        """Have everybody looked at next time: what was found was perhaps not dealt with."""
        self.everybody_at = -math.inf


@dataclass(frozen=True, slots=True)
class RoomState:
    """How far a room is, and which version of its settings holds."""

    last_number: int
    version: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be dealt with."""

    rooms: dict[int, RoomState]
    users: frozenset[int]
    ended_sessions: frozenset[str]
    everybody: bool


def look(room_ids: Sequence[int], seen: Seen) -> Found:
    """What has changed since `seen`, which is brought up to date: two queries."""
    rows = Room.objects.filter(pk__in=room_ids).values_list("pk", "last_number", "updated_at")
    rooms = {pk: RoomState(number, version) for pk, number, version in rows}
    users, sessions = set(), set()
    is_first = seen.changes is None
    if seen.changes is None:
        seen.last_id = AccessChange.objects.aggregate(last=Max("pk"))["last"] or 0
        seen.changes = set()  # whoever came in before this look may have been asked who they are before the last ones
    changes = AccessChange.objects.filter(pk__gt=seen.last_id - LOOK_BACK)
    for pk, user_id, digest in changes.values_list("pk", "user_id", "session_digest"):
        if pk not in seen.changes:
            seen.changes.add(pk)
            seen.last_id = max(seen.last_id, pk)
            if digest:
                sessions.add(digest)
            else:
                users.add(user_id)
    seen.changes = {pk for pk in seen.changes if pk > seen.last_id - LOOK_BACK}
    everybody = is_first or time.monotonic() - seen.everybody_at > EVERYBODY_SECONDS
    if everybody:
        seen.everybody_at = time.monotonic()
        AccessChange.objects.filter(at__lt=timezone.now() - KEPT).delete()
    return Found(rooms, frozenset(users), frozenset(sessions), everybody)


def look_again(
    room_id: int, identities: Sequence[Identity | None]
) -> list[tuple[protocol.RoomInfo, Identity | None, access.Rights]]:
    """For each: the room as it is now, who they are as the database has them, and what they may do there."""
    room = Room.objects.get(pk=room_id)
    known = identity.current([one for one in identities if one is not None])
    users = [known.get(one) if one is not None else None for one in identities]
    told = info(room)
    found: list[tuple[protocol.RoomInfo, Identity | None, access.Rights]] = []
    for one, user, granted in zip(identities, users, access.rights_of_all(room, users), strict=True):
        is_gone = one is not None and user is None
        found.append((told, one, access.Rights("unauthenticated") if is_gone else granted))
    return found


def info(room: Room) -> protocol.RoomInfo:
    """A room, as clients get it."""
    return protocol.RoomInfo(
        slug=room.slug,
        name=room.name,
        topic=room.topic,
        audience=room.audience,  # type: ignore[arg-type]
        slow_mode_seconds=room.slow_mode_seconds,
        archived=room.is_archived,
    )
