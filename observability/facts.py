"""Facts: what the database knows, shown alike by every process, at a scrape cost that does not grow with history.

Use a fact for what must survive a restart, or is written by a management command; aggregate it with
`max without (instance, pod)`, never with `sum`. A fact is a function with one aggregate query:

    OPEN = gauge("incidents_open", "Incidents not yet resolved.", "service", "severity")

    @fact(OPEN, reads=[Incident])
    def incidents_open() -> Iterator[Sample]:
        for row in Incident.objects.open().by_severity():
            yield OPEN.sample(row.count, row.service, row.severity)

The results are kept in one table (`FactSample`), which a scrape reads with one SELECT (`observability.exposition`).
`observability.refresh` brings the table up to date.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import models

Value = float | tuple[list[int], float] | dict[str, float]
Kind = Literal["gauge", "counter", "histogram", "summary"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One series' value: a number; for a histogram the count in each bucket (not cumulative) and the sum; for a summary
    the value of each quantile."""

    metric: str
    labels: tuple[str, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class Metric:
    """A declared fact metric. `buckets` are a histogram's finite upper bounds, in the unit of its name."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def series_names(self) -> tuple[str, ...]:
        """The names under which its series stand in Prometheus."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "count", "sum"))
        return (self.name,)

    def sample(self, value: Value, *labels: str) -> Sample:
        """A value under the given label values, in the order of their declaration.

        Raises:
            ValueError: where their number differs from the declaration's.
        """
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {labels}.")
        return Sample(self.name, labels, value)


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact function and what it feeds on."""

    name: str
    metrics: tuple[Metric, ...]
    reads: tuple[type[models.Model], ...]
    windowed: bool
    compute: Callable[[], Iterable[Sample]]


METRICS: dict[str, Metric] = {}
FACTS: dict[str, Fact] = {}


def gauge(name: str, meaning: str, *labels: str) -> Metric:
    """Declare a gauge that a fact function fills."""
    return _declare(Metric(name, "gauge", meaning, labels))


def counter(name: str, meaning: str, *labels: str) -> Metric:
    """Declare a counter that a fact function fills; what it counts must never be taken back."""
    if not name.endswith("_total"):
        raise ValueError(f"{name}: a counter's name ends in _total.")
    return _declare(Metric(name, "counter", meaning, labels))


def histogram(name: str, meaning: str, *labels: str, buckets: Sequence[float]) -> Metric:
    """Declare a histogram that a fact function fills; `buckets` are ascending finite upper bounds."""
    if list(buckets) != sorted(set(buckets)):
        raise ValueError(f"{name}: buckets must ascend.")
    return _declare(Metric(name, "histogram", meaning, labels, tuple(buckets)))


def summary(name: str, meaning: str, *labels: str) -> Metric:
    """Declare quantiles over a window: gauges under the label `quantile`, which Prometheus wants typed as a summary."""
    return _declare(Metric(name, "summary", meaning, labels))


def _declare(metric: Metric) -> Metric:
    if metric.name in METRICS:
        raise ValueError(f"{metric.name} is declared twice.")
    METRICS[metric.name] = metric
    return metric


def fact(
    *metrics: Metric, reads: Sequence[type[models.Model]], windowed: bool = False
) -> Callable[[Callable[[], Iterator[Sample]]], Callable[[], Iterator[Sample]]]:
    """Mark a function as the source of `metrics`.

    Args:
        metrics: what its samples belong to.
        reads: the models whose rows it aggregates; each has an indexed `updated_at`, by which a refresh sees that
            nothing changed and leaves the query out.
        windowed: whether the result changes as time passes too, as one over the last 30 days does.
    """

    def mark(function: Callable[[], Iterator[Sample]]) -> Callable[[], Iterator[Sample]]:
        FACTS[function.__name__] = Fact(function.__name__, metrics, tuple(reads), windowed, function)
        return function

    return mark


def bucket_counts(metric: Metric, values: Iterable[float]) -> tuple[list[int], float]:
    """Sort `values` into the metric's buckets (one more for what is above the last bound), and add them up."""
    counts = [0] * (len(metric.buckets) + 1)
    total = 0.0
    for value in values:
        counts[bisect_left(metric.buckets, value)] += 1
        total += value
    return counts, total


def bucket_expression(metric: Metric, column: str) -> Any:
    """SQL that gives the index of the bucket that `column` falls into, for a GROUP BY."""
    whens = [
        models.When(**{f"{column}__lte": bound}, then=models.Value(index)) for index, bound in enumerate(metric.buckets)
    ]
    last = models.Value(len(metric.buckets))
    return models.Case(*whens, default=last, output_field=models.IntegerField())
