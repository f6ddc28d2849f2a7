"""Who is at a connection: by the session cookie of the handshake, or by an access token in the first message.

A token never stands in the address, which ends in logs. The cookie counts only where the handshake says that it comes
from a page of this site (`origins`), else any page could talk in its visitor's name.
"""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError

from accounts import lockout, sessions, tokens
from accounts.models import RefreshFamily, User
from accounts.signatures import AccessToken


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, and by what they proved it: one of `session_key` and `family_id`."""

    user: User
    session_key: str = ""
    family_id: UUID | None = None
    ends_at: float | None = None  # of a session: when it ends whatever happens, seconds of time.time


def network(address: str | None) -> str:
    """Where somebody is, as failed sign-ins are counted: an IPv4 address, or the network (/64) of an IPv6 one."""
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = address or ""
    return lockout.network(request) or address or ""


def by_session(session_key: str) -> Identity | None:
    """Whose browser session it is; None where it is nobody's (any more)."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = auth.get_user(request)  # checks the password's and the sign-outs' hash
    signed_in_at = request.session.get(sessions.SIGNED_IN_AT)
    ends_at = None if signed_in_at is None else signed_in_at + settings.SESSION_ABSOLUTE_SECONDS
    if not isinstance(user, User) or not user.is_active or (ends_at is not None and ends_at <= time.time()):
        return None
    return Identity(user, session_key=session_key, ends_at=ends_at)


def by_token(raw: str) -> Identity | None:
    """Whose access token it is; None where it is no good one."""
    try:
        token = AccessToken(raw)  # type: ignore[arg-type]
        user = tokens.user_of(token)
        return Identity(user, family_id=UUID(str(token[tokens.FAMILY]))) if user.is_active else None
    except (TokenError, tokens.InvalidToken, TypeError, ValueError, KeyError, OverflowError):
        return None


def digest(session_key: str) -> str:
    """What tells one session from another, and opens none."""
    return hashlib.sha256(session_key.encode()).hexdigest()


def current(identities: Iterable[Identity]) -> dict[Identity, User]:
    """Those that are still good, each with its user as the database has it now: three queries."""
    asked = list(identities)
    users = User.objects.filter(is_active=True).in_bulk({identity.user.pk for identity in asked})
    keys = {identity.session_key for identity in asked if identity.session_key}
    open_sessions = set(
        Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now()).values_list(
            "session_key", flat=True
        )
    )
    families = {identity.family_id for identity in asked if identity.family_id}
    live = set(RefreshFamily.objects.live(timezone.now()).filter(pk__in=families).values_list("pk", flat=True))
    now = time.time()
    return {
        identity: users[identity.user.pk]
        for identity in asked
        if identity.user.pk in users
        # A password set by a command, say, ends neither the session's row nor the family's: both are worth nothing.
        and users[identity.user.pk].get_session_auth_hash() == identity.user.get_session_auth_hash()
        and (identity.session_key in open_sessions or identity.family_id in live)
        and (identity.ends_at is None or identity.ends_at > now)
    }
