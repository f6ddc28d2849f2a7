"""What the commands of payments share: reading times, and plain errors."""

import re
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from observability.problems import Problem
from payments import setup, stripe_api

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
