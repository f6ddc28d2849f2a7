"""From which pages a browser may open a connection: those of this site, by scheme, host and port.

Channels' own validator looks at the host alone.
"""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_host_allowed(host: str) -> bool:
    """Whether the Host header is one that the site answers to."""
    try:
        domain, _ = split_domain_port(host)
    except DisallowedHost:
        return False
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def is_allowed(origin: str, *, host: str, scheme: str) -> bool:
    """Whether a handshake with that Origin may go on with the visitor's cookies.

    Args:
        origin: the header, as the browser sent it.
        host: the Host header, with its port where it has one.
        scheme: by which the client came: ws, wss, http or https.
    """
    own_scheme = "https" if scheme in {"wss", "https"} else "http"
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if (
        parts.scheme not in DEFAULT_PORTS
        or not parts.hostname
        or parts.path
        or parts.query
        or parts.fragment
        or parts.username
    ):
        return False
    told = (parts.scheme, parts.hostname.lower(), port or DEFAULT_PORTS[parts.scheme])
    return told == _of_host(own_scheme, host) or any(
        _matches(told, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS
    )


def _of_host(scheme: str, host: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(f"{scheme}://{host}")
        return scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS[scheme]
    except ValueError:
        return None


def _matches(told: tuple[str, str, int], trusted: str) -> bool:
    """As Django reads CSRF_TRUSTED_ORIGINS: https://*.example.org is every host below that name."""
    parts: Any = urlsplit(trusted.replace("://*.", "://."))
    scheme, host, port = told
    return (
        scheme == parts.scheme
        and port == (parts.port or DEFAULT_PORTS.get(scheme))
        and is_same_domain(host, (parts.hostname or "").lower())
    )
