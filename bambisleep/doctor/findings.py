"""What a check finds: how bad it is, a sentence, and what to do about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # may be meant so
    WARNING = "warning"  # works, and will hurt one day
    ERROR = "error"  # does not work, or loses something


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found."""

    level: Level
    text: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.level in (Level.WARNING, Level.ERROR) and not self.remedy:
            raise ValueError(f"What is to be done about this? {self.text}")


def ok(text: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, text)


def note(text: str, remedy: str = "") -> Finding:
    """It may be meant so."""
    return Finding(Level.NOTE, text, remedy)


def warning(text: str, remedy: str) -> Finding:
    """It works, and will hurt one day."""
    return Finding(Level.WARNING, text, remedy)


def error(text: str, remedy: str) -> Finding:
    """It does not work, or something is lost."""
    return Finding(Level.ERROR, text, remedy)


Look = Callable[[], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is looked at, for so many seconds at most."""

    name: str
    seconds: float
    look: Look


CHECKS: dict[str, Check] = {}


def check(name: str, *, seconds: float = 5.0) -> Callable[[Look], Look]:
    """Mark a function that looks at something.

    Raises:
        ValueError: where the name is taken.
    """
    if name in CHECKS:
        raise ValueError(f"{name} is looked at twice.")

    def mark(function: Look) -> Look:
        CHECKS[name] = Check(name, seconds, function)
        return function

    return mark
