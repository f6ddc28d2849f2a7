"""Being signed in with a browser: when it ends by itself, and how everything is ended at once."""

import time

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from . import signals
from .models import RefreshFamily, User

SIGNED_IN_AT, SEEN_AT = "signed_in_at", "seen_at"  # in the session, seconds of time.time
SEEN_EVERY_SECONDS = 300  # how exactly use is noted, so that not every page view writes


def began(request: HttpRequest) -> None:
    """Note when a browser signed in."""
    request.session[SIGNED_IN_AT] = request.session[SEEN_AT] = time.time()


def hold_to_limits(request: HttpRequest) -> None:
    """End a session past its absolute age; keep one alive that is in use (past its idle age, its row has expired)."""
    session, now = request.session, time.time()
    signed_in_at: float | None = session.get(SIGNED_IN_AT)
    if signed_in_at is None:
        return
    left = signed_in_at + settings.SESSION_ABSOLUTE_SECONDS - now
    if left <= 0:
        UserSession.objects.filter(session_key=session.session_key).delete()
        session.flush()
    elif now - session.get(SEEN_AT, 0) > SEEN_EVERY_SECONDS:
        session[SEEN_AT] = now
        session.set_expiry(int(min(settings.SESSION_COOKIE_AGE, left)) or 1)
        UserSession.objects.filter(session_key=session.session_key).update(last_seen_at=timezone.now())


def end_all(user: User, *, reason: str, keep: HttpRequest | None = None) -> None:
    """Sign a user out of every browser and every API client, at once.

    Args:
        reason: one of `signals.REASONS`, for whoever holds a connection open.
        keep: the request whose own browser session goes on.
    """
    with transaction.atomic():
        now = timezone.now()
        User.objects.filter(pk=user.pk).update(sign_outs=F("sign_outs") + 1, updated_at=now)
        known = UserSession.objects.filter(user_id=user.pk)
        Session.objects.filter(session_key__in=known.values("session_key")).delete()
        known.delete()
        RefreshFamily.objects.filter(user_id=user.pk, revoked_at=None).update(revoked_at=now, updated_at=now)
        user.refresh_from_db(fields=["sign_outs", "updated_at", "password"])
        if keep is not None:
            update_session_auth_hash(keep, user)
            UserSession.objects.create_from_request(keep)
    signals.access_changed.send(sender=User, user_id=user.pk, reason=reason)
