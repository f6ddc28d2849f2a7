"""Deleting accounts: asked for, possible to take back for a while, then carried out for good."""

from datetime import datetime, timedelta

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from . import personal_data, sessions, signals
from .models import User


def request_deletion(*, user: User, request: HttpRequest) -> datetime:
    """Note the wish and sign the user out everywhere; signing in again within the grace period offers to take it back.

    Returns:
        When the account will be erased.
    """
    now = timezone.now()
    with transaction.atomic():
        asked = User.objects.filter(pk=user.pk, deletion_requested_at=None)
        asked.update(deletion_requested_at=now, updated_at=now)
        user.refresh_from_db()
        due_at = erased_at(user)
        get_adapter().send_mail("accounts/email/deletion_requested", user.email, {"user": user, "erased_at": due_at})
        sessions.end_all(user, reason="deleted")
    return due_at


def cancel(*, user: User) -> None:
    """Keep the account after all."""
    User.objects.filter(pk=user.pk).update(deletion_requested_at=None, updated_at=timezone.now())
    user.deletion_requested_at = None


def erased_at(user: User) -> datetime:
    """When an account whose deletion was asked for will be erased."""
    return (user.deletion_requested_at or timezone.now()) + timedelta(days=settings.DELETION_GRACE_DAYS)


def due(*, now: datetime | None = None) -> list[User]:
    """The accounts whose grace period is over."""
    before = (now or timezone.now()) - timedelta(days=settings.DELETION_GRACE_DAYS)
    return list(User.objects.filter(deletion_requested_at__lte=before))


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
