"""One pass over a request's headers: what the edge needs of them, and what may go on to the application.

The headers by which a client could pose as another are dropped here, once, so that nothing behind the edge can believe
them: axes, DRF, the logs and the security events all read `scope["client"]`.
"""

import ipaddress
import random
import re
from collections.abc import Sequence
from functools import lru_cache

Header = tuple[bytes, bytes]
Address = tuple[str, int]

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
        b"x-refused-request",
        b"x-refused-status",
    }
)
READ = FORGEABLE | {b"x-request-id", b"content-length", b"content-type"}
REFUSALS = frozenset({b"400", b"404", b"405", b"413", b"414", b"501", b"505"})  # of nginx's own
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class Head:
    """What a request's headers say.

    Attributes:
        kept: the headers that go on to the application.
        request_id: the client's, where it is safe to log, else one of our own.
        content_length, content_type: as sent; None where they are missing.
        refused_request: the request line of a request that our own nginx answered by itself (deploy/nginx).
        refused_status: the status it answered with.
        size_bytes: names and values together.
    """

    __slots__ = (
        "content_length",
        "content_type",
        "forwarded_for",
        "forwarded_proto",
        "kept",
        "refused_request",
        "refused_status",
        "request_id",
        "size_bytes",
    )

    def __init__(self, headers: Sequence[Header]) -> None:
        self.kept: list[Header] = []
        self.request_id = ""
        self.content_length: bytes | None = None
        self.content_type: bytes | None = None
        self.refused_request: bytes | None = None
        self.refused_status = 400
        self.forwarded_for = b""
        self.forwarded_proto: bytes | None = None
        self.size_bytes = 0
        for header in headers:
            name, value = header
            self.size_bytes += len(name) + len(value)
            if name in READ:
                self._read(name, value)
                if name in FORGEABLE:
                    continue
            self.kept.append(header)
        if not self.request_id:
            # An id to find lines by, not a secret: no system call for it.
            self.request_id = f"{random.getrandbits(128):032x}"

    def _read(self, name: bytes, value: bytes) -> None:
        if name == b"x-request-id":
            if REQUEST_ID.fullmatch(value):
                self.request_id = value.decode("ascii")
        elif name == b"content-length":
            self.content_length = value
        elif name == b"content-type":
            self.content_type = value
        elif name == b"x-forwarded-for":
            self.forwarded_for = self.forwarded_for + b"," + value if self.forwarded_for else value
        elif name == b"x-forwarded-proto":
            self.forwarded_proto = value
        elif name == b"x-refused-request":
            self.refused_request = value
        elif name == b"x-refused-status" and value in REFUSALS:
            self.refused_status = int(value)

    def client(self, peer: Address | None, proxies: int) -> Address | None:
        """The client's address as our outermost proxy saw it.

        Args:
            peer: address and port of the connection.
            proxies: how many proxies of ours the request came through; each appended one entry to X-Forwarded-For.

        Returns:
            The address and port 0, or `peer` where there is no proxy, or the header holds less than the proxies must
            have written, or something that is no address.
        """
        if proxies < 1:
            return peer
        entries = self.forwarded_for.split(b",")
        address = _address(entries[-proxies]) if len(entries) >= proxies else None
        return (address, 0) if address else peer

    def scheme(self, scheme: str, proxies: int) -> str:
        """The scheme (http, https, ws, wss) that the nearest proxy of ours names; `scheme` where there is none."""
        if proxies < 1 or self.forwarded_proto is None:
            return scheme
        plain = "ws" if scheme.startswith("ws") else "http"
        return plain + "s" if self.forwarded_proto.strip().lower() == b"https" else plain


@lru_cache(1024)
def _address(entry: bytes) -> str | None:
    try:
        return str(ipaddress.ip_address(entry.decode("latin-1").strip().strip("[]")))
    except ValueError:
        return None
