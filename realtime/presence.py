"""How many people are in each room, over all processes: each says whom it has, and asks for the others'."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from . import protocol
from .models import Attendance

SAID_EVERY = timedelta(seconds=10)
GONE_AFTER = timedelta(seconds=30)  # a process that was killed says nothing more


@dataclass(frozen=True, slots=True)
class Here:
    """Who is in a room at this process: ids of users, and guests by connection."""

    people: frozenset[int]
    guests: int


_said: dict[tuple[str, int], tuple[Here, datetime]] = {}


def attend(process: str, here: dict[int, Here]) -> dict[int, protocol.Present]:
    """Say who is here, where that has changed or was said long ago; who is in these rooms in all."""
    now = timezone.now()
    for room_id, people in here.items():
        said = _said.get((process, room_id))
        if said is None or said[0] != people or now - said[1] > SAID_EVERY:
            told = {"people": sorted(people.people), "guests": people.guests, "seen_at": now}
            Attendance.objects.update_or_create(process=process, room_id=room_id, defaults=told)
            _said[process, room_id] = (people, now)
    for key in [key for key in _said if key[0] == process and key[1] not in here]:
        del _said[key]
        Attendance.objects.filter(process=process, room_id=key[1]).delete()
    return present(list(here))


def present(room_ids: Sequence[int]) -> dict[int, protocol.Present]:
    """Who is in these rooms, over all processes."""
    found: dict[int, set[int]] = defaultdict(set)
    guests: dict[int, int] = defaultdict(int)
    rows = Attendance.objects.filter(room_id__in=room_ids, seen_at__gt=timezone.now() - GONE_AFTER)
    for room_id, people_there, guests_there in rows.values_list("room_id", "people", "guests"):
        found[room_id].update(people_there)
        guests[room_id] += guests_there
    return {room_id: protocol.Present(people=len(found[room_id]), guests=guests[room_id]) for room_id in room_ids}


def leave(process: str) -> None:
    """Nobody is here any more; what processes left that were killed is swept away with it."""
    for key in [key for key in _said if key[0] == process]:
        del _said[key]
    Attendance.objects.filter(process=process).delete()
    Attendance.objects.filter(seen_at__lt=timezone.now() - timedelta(hours=1)).delete()
