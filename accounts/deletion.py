"""Deleting accounts: asked for, possible to take back for a while, then carried out for good."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from allauth.account.adapter import get_adapter
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from . import personal_data, sessions, signals
from .models import User

log = structlog.get_logger("accounts")


@dataclass(frozen=True, slots=True)
class Requested:
    """A wish that is noted: when the account will be erased, and whether every room has done its part already."""

    erased_at: datetime
    is_settled: bool


def request_deletion(*, user: User, request: HttpRequest) -> Requested:
    """Note the wish and sign the user out everywhere; signing in again within the grace period offers to take it back.

    What a room cannot do now, since Stripe is away, say, is done by the next run of `erase_accounts`.
    """
    now = timezone.now()
    with transaction.atomic():
        asked = User.objects.filter(pk=user.pk, deletion_requested_at=None)
        asked.update(deletion_requested_at=now, updated_at=now)
        user.refresh_from_db()
        due_at = erased_at(user)
        get_adapter().send_mail("accounts/email/deletion_requested", user.email, {"user": user, "erased_at": due_at})
        sessions.end_all(user, reason="deleted")
    return Requested(due_at, _settled(settle, user))


def cancel(*, user: User) -> bool:
    """Keep the account after all.

    Returns:
        Whether every room has taken back what it did for the wish.
    """
    User.objects.filter(pk=user.pk).update(deletion_requested_at=None, updated_at=timezone.now())
    user.deletion_requested_at = None
    return _settled(personal_data.kept, user)


def _settled(act: Callable[[User], None], user: User) -> bool:
    try:
        act(user)
    except Exception:
        log.warning("deletion_not_settled", user_id=user.pk, exc_info=True)
        return False
    return True


def erased_at(user: User) -> datetime:
    """When an account whose deletion was asked for will be erased."""
    return (user.deletion_requested_at or timezone.now()) + timedelta(days=settings.DELETION_GRACE_DAYS)


def due(*, now: datetime | None = None) -> list[User]:
    """The accounts whose grace period is over."""
    return list(User.objects.filter(deletion_requested_at__lte=_begun_before(now)))


def pending(*, now: datetime | None = None) -> list[User]:
    """The accounts whose deletion was asked for, and whose grace period is not over."""
    return list(User.objects.filter(deletion_requested_at__gt=_begun_before(now)))


def _begun_before(now: datetime | None) -> datetime:
    """When a grace period that is over just now began."""
    return (now or timezone.now()) - timedelta(days=settings.DELETION_GRACE_DAYS)


def settle(user: User) -> None:
    """Do what asking for the deletion may have left undone, unless it was taken back; raises what a room raises."""
    wish = User.objects.filter(pk=user.pk, deletion_requested_at__isnull=False)
    if not wish.exists():
        return
    try:
        personal_data.requested(user)
    finally:
        if not wish.exists():  # taken back meanwhile, when there may have been nothing yet that `kept` could undo
            personal_data.kept(user)


def erase(user: User) -> None:
    """Erase everything that is kept about a user, or nothing where a part cannot be erased, or it was taken back."""
    user_id = user.pk
    # Since the list of accounts was made, the wish may have been taken back.
    still = User.objects.filter(pk=user_id, deletion_requested_at=user.deletion_requested_at)
    if not still.exists():
        return
    personal_data.prepare(user)
    with transaction.atomic():
        if not still.select_for_update().exists():
            return
        sessions.end_all(user, reason="deleted")
        personal_data.erase(user)
    signals.access_changed.send(sender=User, user_id=user_id, reason="deleted")
