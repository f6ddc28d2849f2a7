"""What the commands of payments share: reading times, plain errors, and progress on standard error."""

import re
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError, OutputWrapper
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from observability.problems import Problem
from payments import setup, stripe_api

REDRAW_SECONDS = 0.1
SAY_SECONDS = 10.0  # where there is no terminal, such as in a timer's log
AGO = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def moment(text: str) -> datetime:
    """An argument that is a date, a time in ISO 8601 (UTC where it does not say), or how long ago: 14d, 12h, 30m."""
    try:
        if ago := re.fullmatch(r"(\d{1,5})([dhm])", text):
            return timezone.now() - int(ago[1]) * AGO[ago[2]]
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is no time: give a date (2026-01-31), a time (2026-01-31T12:00), or how long ago (14d, 12h, 5m)."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@contextmanager
def plain_errors(again: str = "") -> Iterator[None]:
    """Make what may go wrong a CommandError in plain words; `again` says what to do when it stopped half-way."""
    try:
        yield
    except stripe_api.Unavailable as problem:
        raise CommandError(_sentences(setup.explained(problem), again)) from None
    except Problem as problem:
        raise CommandError(problem.detail) from None
    except (OperationalError, InterfaceError) as error:
        said = str(error).strip().splitlines()[0]
        raise CommandError(_sentences(f"The database failed ({said}).", again)) from None
    except KeyboardInterrupt:
        raise CommandError(_sentences("Interrupted.", again), returncode=130) from None


def _sentences(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


class Progress:
    """How far it is: one line that is drawn anew on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._at, self._drawn = time.monotonic(), False

    def draw(self, text: str) -> None:
        """Bring it up to date."""
        now = time.monotonic()
        if now - self._at < (REDRAW_SECONDS if self._is_terminal else SAY_SECONDS):
            return
        self._at = now
        self._drawn = self._is_terminal
        self._stream.write(f"\r\x1b[K{text}" if self._is_terminal else text, ending="" if self._is_terminal else "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take it away, before something else is written."""
        if self._drawn:
            self._stream.write("\r\x1b[K", ending="")
            self._stream.flush()
            self._drawn = False
