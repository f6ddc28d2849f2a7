"""The mail server, as far as it can be asked without sending anything, and the mails that wait for it."""

import smtplib
import ssl
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import Min
from django.utils import timezone

from accounts.models import OutgoingMail

from .findings import Finding, check, error, note, ok, warning

SMTP = "django.core.mail.backends.smtp.EmailBackend"
TIMEOUT_SECONDS = 6.0
WAITING = timedelta(minutes=30)


@check("mail", seconds=20)
def mails_can_be_sent() -> Iterator[Finding]:
    """Connects, says EHLO, begins TLS, signs in, and goes."""
    if settings.EMAIL_DELIVERY_BACKEND != SMTP:
        tell = note if settings.DEBUG else warning
        where = settings.EMAIL_DELIVERY_BACKEND.split(".")[-2]
        yield tell(f"Mails go nowhere ({where}).", "Set EMAIL_URL, such as smtp+tls://user:password@host:587.")
    else:
        yield from _server()
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    if not settings.DEBUG and "." not in domain:
        yield warning(
            f"Mails come from {settings.DEFAULT_FROM_EMAIL}, which other servers refuse.",
            "Set DEFAULT_FROM_EMAIL to an address of your own domain, which has SPF and DKIM records.",
        )
    waiting = OutgoingMail.objects.filter(created_at__lt=timezone.now() - WAITING)
    oldest = waiting.aggregate(at=Min("created_at"))["at"]
    if oldest is not None:
        last = waiting.exclude(last_error="").order_by("-pk").values_list("last_error", flat=True).first()
        yield warning(
            f"{waiting.count()} mails wait, the first since {oldest:%Y-%m-%d %H:%M} UTC: "
            f"{last or 'nobody has tried to send them'}.",
            "See what the mail server says; a process of the site must run, since it is who sends them.",
        )


def _server() -> Iterator[Finding]:
    host, port = settings.EMAIL_HOST, settings.EMAIL_PORT
    where = f"{host}:{port}"
    context = ssl.create_default_context()
    try:
        with (
            smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=context)
            if settings.EMAIL_USE_SSL
            else smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
        ) as server:
            server.ehlo()
            if settings.EMAIL_USE_TLS:
                server.starttls(context=context)
                server.ehlo()
            if settings.EMAIL_HOST_USER:
                server.login(settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD)
            has_tls = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
            offers_tls = server.has_extn("starttls")
    except smtplib.SMTPAuthenticationError:
        yield error(f"{where} refuses the user or the password.", "Correct them in EMAIL_URL.")
    except ssl.SSLError as problem:
        yield error(
            f"No TLS can be had with {where}: {problem.reason or problem}.",
            "smtp+tls:// is for port 587, smtp+ssl:// for 465; the name has to be the one in its certificate.",
        )
    except (OSError, smtplib.SMTPException) as problem:
        yield error(
            f"{where} does not answer as a mail server does: {problem}",
            "Is EMAIL_URL right, and may this machine connect there? Mails wait meanwhile, for three days.",
        )
    else:
        yield ok(f"{where} takes mails{', over TLS' if has_tls else ''}.")
        if not has_tls and host not in {"localhost", "127.0.0.1", "::1"}:
            how = " It offers TLS." if offers_tls else ""
            yield warning(
                f"Mails, and what is in them, go to {where} in the clear.{how}", "Use smtp+tls:// in EMAIL_URL."
            )


def send(address: str) -> Iterator[Finding]:
    """Send a mail, past the outbox, so that what the server says is seen."""
    message = EmailMessage(
        "A test",
        "manage.py doctor --send sent this. Mails of this site arrive.",
        settings.DEFAULT_FROM_EMAIL,
        [address],
        connection=get_connection(settings.EMAIL_DELIVERY_BACKEND),
    )
    try:
        message.send()
    except (OSError, ValueError) as problem:
        yield error(f"The mail to {address} is not sent: {problem}", "See what is said of mail above.")
    else:
        yield ok(f"A mail is on its way to {address}: look whether it arrives, and not among the spam.")
