"""What a page with a player needs: the file's address, captions, where to go on, and the token for its beacons.

The token says which page load it is, what it plays, and for whom: with it alone nobody tells what somebody else played.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User

from . import access, links, viewings
from .models import Item, MediaFile

SALT = "content.player"
BEACON_SECONDS = 10.0  # between what a player tells while it plays; also told at each pause and when the page is left
SPEEDS = ("0.5", "0.75", "1", "1.25", "1.5", "1.75", "2")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says: one page load of one item's player."""

    player: uuid.UUID
    item: int
    user: int | None  # None: whoever is not signed in
    duration_seconds: float | None  # of the recording, where its file says it
    issued_at: datetime


def context(request: HttpRequest, item: Item) -> dict[str, Any] | None:
    """For `content/player.html`; None where the item has nothing to play.

    A preview by staff gets no token: what is played there is not counted.
    """
    file = item.media
    if file is None:
        return None
    poster = item.poster
    return {
        "file": file,
        "title": item.title,
        "address": links.address_of(file, request.user),
        "poster": links.address_of(poster, request.user) if poster and file.kind == "video" else "",
        "captions": list(item.captions.all()),
        "position_seconds": viewings.position(request.user, item),
        "token": token(item, file, request.user) if _counts(request, item) else "",
        "beacon_seconds": min(BEACON_SECONDS, settings.VIEWING_IDLE.total_seconds() / 3),
        "speeds": SPEEDS,
    }


def token(item: Item, file: MediaFile, user: Any, *, at: datetime | None = None) -> str:
    """A new token, for one page load of the item's player."""
    claims = {
        "p": uuid.uuid4().hex,
        "i": item.pk,
        "u": user.pk if isinstance(user, User) else None,
        "d": file.duration_seconds,
        "t": (at or timezone.now()).timestamp(),
    }
    return signing.Signer(salt=SALT).sign_object(claims)


def read(token: str) -> Claims | None:
    """What a token says; None where it is none of ours. However old it is."""
    try:
        claims = signing.Signer(salt=SALT).unsign_object(token)
    except signing.BadSignature:
        return None
    return Claims(
        player=uuid.UUID(claims["p"]),
        item=claims["i"],
        user=claims["u"],
        duration_seconds=claims["d"],
        issued_at=datetime.fromtimestamp(claims["t"], UTC),
    )


def _counts(request: HttpRequest, item: Item) -> bool:
    is_preview = "as" in request.GET and access.may_preview(request.user)
    return not is_preview and access.refusal(item, request.user) is None
