"""What this room itself keeps about a person: exported, and erased."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from axes.models import AccessFailureLog
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password

from . import history, lockout
from .models import Membership, RefreshFamily, User

ERASED_STAFF = "erased staff"


def export(user: User) -> dict[str, Any]:
    """The account, without what would let its holder's file open it: no hash, no secret, no token."""
    sessions = UserSession.objects.filter(user=user).order_by("pk")
    return {
        "profile": {
            "name": user.username,
            "email": user.email,
            "first_name": user.first_name,
            "last_name": user.last_name,
            "joined_at": user.date_joined.isoformat(),
            "last_sign_in_at": user.last_login.isoformat() if user.last_login else None,
            "deletion_requested_at": user.deletion_requested_at.isoformat() if user.deletion_requested_at else None,
        },
        "email_addresses": list(EmailAddress.objects.filter(user=user).values("email", "verified", "primary")),
        "second_factors": [
            {
                "type": factor.type,
                "added_at": factor.created_at.isoformat(),
                "last_used_at": factor.last_used_at.isoformat() if factor.last_used_at else None,
            }
            for factor in Authenticator.objects.filter(user=user).order_by("pk")
        ],
        "browser_sessions": [
            {
                "since": session.created_at.isoformat(),
                "last_seen_at": session.last_seen_at.isoformat(),
                "address": session.ip,
                "browser": session.user_agent,
            }
            for session in sessions
        ],
        "api_sessions": [
            {
                "since": family.created_at.isoformat(),
                "expires_at": family.expires_at.isoformat(),
                "ended_at": family.revoked_at.isoformat() if family.revoked_at else None,
            }
            for family in RefreshFamily.objects.filter(user=user).order_by("created_at")
        ],
        "memberships": [
            {
                "source": membership.source,
                "reason": membership.reason,
                "starts_at": membership.starts_at.isoformat(),
                "ends_at": membership.ends_at.isoformat() if membership.ends_at else None,
            }
            for membership in Membership.objects.filter(user=user).order_by("starts_at")
        ],
        "failed_sign_ins": [
            {"at": row.attempt_time.isoformat(), "address": row.ip_address, "browser": row.user_agent}
            for row in AccessFailureLog.objects.filter(username=lockout.key_of(user)).order_by("pk")
        ],
    }


def erase(user: User) -> None:
    """Delete the account and what hangs on it. What was done in the admin stays, by and to nobody in particular."""
    did = LogEntry.objects.filter(user=user)
    if did.exists():
        did.update(user=_erased_staff())
    history.forget(User.objects.filter(pk=user.pk), names=(user.username, user.email))
    history.forget(Membership.objects.filter(user=user))
    AccessFailureLog.objects.filter(username=lockout.key_of(user)).delete()
    user.delete()


def _erased_staff() -> User:
    """Whose name stands in the admin's history in the place of those who are gone; no sign-up can take that name."""
    values = {"email": "erased-staff@invalid", "is_active": False, "password": make_password(None)}
    return User.objects.get_or_create(username=ERASED_STAFF, defaults=values)[0]
