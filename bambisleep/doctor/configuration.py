"""The settings, what Django and the rooms say of them, and what `collectstatic` collected."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core import checks
from django.http.request import validate_host

from .findings import Finding, check, error, note, ok, warning

LEVELS = ((checks.ERROR, error), (checks.WARNING, warning), (checks.DEBUG, note))


@check("settings")
def settings_are_good() -> Iterator[Finding]:
    """Django's system checks, the rooms' own among them, and what they do not see."""
    if settings.DEBUG:
        yield note("DEBUG is on: this is development, and much of what matters in production is not looked at.")
    else:
        yield ok("DEBUG is off, and no setting is one that a production start refuses.")
    for message in checks.run_checks(include_deployment_checks=not settings.DEBUG):
        tell = next(tell for level, tell in LEVELS if message.level >= level)
        yield tell(f"{message.msg} ({message.id})", message.hint or f"See {message.id} in the documentation of checks.")
    yield from _public_url()
    if settings.SECRET_KEY_FALLBACKS or settings.JWT_SIGNING_KEY_FALLBACKS:
        yield note(
            "Former keys still verify what they signed.",
            "Empty SECRET_KEY_FALLBACKS and JWT_SIGNING_KEY_FALLBACKS "
            f"{settings.SESSION_ABSOLUTE_SECONDS // 86400} days after the keys were replaced.",
        )


def _public_url() -> Iterator[Finding]:
    parts = urlsplit(settings.PUBLIC_URL)
    if not validate_host(parts.hostname or "", settings.ALLOWED_HOSTS):
        yield error(
            f"ALLOWED_HOSTS does not hold {parts.hostname}, the host of PUBLIC_URL: every request is refused.",
            f"Add {parts.hostname} to ALLOWED_HOSTS, or correct PUBLIC_URL.",
        )
    if settings.HTTPS and parts.scheme != "https":
        yield warning(
            "HTTPS is on, and PUBLIC_URL begins with http: links in mails and feeds go over a redirect.",
            "Set PUBLIC_URL to the https address by which people reach the site.",
        )
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        yield warning(
            "HTTPS is on and TRUSTED_PROXIES is 0: behind a proxy, requests are redirected to TLS without an end, and "
            "all people have the proxy's address, which locks them out together.",
            "Set TRUSTED_PROXIES to how many of your own proxies stand before the site; behind one nginx it is 1.",
        )


@check("security.txt")
def somebody_can_be_told() -> Iterator[Finding]:
    """RFC 9116: who finds a hole must find somebody to tell."""
    if not settings.SECURITY_CONTACT:
        tell: Any = note if settings.DEBUG else warning
        yield tell(
            "SECURITY_CONTACT is not set: there is no /.well-known/security.txt.",
            "Set it to an address that is read, such as mailto:security@example.org.",
        )
        return
    if not settings.SECURITY_CONTACT_EXPIRES:
        yield ok(f"Problems are reported to {settings.SECURITY_CONTACT}.")
        return
    left = date.fromisoformat(settings.SECURITY_CONTACT_EXPIRES) - date.today()  # noqa: DTZ011 - a day more or less
    if left < timedelta(days=30):
        when = "has expired" if left < timedelta(0) else f"expires in {left.days} days"
        yield warning(f"The contact in security.txt {when}.", "Look whether it is still right, and set a later day.")
    else:
        yield ok(f"Problems are reported to {settings.SECURITY_CONTACT}, until {settings.SECURITY_CONTACT_EXPIRES}.")


@check("static files")
def static_files_are_collected() -> Iterator[Finding]:
    """What browsers get is what the code has."""
    if settings.DEBUG:
        yield ok("In development they are served as they are.")
        return
    root, remedy = Path(settings.STATIC_ROOT), "Run manage.py collectstatic --noinput, and restart the site."
    if not (root / "staticfiles.json").exists():
        yield error(f"{root} holds no staticfiles.json: pages have no styles, or fail.", remedy)
        return
    sources = {name: Path(path) for name, path in _own_files()}
    old = [name for name, path in sources.items() if not _same(path, root / name)]
    if old:
        yield warning(f"{len(old)} of our own are missing or older than the code, such as {old[0]}.", remedy)
    else:
        yield ok(f"They are collected in {root}.")


def _own_files() -> Iterator[tuple[str, str]]:
    """The project's own, by the names under which they are served."""
    for finder in finders.get_finders():
        for path, storage in finder.list([]):
            place: str = storage.path(path)
            if Path(place).is_relative_to(settings.BASE_DIR) and "site-packages" not in place:
                yield path, place


def _same(source: Path, collected: Path) -> bool:
    return collected.exists() and source.read_bytes() == collected.read_bytes()
