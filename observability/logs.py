"""One log line a request and one shape for every line: JSON in production, readable text in development.

Standard-library loggers (Django, daphne, uvicorn) pass through the same processors, so a line's keys do not depend on
who wrote it. Imported by the settings, so it imports nothing of Django.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_KEY = re.compile(r"pass(word|wd|phrase)|secret|token|authorization|cookie|api_?key|card|cvc|otp|session", re.I)
SECRET_VALUE = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JSON web token
    r"|\b(?:sk|rk|pk)_(?:test|live)_\w{8,}|\bwhsec_\w{8,}|\bbsd_\w{8,}"  # Stripe's keys and our deploy tokens
    r"|\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}"
    r"|\b(?:\d[ -]?){13,19}\b"  # a card number
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",  # user and password in a URL
    re.I,
)
SHOWN_THOUGH_NAMED_SO = {"request_id", "token_type", "sessions", "tokens"}


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what is a secret by its key or by its look, at any depth."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(key, item) for item in value]
    if key not in SHOWN_THOUGH_NAMED_SO and SECRET_KEY.search(key):
        return "[redacted]"
    if isinstance(value, str) and len(value) > 8:
        return SECRET_VALUE.sub("[redacted]", value)
    return value


def configuration(*, level: str, log_format: str) -> None:
    """Configure structlog and the standard library's logging.

    Args:
        level: a level's name, such as INFO.
        log_format: "json", or "console" for people.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor]
    if log_format == "json":
        ending = [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
    else:
        colors = sys.stderr.isatty()
        ending = [structlog.processors.format_exc_info, redact, structlog.dev.ConsoleRenderer(colors=colors)]
    number = logging.getLevelNamesMapping().get(level, logging.INFO)
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # The edge writes one line a request; the servers' and Django's own would be the second and the third.
    for name in ("django.request", "django.channels.server", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("daphne", "asyncio", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
