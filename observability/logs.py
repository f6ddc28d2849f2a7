"""One log line a request and one shape for every line: JSON in production, readable text in development.

Standard-library loggers (Django, daphne, uvicorn) pass through the same processors, so a line's keys do not depend on
who wrote it. No line holds a secret or a query string. Imported by the settings, so it imports nothing of Django.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import structlog

from .http.exchange import current

REDACTED = "[redacted]"

SECRET_KEY = re.compile(
    r"pass(?:word|wd|phrase)|pwd|secret|token|authorization|credential|cookie|csrf|jwt|signature"
    r"|(?:api|private|secret|signing)[_-]?key|card[_-]?number|session[_-]?(?:id|key|data)"
    r"|(?<![a-z])(?:card|cvc|cvv|otp|session)(?![a-z])",
    re.I,
)
SHOWN_THOUGH_NAMED_SO = {"token_type"}
# Written by ourselves out of a closed set of values: no need to look into each.
OURS = {"level", "timestamp", "method", "route", "client"}
MAX_DEPTH = 8

# Tokens that show what they are: JSON web tokens, whole or cut short; Stripe's keys; our deploy tokens.
TOKEN = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*){0,2}"
    r"|sk_(?<![A-Za-z]sk_)(?:test|live)_\w{4,}"
    r"|rk_(?<![A-Za-z]rk_)(?:test|live)_\w{4,}"
    r"|pk_(?<![A-Za-z]pk_)(?:test|live)_\w{4,}"
    r"|whsec_(?<![A-Za-z]whsec_)\w{4,}"
    r"|bsd_(?<![A-Za-z]bsd_)\w{12,}"
)
# What a mailed link holds in its path, and whoever has it may use once (allauth): a key to a new password, one that
# verifies an address. "set-password" stands where a key stood.
MAILED_KEY = re.compile(
    r"(?<=/reset/key/)(?![0-9A-Za-z]+-set-password(?![\w-]))[0-9A-Za-z]+-[^/\s\"'<>]+"
    r"|(?<=/confirm-email/)[^/\s\"'<>]+"
)
# A text of these alone can hold no other secret than those and a card number; most paths and ids end here.
PLAIN = re.compile(r"[\w/.~-]*")
SECRET_TEXT = re.compile(
    r"\b(?i:bearer|basic)\s+(?![a-z]+(?![\w.~+/=-]))[\w.~+/=-]{8,}"  # not "basic functionality"
    r"|(?<=://)[^/\s:@]*:[^/\s]+(?=@)"  # user and password in a URL
    r"|(?<=[\w/.~-])\?[^\s\"'<>?]*=[^\s\"'<>]*"  # a query string
    r"|(?:argon2|pbkdf2_sha\d+|bcrypt\w*|scrypt)\$[^\s\"',)]+"  # a stored password
    r"|(?<=Failing row contains )\([^\n]*"  # PostgreSQL shows the whole row
    # name=value and "name": value, wherever they stand
    r"|(?P<name>(?i:password|passwd|passphrase|secret|token|api[_-]?key|sessionid|csrftoken|cvc)(?:=|[\"']\s*:\s*))"
    r"(?:\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?|[^\s\"'&,;)}\]]+)"
    r"|(?P<header>(?i:authorization|cookie)[\"']?\s*[:=])[^\r\n]+"
)
CARD = re.compile(r"[2-6](?<![\w.].)(?:(?:[ +-]|%20)?\d){12,18}(?!\w)")
UNPRINTABLE = re.compile(r"[^\S \n\t]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what is a secret by its key or by its look, at any depth; what is no plain value becomes its repr."""
    for key, value in event.items():
        if key not in OURS:
            event[key] = _redacted(key, value, 0)
    return event


def redacted(text: str) -> str:
    """`text` without what looks like a secret or a query string: for what is kept of what a client sent."""
    if len(text) < 8:
        return text
    if "_" in text or "eyJ" in text:
        text = TOKEN.sub(REDACTED, text)
    if "/key/" in text or "/confirm-email/" in text:
        text = MAILED_KEY.sub(REDACTED, text)
    if not PLAIN.fullmatch(text):
        text = SECRET_TEXT.sub(_blank, text)
    return CARD.sub(_blank_card, text)


def _redacted(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _is_secret(key):
        return REDACTED
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, int | float):
        return REDACTED if isinstance(value, int) and CARD.sub(_blank_card, str(value)) == REDACTED else value
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {redacted(str(inner)): _redacted(str(inner), item, depth + 1) for inner, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_redacted(key, item, depth + 1) for item in value]
    return redacted(repr(value))


@lru_cache(maxsize=1000)
def _is_secret(key: str) -> bool:
    return key not in SHOWN_THOUGH_NAMED_SO and SECRET_KEY.search(key) is not None


def _blank(match: re.Match[str]) -> str:
    if match[0][0] == "?":
        return f"?{REDACTED}"
    return f"{match['name'] or match['header'] or ''}{REDACTED}"


def _blank_card(match: re.Match[str]) -> str:
    """A card number by its check digit (ISO/IEC 7812, Luhn), so that other long numbers stay."""
    digits = [int(character) for character in match[0].replace("%20", "") if character.isdigit()]
    total = sum(digits[-1::-2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return match[0] if total % 10 else REDACTED


def one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Spell out what a terminal would obey; line breaks too, but in a traceback. (JSON escapes by itself.)"""
    for key, value in event.items():
        if isinstance(value, str):
            value = UNPRINTABLE.sub(_spelled_out, value)
            event[key] = value if key in {"exception", "stack"} else value.replace("\n", "\\n")
    return event


def _spelled_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def with_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say which request a line belongs to."""
    exchange = current.get()
    if exchange is not None:
        event["request_id"] = exchange.request_id
    return event


class Lines(structlog.WriteLogger):
    """Writes lines under a logger's name, as the standard library's loggers have one."""

    def __init__(self, name: str = "bambisleep") -> None:
        super().__init__(sys.stderr)
        self.name = name

    def msg(self, message: str) -> None:
        """Write a line; where it cannot be written (a full disk, closed), it is lost, and what it tells of goes on."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def configuration(*, level: str, log_format: str) -> None:
    """Configure structlog and the standard library's logging.

    Args:
        level: a level's name, such as INFO.
        log_format: "json", or "console" for people.
    """
    processors: list[structlog.typing.Processor] = [
        with_request_id,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, redact]
    if log_format == "json":
        ending += [structlog.processors.JSONRenderer()]
    else:
        ending += [one_line, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    number = logging.getLevelNamesMapping().get(level, logging.INFO)
    structlog.configure(
        processors=[*processors, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=Lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # A line that cannot be formatted would be printed with its arguments, past all of the above.
    logging.raiseExceptions = False
    # The edge writes one line a request; the servers' and Django's own would be the second and the third.
    for name in ("django.request", "django.channels.server", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("daphne", "asyncio", "uvicorn.error", "stripe"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_without_a_clients_traceback)
    # At DEBUG these write parameters, bodies and headers: rows, payments, tokens.
    for name in ("django.db.backends", "httpx", "httpcore", "urllib3"):
        logging.getLogger(name).setLevel(max(number, logging.INFO))


def _without_a_clients_traceback(record: logging.LogRecord) -> bool:
    """uvicorn calls it an error of ours, with a traceback, when a client's text is no UTF-8: it is closed with 1007."""
    return not record.getMessage().startswith("Invalid UTF-8 sequence")
