"""Counting a finished exchange, once, under bounded labels."""

from typing import Any

from .exchange import UNMATCHED
from .metrics import DURATION, ERRORS, REQUESTS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "OTHER"
HANG_UP = 499  # nginx's name for a client that went away before it was answered

# Looking a label set up costs more than counting in it, so each is kept. Methods, routes and statuses are bounded.
_served: set[tuple[str, str]] = set()
_children: dict[tuple[str, str, int], tuple[Any, Any, Any]] = {}


def record(*, method: str, route: str, status: int, seconds: float, request_id: str, as_error: bool = True) -> None:
    """Count one request.

    Args:
        method: as sent; what the route does not serve counts as OTHER, but for HEAD (timed with GET) and OPTIONS.
        route: the URL pattern, or "unmatched".
        status: as sent to the client, or 499 where it hung up.
        seconds: to the last byte (to the first, where the route streams media).
        as_error: whether a status from 400 on is an error; not where all went as it should.
        request_id: kept as the exemplar of its bucket (OpenMetrics only), to go from a slow bucket to a log line.
    """
    key = (method, route, status)
    children = _children.get(key)
    if children is None:
        children = _children_of(method if method in METHODS else OTHER, route, status)
        if method in METHODS:
            _children[key] = children
    children[0].inc()
    children[1].observe(seconds, {"request_id": request_id})
    if as_error and children[2] is not None:
        children[2].inc()


def _children_of(method: str, route: str, status: int) -> tuple[Any, Any, Any]:
    timed = (method, route)
    if (method, route) not in _served:
        # Whatever a stranger sends, it makes no histogram of its own: 13 series for each method on each route.
        timed = ("GET", route) if method == "HEAD" and ("GET", route) in _served else (OTHER, UNMATCHED)
        if method not in {"HEAD", "OPTIONS"} and route != UNMATCHED:
            method = OTHER
    error = "server_error" if status >= 500 else "client_error" if status >= 400 else None
    return (
        REQUESTS.labels(method, route, str(status)),
        DURATION.labels(*timed),
        ERRORS.labels(method, route, error) if error else None,
    )


def serve(method: str, route: str) -> None:
    """Say that a route serves a method, so that its requests are counted and timed under both."""
    _served.add((method, route))


def expect(method: str, route: str) -> None:
    """The same, and create the error counters and the duration series at 0, so that the first error is seen."""
    serve(method, route)
    DURATION.labels(method, route)
    for error in ("client_error", "server_error"):
        ERRORS.labels(method, route, error)
