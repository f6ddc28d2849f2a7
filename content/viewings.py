"""Watch time: what players tell, credited within the bounds of the clock on the wall; and where somebody left off.

A viewing is one sitting of one viewer before one item. Whatever its players claim, and however many of them there are,
no moment of the clock is credited to it twice (docs/decisions/watch-time.md).
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts import membership
from accounts.models import User
from observability import security
from observability.problems import Problem
from observability.refresh import at_each_tick

from . import access
from .metrics import DENIED
from .models import Item, Player, Viewing, Visibility

if TYPE_CHECKING:
    from .players import Claims

# How far what is credited may run ahead of the clock, in all: beacons are on their way for different times.
SLACK = timedelta(seconds=2)
# What was played in a longer silence is not credited: no player that is away from the network plays for so long.
MOST_AT_ONCE = timedelta(hours=1)
TOKEN_LIFE = timedelta(hours=24)
# A player tells at most so often, in the long run and at once.
BEACONS_A_SECOND, BEACONS_AT_ONCE = 1, 30
PARTS = 20  # of a recording, whose playing is remembered one by one
LEAST_POSITION_SECONDS, MOST_POSITION_SHARE = 10, 0.95  # outside of which nobody wants to go on where they were
SWEEP_SECONDS = 3600.0

_swept_at = time.monotonic() - SWEEP_SECONDS + 60  # the first time soon after the start


class Refused(Problem):
    """This player's word is not taken (403). `code` says why."""

    status = 403

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Gone(Problem):
    """The item is not there any more (404)."""

    status = 404


class TooOften(Problem):
    """A player that tells more often than any player does (429)."""

    status = 429
    headers = {"Retry-After": "10"}


REFUSALS = {
    "not_published": "This is not published any more.",
    "sign_in": "This is for members: sign in.",
    "no_membership": "This is for members.",
    "lapsed": "Your membership has ended.",
}


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a player tells. Everything is since its page was loaded, so that what was lost is told again by the next."""

    sequence: int  # ascending
    played_seconds: float  # by the clock, in which the recording really advanced
    position_seconds: float
    duration_seconds: float | None = None
    segments: Sequence[Sequence[float]] = ()  # [from, to] in the recording, in seconds


class Unfinished(NamedTuple):
    """Something that was begun and not seen to its end."""

    item: Item
    position_seconds: float
    duration_seconds: float | None


def tell(beacon: Beacon, claims: "Claims", *, user: Any, device: str, at: datetime | None = None) -> bool:
    """Take in what a player tells.

    Args:
        claims: what the player's token says.
        user: who is signed in, or anonymous.
        device: by which a viewer's devices, and strangers, are told apart (`device_of`); "": the page load itself.
        at: now, by default.

    Returns:
        Whether it was news; not so where it was told before, or a later beacon came first.

    Raises:
        Refused: where the token is somebody else's or too old, or the item may not be seen (any more).
        Gone: where there is no such item any more.
        TooOften: where it tells more often than a player does.
    """
    if claims.user != (user.pk if isinstance(user, User) else None):
        raise Refused("other_user", "The page was opened by somebody else: reload it.")
    item = Item.objects.filter(pk=claims.item).first()
    if item is None:
        raise Gone("This is not there any more.")
    refusal = access.refusal(item, user, at)
    if refusal is not None:
        DENIED.labels(refusal).inc()
        raise Refused(refusal, REFUSALS[refusal])
    device = device or claims.player.hex
    try:
        return _take(beacon, claims, device=device, at=at)
    except IntegrityError:  # the same player's first word, told twice at once, by which the other got there first
        return _take(beacon, claims, device=device, at=at)


def device_of(user: Any, session_key: str | None, told: str) -> str:
    """What tells a viewer's devices apart, and says nothing of them: made by us for who is signed in."""
    if isinstance(user, User):
        return salted_hmac("content.device", f"{user.pk}|{session_key}", algorithm="sha256").hexdigest()
    return told


def span(seconds: float, *, counted_until: datetime, now: datetime) -> tuple[datetime, datetime]:
    """The piece of the clock that is credited to `seconds` of playing of which we hear now.

    The latest that is free: right before now, or after what was counted already; at most `SLACK` ahead of now. Pieces
    never overlap, so whatever is claimed, by however many players, no more is credited than the clock went on.

    Args:
        counted_until: to what moment was counted before; nothing is taken from before it.
    """
    begin = max(counted_until, now - timedelta(seconds=seconds))
    return begin, max(begin, min(begin + timedelta(seconds=seconds), now + SLACK))


def watched(segments: Sequence[Sequence[float]], duration_seconds: float | None) -> int:
    """Which twentieths of the recording the segments touch, as bits."""
    if not duration_seconds:
        return 0
    bits = 0
    for begin, end in segments:
        first = max(0, math.floor(begin / duration_seconds * PARTS))
        last = min(PARTS, math.ceil(end / duration_seconds * PARTS))
        for part in range(first, last):
            bits |= 1 << part
    return bits


def position(user: Any, item: Item) -> float:
    """Where `user` stood in the item, in seconds; 0 at its beginning, near its end, and for who is not signed in."""
    if not isinstance(user, User):
        return 0.0
    latest = Viewing.objects.filter(user=user, item=item).order_by("-last_beacon_at").first()
    return latest.position_seconds if latest and _is_unfinished(latest) else 0.0


def unfinished(user: Any, limit: int) -> list[Unfinished]:
    """What `user` may go on with, the latest first; what they may not see whole (any more) is not among it."""
    if not isinstance(user, User):
        return []
    later = Viewing.objects.filter(user=user, item=OuterRef("item"), last_beacon_at__gt=OuterRef("last_beacon_at"))
    latest = Viewing.objects.filter(~Exists(later), user=user, item__published_at__lte=timezone.now())
    if not membership.may_see_members_content(user):
        latest = latest.filter(item__visibility=Visibility.PUBLIC)
    rows = {row.item_id: row for row in latest.order_by("-last_beacon_at") if _is_unfinished(row)}
    wanted = list(rows.values())[:limit]
    items = Item.objects.for_lists().in_bulk([row.item_id for row in wanted])
    return [Unfinished(items[row.item_id], row.position_seconds, row.duration_seconds) for row in wanted]


def sweep(*, at: datetime | None = None) -> int:
    """Forget page loads that were silent for long; their tokens are too old to begin anew.

    Returns:
        How many were forgotten.
    """
    deleted, _ = Player.objects.filter(updated_at__lt=(at or timezone.now()) - 2 * TOKEN_LIFE).delete()
    return deleted


@at_each_tick
def _sweep_now_and_then() -> None:
    global _swept_at
    if time.monotonic() - _swept_at > SWEEP_SECONDS:
        _swept_at = time.monotonic()
        sweep()


def _take(beacon: Beacon, claims: "Claims", *, device: str, at: datetime | None) -> bool:
    with transaction.atomic():
        # A page load stays with the device that it began on, whatever it says of itself later.
        device = Player.objects.filter(pk=claims.player).values_list("viewing__device", flat=True).first() or device
        _one_at_a_time(device, claims.item)
        now = at or timezone.now()
        player = Player.objects.filter(pk=claims.player).first()
        if player is None and now - claims.issued_at > TOKEN_LIFE:
            raise Refused("expired_token", "The page has been open for too long: reload it.")
        if player is not None and beacon.sequence <= player.sequence:
            return False
        if beacon.sequence > BEACONS_AT_ONCE + BEACONS_A_SECOND * max((now - claims.issued_at).total_seconds(), 0):
            security.record(type="rate_limited", detail="a player's beacons")
            raise TooOften("That was too often.")
        told = player.played_seconds if player else 0.0
        viewing = _credit(beacon, claims, max(beacon.played_seconds - told, 0.0), device=device, now=now)
        values = {
            "viewing": viewing,
            "sequence": beacon.sequence,
            "played_seconds": max(beacon.played_seconds, told),
        }
        if player is None:
            Player.objects.create(pk=claims.player, **values)
        else:
            Player.objects.filter(pk=player.pk).update(**values, updated_at=now)
        return True


def _credit(beacon: Beacon, claims: "Claims", seconds: float, *, device: str, now: datetime) -> Viewing:
    """Add to the viewing that goes on, or begin one."""
    user: Any = claims.user
    idle = settings.VIEWING_IDLE
    of_device = Viewing.objects.filter(device=device, item_id=claims.item, user_id=user)
    # What lies further ahead than clocks differ was begun before this one was put back.
    viewing = of_device.filter(last_beacon_at__lte=now + idle).order_by("-last_beacon_at").first()
    if viewing is None or viewing.last_beacon_at < now - idle:
        free = max(claims.issued_at, now - MOST_AT_ONCE, *([viewing.credited_until] if viewing else []))
        begin, end = span(seconds, counted_until=min(free, now), now=now)
        viewing = Viewing(user_id=claims.user, item_id=claims.item, device=device, started_at=begin, last_beacon_at=now)
    else:
        begin, end = span(seconds, counted_until=viewing.credited_until, now=now)
    viewing.played_seconds += (end - begin).total_seconds()
    viewing.credited_until = end
    viewing.last_beacon_at = max(now, viewing.last_beacon_at)
    viewing.duration_seconds = claims.duration_seconds or beacon.duration_seconds or viewing.duration_seconds
    viewing.position_seconds = min(beacon.position_seconds, viewing.duration_seconds or math.inf)
    viewing.watched |= watched(beacon.segments, viewing.duration_seconds)
    if viewing.pk is None:
        viewing.save(force_insert=True)
    else:  # not whose it is: that may have been erased meanwhile
        viewing.save(
            update_fields=[
                "played_seconds", "credited_until", "last_beacon_at", "duration_seconds", "position_seconds",
                "watched", "updated_at",
            ]
        )  # fmt: skip
    return viewing


def _one_at_a_time(device: str, item: int) -> None:
    """Until the end of the transaction, nobody else credits what that device plays of that item.

    A lock on a row would not do: at first there is none. On SQLite every transaction that writes is alone anyway.
    """
    if connection.vendor == "postgresql":
        name = f"content viewing {item} {device}".encode()
        number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def _is_unfinished(viewing: Viewing) -> bool:
    stood, of = viewing.position_seconds, viewing.duration_seconds
    return stood >= LEAST_POSITION_SECONDS and not (of and stood >= MOST_POSITION_SHARE * of)
