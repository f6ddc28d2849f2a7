"""The site as the outside sees it, at PUBLIC_URL: its certificate, an answer, and what must not be seen there."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.utils import timezone

from .findings import Finding, check, error, note, ok, warning

TIMEOUT_SECONDS = 5.0
SOON, VERY_SOON = timedelta(days=21), timedelta(days=7)


@check("certificate", seconds=10)
def certificate_is_good() -> Iterator[Finding]:
    """Whether browsers take it, and for how long still."""
    parts = urlsplit(settings.PUBLIC_URL)
    if parts.scheme != "https":
        yield note("PUBLIC_URL is no https address: there is no certificate to look at.")
        return
    host, port = parts.hostname or "", parts.port or 443
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate, version = secured.getpeercert() or {}, secured.version()
    except ssl.SSLCertVerificationError as problem:
        yield error(f"Browsers refuse the certificate of {host}: {problem.verify_message}.", "Have it issued anew.")
        return
    except OSError as problem:
        yield error(
            f"{host}:{port} cannot be reached from here: {problem}", "Is nginx up, and does its name lead here?"
        )
        return
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    yield _until(ends - timezone.now(), f"{version}; the certificate of {host} is good until {ends:%Y-%m-%d}")


def _until(left: timedelta, said: str) -> Finding:
    text = f"{said}, {left.days} more days."
    remedy = "Renew it, and see why that did not happen by itself (certbot renew --dry-run)."
    if left < VERY_SOON:
        return error(text, remedy)
    return warning(text, remedy) if left < SOON else ok(text)


@check("public address", seconds=15)
def outside_sees_what_it_should() -> Iterator[Finding]:
    """It answers there, and shows its metrics to nobody."""
    live = f"{settings.PUBLIC_URL}/health/live"
    try:
        answer = requests.get(live, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as problem:
        tell = note if settings.DEBUG else error
        yield tell(
            f"Nothing answers at {settings.PUBLIC_URL} ({type(problem).__name__}).",
            "Start the site, and see that the name and the proxy lead to it.",
        )
        return
    # A proxy may keep the health checks to itself; that something like the site answers is enough.
    if answer.status_code >= 500:
        yield error(f"{live} answers {answer.status_code}.", "Is a process of the site up behind the proxy?")
    else:
        yield ok(f"The site answers at {settings.PUBLIC_URL}.")
    page = requests.head(settings.PUBLIC_URL, timeout=TIMEOUT_SECONDS)
    if settings.PUBLIC_URL.startswith("https://") and "Strict-Transport-Security" not in page.headers:
        yield warning("It sends no Strict-Transport-Security.", "Is HTTPS on? Does the proxy take it out?")
    shown = requests.get(f"{settings.PUBLIC_URL}/metrics", timeout=TIMEOUT_SECONDS, allow_redirects=False)
    if shown.status_code == 200 and not settings.DEBUG:
        yield warning("Everybody may read /metrics.", "Set METRICS_TOKEN, and have the proxy refuse it (deploy/nginx).")
