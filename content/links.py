"""Addresses of files: plain for what is public, signed, short-lived and bound to one user for what is members'.

A link alone opens nothing: at each request its user must be signed in, and be a member still. It keeps a copied address
from working for somebody else, or for long.
"""

import re
import time
from typing import Any, Literal
from urllib.parse import urlencode

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.urls import reverse

from accounts.models import User
from observability import security

from . import access
from .access import Refusal
from .metrics import DENIED
from .models import MediaFile, Role

Reason = Refusal | Literal["bad_link", "expired_link", "other_user"]

PARAMETER = "link"
SALT = "content.links"
SIGNED = re.compile(r"([0-9a-f]{32})-([0-9]{1,19})-([0-9]{1,12})", re.ASCII)


def address_of(file: MediaFile, user: Any) -> str:
    """The address by which `user` gets `file`, without scheme and host.

    A public file's is the same for everybody, and for good; so is a picture's, which browsers may ask for long after
    the page was made. A members' recording's is good for its user alone, and no longer than LIBRARY_LINK; asked for
    again soon after, it is the same, so that browsers find what they have kept.
    """
    address = reverse("content_media", args=[file.key])
    if is_plain(file) or not isinstance(user, User):
        return address
    signed = Signer(salt=SALT).sign(f"{file.key.hex}-{user.pk}-{_expiry()}")
    return f"{address}?{urlencode({PARAMETER: signed}, safe=':')}"


def seconds_left(address: str) -> int | None:
    """How long an address made by `address_of` is good; None: for good."""
    _, _, signed = address.partition(f"?{PARAMETER}=")
    return int(signed.partition(":")[0].rpartition("-")[2]) - int(time.time()) if signed else None


def is_plain(file: MediaFile) -> bool:
    """Whether its address carries no signature: it is for everybody, a picture, or shown in the preview of staff alone.

    Who may have it is asked at each request whatever its address.
    """
    item = file.item
    return item is None or item.is_public or file.role != Role.MAIN or access.refusal(item, None) == "not_published"


def refusal(file: MediaFile, user: Any) -> Refusal | None:
    """Why `user` (who may be anonymous, or None) may not have `file` now; None if they may.

    A file follows its item, but for the poster, which everybody may see once the item is published. A file without an
    item, or of one that is not published, is for the preview of staff, who may see everything there.
    """
    if file.item is None:
        found: Refusal | None = "not_published"
    elif file.role == Role.POSTER:
        found = access.refusal(file.item, None)
        found = found if found == "not_published" else None
    else:
        found = access.refusal(file.item, user)
    return None if found is None or access.may_preview(user) else found


def refusal_with(link: str | None, file: MediaFile, user: Any) -> Reason | None:
    """Why a request for the bytes of `file` is refused; None if it is not.

    Args:
        link: the signed value that came with the address; None where there was none.
    """
    if is_plain(file):
        return refusal(file, user)
    if link is None:
        return refusal(file, user) or "bad_link"
    return _fault_of(link, file, user) or refusal(file, user)


def count(reason: Reason) -> None:
    """Count a refusal; a link whose signature is none of ours looks like an attack."""
    DENIED.labels(reason).inc()
    if reason == "bad_link":
        security.record(type="bad_signature", detail="link to a file of the library")


def _fault_of(link: str, file: MediaFile, user: Any) -> Reason | None:
    try:
        signed = SIGNED.fullmatch(Signer(salt=SALT).unsign(link))
    except BadSignature:
        return "bad_link"
    if signed is None or signed[1] != file.key.hex:
        return "bad_link"
    if int(signed[3]) < time.time():
        return "expired_link"
    if isinstance(user, User) and int(signed[2]) != user.pk:
        return "other_user"
    return None


def _expiry() -> int:
    """Seconds since the epoch: LIBRARY_LINK from now, or up to a tenth of it earlier."""
    seconds = int(settings.LIBRARY_LINK.total_seconds())
    step = max(seconds // 10, 1)
    return (int(time.time()) + seconds) // step * step
