"""Who may see members' content, until when, and why.

A user may have several memberships at once, of staff and of a subscription; one that is in force is enough.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from . import signals
from .models import Membership, User


def may_see_members_content(user: Any, at: datetime | None = None) -> bool:
    """Whether `user` (who may be anonymous) may see members' content at that moment, by default now."""
    if not isinstance(user, User) or not user.is_active:
        return False
    return Membership.objects.filter(user=user).current(at or timezone.now()).exists()


def members_among(user_ids: Iterable[int], at: datetime | None = None) -> set[int]:
    """Those of the users whom a membership is in force for at that moment, by default now: one query."""
    current = Membership.objects.filter(user__in=set(user_ids)).current(at or timezone.now())
    return set(current.values_list("user_id", flat=True))


def has_lapsed(user: User, *, since: datetime) -> bool:
    """Whether what they paid for has ended since that moment, and nothing else makes them a member."""
    paid = Membership.objects.filter(user=user, source=Membership.Source.SUBSCRIPTION)
    return paid.filter(ends_at__gt=since, ends_at__lte=timezone.now()).exists() and not may_see_members_content(user)


def give(*, user: User, by: User | None, reason: str, until: datetime | None = None) -> Membership:
    """Give a membership by word of staff.

    Args:
        reason: why, for whoever asks later.
        until: when it ends; None: when it is ended.

    Raises:
        ValidationError: where the reason is missing, or the end has passed.
    """
    membership = Membership(
        user=user, source=Membership.Source.STAFF, given_by=by, reason=reason.strip(), ends_at=until
    )
    with transaction.atomic():
        membership.full_clean()
        membership.save()
    announce(user_id=user.pk)
    return membership


def end(membership: Membership, *, at: datetime | None = None) -> bool:
    """End a membership now, or at `at`.

    Returns:
        Whether it was in force still.
    """
    moment = at or timezone.now()
    changed = (
        Membership.objects.filter(pk=membership.pk).current(moment).update(ends_at=moment, updated_at=timezone.now())
    )
    if changed:
        announce(user_id=membership.user_id)
    return bool(changed)


def set_subscription(
    *, user: User, membership: Membership | None, starts_at: datetime, ends_at: datetime
) -> Membership | None:
    """Say until when a subscription makes its owner a member, and announce it if that changes what they may see.

    Called inside a transaction; announced, as best effort, once that is committed.

    Args:
        membership: the subscription's own, where it has one already.
        ends_at: in the past where it makes nobody a member (any more); one that is over already keeps its end.

    Returns:
        The subscription's membership; None where there was none and there is no need for one.
    """
    now = timezone.now()
    if membership is None:
        if ends_at <= now:
            return None
    elif membership.ends_at == ends_at or (membership.ends_at is not None and max(membership.ends_at, ends_at) <= now):
        return membership
    before = may_see_members_content(user, now)
    if membership is None:
        source = Membership.Source.SUBSCRIPTION
        membership = Membership.objects.create(user=user, source=source, starts_at=min(starts_at, now), ends_at=ends_at)
    else:
        membership.ends_at = max(ends_at, membership.starts_at)
        membership.save(update_fields=["ends_at", "updated_at"])
    if may_see_members_content(user, now) != before:
        transaction.on_commit(lambda: announce(user_id=user.pk), robust=True)
    return membership


def announce(*, user_id: int) -> None:
    """Tell whoever holds a connection open that a membership of that user has changed."""
    signals.access_changed.send(sender=Membership, user_id=user_id, reason="membership")
