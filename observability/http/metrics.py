"""RED: rate, errors and duration of HTTP requests, by URL pattern."""

from ..metrics import UNKNOWN, counter, gauge, histogram

REQUESTS = counter("http_requests_total", "HTTP requests answered.", method=UNKNOWN, route=UNKNOWN, status=UNKNOWN)
DURATION = histogram(
    "http_request_duration_seconds",
    "Seconds from a request's arrival to its response's last byte; to the first byte on routes that stream media.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    method=UNKNOWN,
    route=UNKNOWN,
)
ERRORS = counter(
    "http_requests_errors_total",
    "HTTP requests answered 4xx (client_error, a client that hung up included, but not in the midst of media) or 5xx "
    "(server_error).",
    method=UNKNOWN,
    route=UNKNOWN,
    type=UNKNOWN,
)
IN_PROGRESS = gauge("http_requests_in_progress", "HTTP requests being answered now.")
