"""What is known of one request while it passes through the house, carried in its ASGI scope."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the logs need this module before Django is set up
    from django.http import HttpRequest

    from ..models import SecurityEvent

SCOPE_KEY = "bambisleep"
UNMATCHED = "unmatched"


@dataclass(slots=True)
class Exchange:
    """One request and its response.

    The edge makes it; the handler writes `route` and `user_id`; a view that streams media sets `streams_media`; who
    refuses a handshake for another process to take sets `sent_elsewhere`.
    """

    request_id: str
    started: float  # seconds of time.perf_counter
    path: str = ""
    client: str | None = None  # the address, without the port
    route: str | None = None
    user_id: int | None = None
    status: int | None = None
    first_byte: float | None = None  # seconds of time.perf_counter
    received_bytes: int = 0
    streams_media: bool = False
    sent_elsewhere: bool = False
    complete: bool = False
    gone: bool = False
    refused: int | None = None
    security_events: "list[SecurityEvent]" = field(default_factory=list)


current: ContextVar[Exchange | None] = ContextVar("current", default=None)
unanswered: set[int] = set()  # by id(), the exchanges of this process whose answer has not begun


def exchange_of(request: "HttpRequest") -> Exchange | None:
    """The exchange that `request` belongs to; None where it did not come through the edge (Django's test client)."""
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    return scope.get(SCOPE_KEY) if scope else None


def request_id_of(request: "HttpRequest") -> str:
    """The request's id, or "-" where it did not come through the edge."""
    exchange = exchange_of(request)
    return exchange.request_id if exchange else "-"
