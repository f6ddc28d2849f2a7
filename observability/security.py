"""Security events: what looks like an attack, counted where it is noticed."""

from .metrics import counter

TYPES = (
    "bad_host",
    "bad_origin",
    "bad_signature",
    "csrf_failure",
    "directory_traversal",
    "invalid_token",
    "lockout",
    "oversized_body",
    "rate_limited",
    "token_reuse",
)

EVENTS = counter("security_events_total", "Events that look like an attack.", type=TYPES)
DROPPED = counter("security_events_dropped_total", "Security events counted but not stored, to bound the table.")


def count(type: str) -> None:
    """Count one event.

    Args:
        type: one of `TYPES`.

    Raises:
        ValueError: where the type is not declared.
    """
    if type not in TYPES:
        raise ValueError(f"{type} is no declared type of security event.")
    EVENTS.labels(type).inc()
