"""Who may see an item, and why not: the one place that decides it."""

from datetime import datetime
from typing import Any, Literal

from django.utils import timezone

from accounts import membership
from accounts.models import Membership, User

from .models import Item

Refusal = Literal["not_published", "sign_in", "no_membership", "lapsed"]


def refusal(item: Item, user: Any, at: datetime | None = None) -> Refusal | None:
    """Why `user` (who may be anonymous) may not see the whole item at that moment, by default now; None if they may.

    Of what is not published nobody is told that it exists; staff see it in their preview.
    """
    moment = at or timezone.now()
    if item.published_at is None or item.published_at > moment:
        return "not_published"
    if item.is_public or membership.may_see_members_content(user, moment):
        return None
    if not isinstance(user, User):
        return "sign_in"
    return "lapsed" if Membership.objects.filter(user=user, starts_at__lte=moment).exists() else "no_membership"


def may_preview(user: Any) -> bool:
    """Whether `user` is staff who may see every item, whatever its state and whomever it is for."""
    return isinstance(user, User) and user.is_active and user.is_staff and user.has_perm("content.view_item")
