"""The five measures of software delivery, computed from the rows' own times (dora.dev, guide of 2026).

One service in one environment at a time, over any window. A measure without data is None with a reason, never zero.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q

from .models import EXCLUDED, DeployedCommit, Deployment, Incident, Kind, Pipeline, Standing

DEFINITIONS = "https://dora.dev/guides/dora-metrics-four-keys/"
TIER_YEAR = 2026

HOUR, DAY = 3600.0, 86_400.0
DURATION_TIERS = (
    (HOUR, "less than an hour"),
    (DAY, "less than a day"),
    (7 * DAY, "less than a week"),
    (30 * DAY, "less than a month"),
    (182 * DAY, "less than six months"),
)
FREQUENCY_TIERS = (
    (24.0, "several times an hour"),
    (1.0, "between once an hour and once a day"),
    (1 / 7, "between once a day and once a week"),
    (1 / 30, "between once a week and once a month"),
    (1 / 182, "between once a month and once in six months"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end), with offset."""

    start: datetime
    end: datetime

    @property
    def days(self) -> float:
        """Its length in days of 24 hours."""
        return (self.end - self.start).total_seconds() / DAY

    def before(self) -> "Window":
        """The window of equal length that ends where this one starts."""
        return Window(self.start - (self.end - self.start), self.start)


@dataclass(slots=True)
class Measure:
    """One measure over one window.

    Attributes:
        value: None where there is no data; for times, the median.
        unit: of `value`, `p90` and `trend`.
        samples: the number of rows behind the value.
        excluded: the number of rows left out, by reason.
        reason: why there is no value.
        tier: the published bucket that the value falls into, and the year of the table it is from.
        trend: the value minus that of the window of equal length before; None where either is None.
    """

    value: float | None
    unit: str
    samples: int
    p90: float | None = None
    excluded: dict[str, int] = field(default_factory=dict)
    reason: str | None = None
    tier: dict[str, Any] | None = None
    trend: float | None = None


def compute(*, service: str, environment: str, window: Window, trends: bool = True) -> dict[str, Measure]:
    """All five measures of a pipeline, by name, each with its trend unless `trends` is off."""
    now = _compute(service, environment, window)
    if not trends:
        return now
    before = _compute(service, environment, window.before())
    for name, measure in now.items():
        earlier = before[name].value
        if measure.value is not None and earlier is not None:
            measure.trend = measure.value - earlier
    return now


def answer(*, service: str, environment: str, window: Window) -> dict[str, Any]:
    """What GET /dora answers, as what JSON can hold; and `dora_report --json` prints."""
    found = compute(service=service, environment=environment, window=window)
    return {
        "service": service,
        "environment": environment,
        "window": {
            "from": window.start.isoformat(),
            "to": window.end.isoformat(),
            "days": round(window.days, 6),
        },
        "measures": {name: asdict(measure) for name, measure in found.items()},
        "services": sorted(set(Pipeline.objects.values_list("service", flat=True))),
        "definitions": DEFINITIONS,
    }


def _compute(service: str, environment: str, window: Window) -> dict[str, Measure]:
    finished = Deployment.objects.of(service, environment).finished().between(window.start, window.end)
    failed = finished.failed_changes().count()
    counts = finished.aggregate(all=Count("pk"), rework=Count("pk", filter=Q(kind__in=[Kind.HOTFIX, Kind.ROLLBACK])))
    total = counts["all"]
    nothing = None if total else "no finished deployment in the window"
    return {
        "deployment_frequency": _frequency(total, window, nothing),
        "change_lead_time": _lead_time(service, environment, window),
        "change_fail_rate": Measure(failed / total if total else None, "ratio", total, reason=nothing),
        "failed_deployment_recovery_time": _recovery(service, environment, window),
        "deployment_rework_rate": Measure(counts["rework"] / total if total else None, "ratio", total, reason=nothing),
    }


def _frequency(total: int, window: Window, nothing: str | None) -> Measure:
    measure = Measure(total / window.days if total else None, "deployments/day", total, reason=nothing)
    if measure.value is not None:
        name = next((name for bound, name in FREQUENCY_TIERS if measure.value >= bound), "less than every six months")
        measure.tier = {"name": name, "year": TIER_YEAR}
    return measure


def _lead_time(service: str, environment: str, window: Window) -> Measure:
    commits = DeployedCommit.objects.filter(
        service=service, environment=environment, deployed_at__gte=window.start, deployed_at__lt=window.end
    )
    by_standing = dict(commits.order_by().values_list("standing").annotate(Count("pk")))
    counted = commits.filter(standing=Standing.COUNTED).order_by("lead_seconds").values_list("lead_seconds", flat=True)
    measure = _duration(counted, by_standing.get(Standing.COUNTED, 0))
    measure.excluded = {str(standing.value): by_standing.get(standing, 0) for standing in EXCLUDED}
    if measure.value is None:
        if any(measure.excluded.values()):
            measure.reason = "every commit in the window is excluded"
        elif Deployment.objects.of(service, environment).succeeded().between(window.start, window.end).exists():
            measure.reason = "no commit recorded with the deployments in the window"
        else:
            measure.reason = "no succeeded deployment in the window"
    return measure


def _recovery(service: str, environment: str, window: Window) -> Measure:
    resolved = Incident.objects.of(service, environment).filter(
        resolved_at__gte=window.start, resolved_at__lt=window.end
    )
    caused = resolved.caused_by_change()
    seconds = sorted(
        (end - start).total_seconds() for start, end in caused.values_list("started_at", "resolved_at") if end
    )
    measure = _duration(seconds, len(seconds))
    still_open = Incident.objects.of(service, environment).caused_by_change().open().filter(started_at__lt=window.end)
    measure.excluded = {
        "not_caused_by_change": resolved.filter(deployment=None).count(),
        "unresolved": still_open.count(),
    }
    if measure.value is None:
        measure.reason = "no resolved incident caused by a change"
    return measure


def _duration(ordered: Any, samples: int) -> Measure:
    """Median and 90th percentile of ascending seconds: a list, or a queryset that is read at four rows only."""
    measure = Measure(None, "seconds", samples)
    if samples:
        measure.value = quantile(ordered, samples, 0.5)
        measure.p90 = quantile(ordered, samples, 0.9)
        name = next((name for bound, name in DURATION_TIERS if measure.value < bound), "six months or more")
        measure.tier = {"name": name, "year": TIER_YEAR}
    return measure


def quantile(ordered: Any, samples: int, q: float) -> float:
    """The q-quantile by linear interpolation between the two nearest of `samples` ascending values (Hyndman-Fan 7)."""
    position = q * (samples - 1)
    below = int(position)
    pair = list(ordered[below : below + 2])
    lower, upper = pair[0], pair[-1]
    return float(lower + (upper - lower) * (position - below))


def days_before(end: datetime, days: float) -> Window:
    """The window of `days` that ends at `end`."""
    return Window(end - timedelta(days=days), end)
