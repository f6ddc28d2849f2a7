"""The headers that every response carries, whoever made it: a view, WhiteNoise, Django's error handlers, or the edge.

They are added where the response leaves, so that nothing can forget them and they cost no middleware; a response that
sets one of them itself keeps its own.
"""

from collections.abc import Iterable, Mapping

from django.conf import settings

Header = tuple[bytes, bytes]


class StandingHeaders:
    """What to add to a response.

    headers = StandingHeaders()
    message["headers"] = headers.added_to(message["headers"], scheme="https")
    """

    __slots__ = ("_plain", "_secure")

    def __init__(self) -> None:
        standing: Mapping[str, str] = settings.SECURITY_HEADERS
        self._plain = [(name.lower().encode(), value.encode()) for name, value in standing.items()]
        self._secure = [*self._plain]
        if settings.SECURE_HSTS_SECONDS:
            self._secure.append((b"strict-transport-security", settings.STRICT_TRANSPORT_SECURITY.encode()))

    def added_to(self, headers: Iterable[Header], *, scheme: str) -> list[Header]:
        """`headers`, then those of ours that are not among them."""
        given = list(headers)
        present = {name.lower() for name, _ in given}
        standing = self._secure if scheme == "https" else self._plain
        return given + [header for header in standing if header[0] not in present]
