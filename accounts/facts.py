"""How many users there are and how many are signed in, from the database."""

from collections.abc import Iterator

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db.models import Count, Q
from django.utils import timezone

from observability.facts import Sample, fact, gauge

from .models import RefreshFamily, User

USERS = gauge("users", "Accounts, by whether they may sign in.", "state")
ACTIVE_SESSIONS = gauge("auth_active_sessions", "Live browser sessions and live families of refresh tokens.")


@fact(USERS, reads=[User])
def users() -> Iterator[Sample]:
    """Accounts by state."""
    leaving = Q(is_active=True, deletion_requested_at__isnull=False)
    counts = User.objects.aggregate(
        active=Count("pk", filter=Q(is_active=True, deletion_requested_at=None)),
        inactive=Count("pk", filter=Q(is_active=False)),
        leaving=Count("pk", filter=leaving),
    )
    for state, number in counts.items():
        yield USERS.sample(number, state)


@fact(ACTIVE_SESSIONS, reads=[RefreshFamily], windowed=True)
def active_sessions() -> Iterator[Sample]:
    """Signed-in browsers whose session has not expired, and API sign-ins that are live.

    Sessions of browsers that are not signed in, as a half-finished sign-in has one, are none of them.
    """
    now = timezone.now()
    live = Session.objects.filter(expire_date__gt=now).values("session_key")
    browsers = UserSession.objects.filter(session_key__in=live, user__is_active=True)
    yield ACTIVE_SESSIONS.sample(browsers.count() + RefreshFamily.objects.live(now).count())
