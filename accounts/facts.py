"""How many users there are and how many are signed in, from the database."""

from collections.abc import Iterator

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
    counts = User.objects.aggregate(active=Count("pk", filter=Q(is_active=True)), all=Count("pk"))
    yield USERS.sample(counts["active"], "active")
    yield USERS.sample(counts["all"] - counts["active"], "inactive")


@fact(ACTIVE_SESSIONS, reads=[RefreshFamily], windowed=True)
def active_sessions() -> Iterator[Sample]:
    """Sessions that have not expired, in one query."""
    now = timezone.now()
    sessions = Session.objects.filter(expire_date__gt=now).order_by().values_list("pk")
    families = RefreshFamily.objects.live(now).order_by().values_list("pk")
    yield ACTIVE_SESSIONS.sample(sessions.count() + families.count())
