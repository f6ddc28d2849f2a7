"""Mails wait in the database until a mail server takes them: one that is slow or gone holds up nobody, loses nothing.

EMAIL_BACKEND is `OutboxBackend`, which stores; a thread in each serving process hands on what is due, by whatever
`EMAIL_URL` names, and tries again with growing patience. Rows are claimed by a conditional UPDATE, so several
processes share the work.
"""

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage
from django.db import DatabaseError, close_old_connections, transaction
from django.db.models import Q
from django.utils import timezone

from observability.threads import has_ended

from .metrics import MAILS
from .models import OutgoingMail

LEASE = timedelta(minutes=2)  # how long a process has a mail to itself
GIVE_UP = timedelta(days=3)
LONGEST_PAUSE = timedelta(minutes=30)
LOOK_SECONDS = 5.0

log = structlog.get_logger("bambisleep.mail")


class OutboxBackend(BaseEmailBackend):
    """Stores mails, in the transaction that asks for them."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Store, and have them sent once the transaction is through; returns how many."""
        stored = [_row(message) for message in email_messages if message.recipients()]
        OutgoingMail.objects.bulk_create(stored)
        transaction.on_commit(sender.wake)
        return len(stored)


def deliver_due(*, stopped: threading.Event | None = None) -> int:
    """Hand on every mail that is due.

    Args:
        stopped: where it is set meanwhile, the rest is left to other processes.

    Returns:
        How many a server took.
    """
    sent = 0
    while not (stopped and stopped.is_set()) and (mail := _claim()) is not None:
        sent += _deliver(mail)
    return sent


class Sender:
    """The thread that delivers, in a serving process."""

    def __init__(self) -> None:
        self._due = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start it, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mail", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._due.set()

    def stop(self, deadline: float) -> bool:
        """End the thread once the mail that it hands on is through: if it died in between, that would be sent twice.

        Args:
            deadline: how long to wait for that, by time.monotonic.

        Returns:
            Whether it has ended.
        """
        self._stopped.set()
        self._due.set()
        return has_ended(self._thread, deadline)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._due.wait(LOOK_SECONDS)
            self._due.clear()
            try:
                deliver_due(stopped=self._stopped)
            except DatabaseError as error:
                log.warning("mails_wait", error=str(error).strip()[:300])
                time.sleep(1)
            finally:
                close_old_connections()


def _row(message: EmailMessage) -> OutgoingMail:
    parts: list[Any] = list(getattr(message, "alternatives", []))
    return OutgoingMail(
        recipients=list(message.recipients()),
        sender=message.from_email,
        subject=str(message.subject)[:998],
        body=str(message.body),
        html=next((str(part[0]) for part in parts if part[1] == "text/html"), ""),
        headers=dict(message.extra_headers),
    )


def _claim() -> OutgoingMail | None:
    now = timezone.now()
    # None waits longer than the longest pause, but for a clock that has been set back since.
    is_due = Q(next_try_at__lte=now) | Q(next_try_at__gt=now + LONGEST_PAUSE)
    for mail in OutgoingMail.objects.filter(is_due)[:10]:
        theirs = OutgoingMail.objects.filter(pk=mail.pk, next_try_at=mail.next_try_at)
        if theirs.update(next_try_at=now + LEASE):
            return mail
    return None


def _deliver(mail: OutgoingMail) -> int:
    message = EmailMultiAlternatives(mail.subject, mail.body, mail.sender, mail.recipients, headers=mail.headers)
    if mail.html:
        message.attach_alternative(mail.html, "text/html")
    message.connection = get_connection(settings.EMAIL_DELIVERY_BACKEND)
    try:
        message.send()
    except (OSError, ValueError) as error:  # smtplib raises the one, a header that cannot be sent the other
        _try_later(mail, str(error))
        return 0
    mail.delete()
    MAILS.labels("sent").inc()
    return 1


def _try_later(mail: OutgoingMail, error: str) -> None:
    now = timezone.now()
    if now - mail.created_at > GIVE_UP:
        mail.delete()
        MAILS.labels("given_up").inc()
        log.error("mail_given_up", mail=mail.pk, tries=mail.tries + 1, error=error[:300])
        return
    mail.tries += 1
    mail.next_try_at = now + min(timedelta(seconds=5 * 2 ** min(mail.tries, 16)), LONGEST_PAUSE)
    mail.last_error = error[:300]
    mail.save(update_fields=["tries", "next_try_at", "last_error"])
    MAILS.labels("failed").inc()
    log.warning("mail_waits", mail=mail.pk, tries=mail.tries, error=mail.last_error)


sender = Sender()
