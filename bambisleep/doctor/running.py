"""Runs the checks, a few at once, each for so long at most, and lets no secret into what they say."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.db import InterfaceError, OperationalError, ProgrammingError, connections

from observability.logs import redacted

from .findings import Check, Finding, error, note

SHORTEST_SECRET = 4  # shorter ones would blank half of every sentence
BLANK = "…"
AT_ONCE = 8  # checks; most of them wait for somebody, and each may want a connection to the database


@dataclass(frozen=True, slots=True)
class Examined:
    """A check, what it found, and how long it took."""

    name: str
    seconds: float
    findings: list[Finding]


def examine(checks: Iterable[Check]) -> Iterator[Examined]:
    """Run them, in their order; one that raises, or does not end, has that for a finding."""
    waiting = list(checks)
    pool = settings.DATABASES["default"].get("OPTIONS", {}).get("pool", {}).get("max_size", AT_ONCE)
    at_once = min(AT_ONCE, pool)
    while waiting:
        wave, waiting = waiting[:at_once], waiting[at_once:]
        for run in [_Run(each) for each in wave]:
            yield run.outcome()


class _Run:
    """A check that runs in a thread of its own, which is left behind where it does not end."""

    def __init__(self, check: Check) -> None:
        self._check, self._found = check, list[Finding]()
        self._started = self._ended = time.monotonic()
        self._thread = threading.Thread(target=self._look, name=f"doctor {check.name}", daemon=True)
        self._thread.start()

    def outcome(self) -> Examined:
        """What it found until it ended, or its time was over."""
        seconds = self._check.seconds
        self._thread.join(max(self._started + seconds - time.monotonic(), 0))
        if self._thread.is_alive():
            remedy = "Something accepts connections and hangs, or the way to it swallows packets."
            self._found.append(error(f"Did not answer within {seconds:g} seconds.", remedy))
            self._ended = time.monotonic()
        findings = [_plain(finding) for finding in self._found]
        return Examined(self._check.name, round(self._ended - self._started, 3), findings)

    def _look(self) -> None:
        try:
            for finding in self._check.look():
                self._found.append(finding)  # at once: a check that does not end has said what it knew
        except (OperationalError, InterfaceError, ProgrammingError) as problem:
            self._found.append(_without_the_database(problem))
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is what this check found
            text = f"Could not be looked at: {type(problem).__name__}: {_first_line(problem)}"
            remedy = "Read what it says; if it says nothing to you, this is a fault of the check: report it."
            self._found.append(error(text, remedy))
        finally:
            connections.close_all()
            self._ended = time.monotonic()


def _without_the_database(problem: Exception) -> Finding:
    """What a check says that could not ask it: the checks of the database and of migrations say what is wrong."""
    said = _first_line(problem)
    if isinstance(problem, ProgrammingError) or said.startswith("no such table"):
        return note(f"Not looked at: the database is not as this code has it ({said}).", "See the migrations.")
    return note(f"Not looked at: the database does not answer ({said}).", "See the database.")


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or ["without a word"])[0][:300]


def _plain(finding: Finding) -> Finding:
    return replace(finding, text=redacted(without_secrets(finding.text)), remedy=without_secrets(finding.remedy))


def without_secrets(text: str) -> str:
    """`text` without any value that is a secret of this site's."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, BLANK).replace(quote(secret, safe=""), BLANK)
    return text


def _secrets() -> set[str]:
    values = [
        settings.SECRET_KEY,
        *settings.SECRET_KEY_FALLBACKS,
        settings.JWT_SIGNING_KEY,
        *settings.JWT_SIGNING_KEY_FALLBACKS,
        settings.DATABASES["default"].get("PASSWORD") or "",
        urlsplit(settings.REDIS_URL).password or "",
        settings.EMAIL_HOST_PASSWORD,
        settings.STRIPE_SECRET_KEY,
        *settings.STRIPE_WEBHOOK_SECRETS,
        settings.LIBRARY_BUCKET_SECRET,
        settings.METRICS_TOKEN,
        settings.ALERTS_TOKEN,
        *(urlsplit(url).path for url in settings.SLACK_WEBHOOK_URLS),
    ]
    return {value for value in values if len(value) >= SHORTEST_SECRET}
