"""What of accounts is not kept for ever: sessions and tokens past their use, failed sign-ins, mails, the admin log."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from allauth.account.models import EmailConfirmation
from allauth.usersessions.models import UserSession
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef

from observability.retention import Outdated, Rows, keeps

from . import lockout
from .models import OutgoingMail, RefreshFamily


@keeps("sessions", "Browser sessions, once they have expired.")
def sessions(before: datetime) -> Iterator[Outdated]:
    """Django's own."""
    yield Rows(Session.objects.filter(expire_date__lt=before))


@keeps("signed-in-browsers", "The list of a member's browsers, once the session is gone.", period=timedelta(days=1))
def signed_in_browsers(before: datetime) -> Iterator[Outdated]:
    """allauth's, whose rows stay when a session expires. The day is for those whose session is being written."""
    session = Session.objects.filter(session_key=OuterRef("session_key"))
    yield Rows(UserSession.objects.filter(~Exists(session), last_seen_at__lt=before))


@keeps("email-confirmations", "Keys that confirm an e-mail address, once they have expired.")
def email_confirmations(before: datetime) -> Iterator[Outdated]:
    """allauth's: left by a version, or a setting, that stores them."""
    yield Rows(EmailConfirmation.objects.all_expired())  # type: ignore[no-untyped-call]


@keeps("failed-sign-ins", "Failed sign-ins, which no limit looks at any more.", period=lockout.KEPT)
def failed_sign_ins(before: datetime) -> Iterator[Outdated]:
    """axes' own tables, of which the site fills the first alone."""
    for model in (AccessFailureLog, AccessAttempt, AccessLog):
        yield Rows(model.objects.filter(attempt_time__lt=before))


@keeps("refresh-families", "API sign-ins, from the day on which they ended.", days="REFRESH_FAMILIES_DAYS")
def refresh_families(before: datetime) -> Iterator[Outdated]:
    """A token of a family that is not there is refused as an expired one is."""
    yield Rows(RefreshFamily.objects.filter(expires_at__lt=before))


@keeps("mails", "Mails that wait for a mail server; what they lead to has expired.", days="MAILS_DAYS")
def mails(before: datetime) -> Iterator[Outdated]:
    """The outbox gives up by itself after three days of trying; these nobody tried to send."""
    yield Rows(OutgoingMail.objects.filter(created_at__lt=before))


@keeps("admin-log", "What staff changed in the admin.", days="ADMIN_LOG_DAYS")
def admin_log(before: datetime) -> Iterator[Outdated]:
    """Django's own log."""
    yield Rows(LogEntry.objects.filter(action_time__lt=before))
