"""Whose request it is: the client's address and scheme, from the configured number of our own proxies.

The headers a client could forge are dropped here, once, so that nothing behind the edge can believe them: axes, DRF,
the logs and the security events all read `scope["client"]`.
"""

import ipaddress
from collections.abc import Sequence

Headers = list[tuple[bytes, bytes]]

# daphne rewrites paths from its header; the rest say who the client is and where it came in.
FORGEABLE = frozenset(
    {
        b"daphne-root-path",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)


def without_forgeable(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """`headers` without those by which a client could pose as another."""
    return [header for header in headers if header[0] not in FORGEABLE]


def client_behind(
    headers: Sequence[tuple[bytes, bytes]], peer: tuple[str, int] | None, proxies: int
) -> tuple[str, int] | None:
    """The client's address as our outermost proxy saw it.

    Args:
        headers: the request's headers, as ASGI gives them.
        peer: address and port of the connection.
        proxies: how many proxies of ours the request came through; each appended one entry to X-Forwarded-For.

    Returns:
        The address and port 0, or `peer` where there is no proxy, or the header holds less than the proxies must have
        written, or something that is no address.
    """
    if proxies < 1:
        return peer
    entries = [entry for name, value in headers if name == b"x-forwarded-for" for entry in value.split(b",")]
    if len(entries) < proxies:
        return peer
    entry = entries[-proxies].decode("latin-1").strip().strip("[]")
    try:
        return str(ipaddress.ip_address(entry)), 0
    except ValueError:
        return peer


def scheme_behind(headers: Sequence[tuple[bytes, bytes]], scheme: str, proxies: int) -> str:
    """ "https" or "http" (or wss, ws) as the nearest proxy of ours says; `scheme` where there is none."""
    if proxies < 1:
        return scheme
    for name, value in headers:
        if name == b"x-forwarded-proto":
            secure = value.strip().lower() == b"https"
            if scheme.startswith("ws"):
                return "wss" if secure else "ws"
            return "https" if secure else "http"
    return scheme
