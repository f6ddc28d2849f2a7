"""What prune does to accounts: what has ended goes, what is in use stays."""

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from axes.models import AccessFailureLog
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts import tokens
from accounts.models import OutgoingMail, RefreshFamily, User
from observability import retention

pytestmark = pytest.mark.django_db


def prune(name: str) -> int:
    (step,) = [step for step in retention.prune([name]) if step.is_done]
    assert not step.error
    return step.number


def session(days: float) -> str:
    store = SessionStore()
    store["signed_in_at"] = 1.0
    store.save()
    expires = timezone.now() + timedelta(days=days)
    Session.objects.filter(session_key=store.session_key).update(expire_date=expires)
    return str(store.session_key)


def test_sessions_that_have_expired_go_and_then_their_place_in_the_list(member: User) -> None:
    gone, live = session(-0.01), session(1)
    before = timezone.now() - timedelta(days=2)
    for key in (gone, live):
        UserSession.objects.create(user=member, ip="203.0.113.7", session_key=key, last_seen_at=before)
    assert (prune("sessions"), prune("signed-in-browsers")) == (1, 1)
    assert Session.objects.get().session_key == UserSession.objects.get().session_key == live


def test_a_browser_that_signs_in_at_this_moment_stays_in_the_list(member: User) -> None:
    UserSession.objects.create(user=member, ip="203.0.113.7", session_key="not written yet")
    assert prune("signed-in-browsers") == 0


def test_failed_sign_ins_go_when_no_limit_looks_at_them_any_more() -> None:
    for days in (3, 1):
        row = AccessFailureLog.objects.create(username="mara", ip_address="203.0.113.7")
        AccessFailureLog.objects.filter(pk=row.pk).update(attempt_time=timezone.now() - timedelta(days=days))
    assert prune("failed-sign-ins") == 1
    assert AccessFailureLog.objects.count() == 1


def test_api_sign_ins_go_a_month_after_their_end_and_are_refused_then_as_before(member: User) -> None:
    pair = tokens.issue(member)
    assert prune("refresh-families") == 0
    now = timezone.now()
    RefreshFamily.objects.update(created_at=now - timedelta(days=60), expires_at=now - timedelta(days=31))
    assert prune("refresh-families") == 1
    with pytest.raises(tokens.InvalidToken):
        tokens.rotate(pair.refresh)


def test_mails_that_nobody_took_go_and_with_0_days_they_stay(settings: object) -> None:
    for days in (15, 13):
        at = timezone.now() - timedelta(days=days)
        OutgoingMail.objects.create(
            recipients=["a@example.org"], sender="b@example.org", subject="Hello", created_at=at
        )
    settings.MAILS_DAYS = 0  # type: ignore[attr-defined]
    assert prune("mails") == 0
    settings.MAILS_DAYS = 14  # type: ignore[attr-defined]
    assert prune("mails") == 1


def test_the_admins_log_is_kept_for_ever_unless_somebody_wants_otherwise(staff: User, settings: object) -> None:
    kind = ContentType.objects.get_for_model(User)
    entry = LogEntry.objects.create(user=staff, content_type=kind, object_id="1", object_repr="a user", action_flag=2)
    LogEntry.objects.filter(pk=entry.pk).update(action_time=timezone.now() - timedelta(days=4000))
    assert prune("admin-log") == 0
    settings.ADMIN_LOG_DAYS = 365  # type: ignore[attr-defined]
    assert prune("admin-log") == 1
