"""Declaring event metrics: what is counted in the process where it happens.

Use an event for what a serving process sees itself (a request, a sign-in, a message); aggregate it with `sum`. What a
management command or a dying process must count is a fact (`observability.facts`).

    ATTEMPTS = counter("auth_attempts_total", "Sign-in attempts.", type=("login", "jwt"), success=("true", "false"))
    ATTEMPTS.labels(type="login", success="false").inc()

Every label set that can be known is created at 0, because a series that first appears as 1 gives `increase() == 0`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from prometheus_client import Counter, Gauge, Histogram

UNKNOWN: tuple[str, ...] = ()  # a label whose values are not known before they are seen


@dataclass(frozen=True, slots=True)
class Event:
    """What was declared, for the reference in TELEMETRY.md."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]
    owner: str


EVENTS: dict[str, Event] = {}


def counter(name: str, meaning: str, **labels: Sequence[str]) -> Counter:
    """Declare a counter.

    Args:
        name: the full name, ending in `_total`.
        meaning: one sentence, shown as HELP.
        labels: each label's known values; `UNKNOWN` where they cannot be known.

    Raises:
        ValueError: where the name is taken or ill-formed.
    """
    metric = Counter(name, meaning, tuple(labels))
    _declare(name, "counter", meaning, labels)
    _create_known(metric, labels)
    return metric


def histogram(name: str, meaning: str, *, buckets: Sequence[float], **labels: Sequence[str]) -> Histogram:
    """Declare a histogram whose `buckets` are upper bounds in the unit that its name ends in."""
    metric = Histogram(name, meaning, tuple(labels), buckets=tuple(buckets))
    _declare(name, "histogram", meaning, labels)
    _create_known(metric, labels)
    return metric


def gauge(name: str, meaning: str, **labels: Sequence[str]) -> Gauge:
    """Declare a gauge."""
    metric = Gauge(name, meaning, tuple(labels))
    _declare(name, "gauge", meaning, labels)
    _create_known(metric, labels)
    return metric


def _declare(name: str, kind: str, meaning: str, labels: dict[str, Sequence[str]]) -> None:
    owner = sys._getframe(2).f_globals["__name__"].rpartition(".")[0]  # the package of the module that declares it
    EVENTS[name] = Event(name, kind, meaning, tuple(labels), owner.removesuffix(".http"))


def _create_known(metric: Counter | Gauge | Histogram, labels: dict[str, Sequence[str]]) -> None:
    if labels:
        for values in product(*labels.values()):  # nothing where one label's values are unknown
            metric.labels(*values)
