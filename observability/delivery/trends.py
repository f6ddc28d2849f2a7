"""The five measures over the parts of a window: what a trend chart shows.

Each part's figures are those that `measures.compute` gives for it, but found with one query a table, not one a part.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, Q, Value, When

from .measures import Window, quantile
from .models import DeployedCommit, Deployment, Incident, Kind, Standing, Status


@dataclass(frozen=True, slots=True)
class Point:
    """One measure over one part of a window: None without data; for the two times, the median."""

    window: Window
    value: float | None
    samples: int


def split(window: Window, number: int) -> list[Window]:
    """The window in `number` parts of equal length, oldest first."""
    length = window.end - window.start
    edges = [window.start + length * index / number for index in range(number)] + [window.end]
    return [Window(start, end) for start, end in pairwise(edges)]


def history(*, service: str, environment: str, window: Window, number: int) -> dict[str, list[Point]]:
    """All five measures of a pipeline, by name, over each of `number` parts of the window."""
    parts = split(window, number)
    totals, failed, rework = _deployments(service, environment, window, parts)
    return {
        "deployment_frequency": [
            Point(part, total / part.days if total else None, total) for part, total in zip(parts, totals, strict=True)
        ],
        "change_lead_time": _lead_times(service, environment, window, parts),
        "change_fail_rate": _ratios(parts, failed, totals),
        "failed_deployment_recovery_time": _recoveries(service, environment, window, parts),
        "deployment_rework_rate": _ratios(parts, rework, totals),
    }


def _deployments(
    service: str, environment: str, window: Window, parts: list[Window]
) -> tuple[list[int], list[int], list[int]]:
    finished = Deployment.objects.of(service, environment).finished().between(window.start, window.end)
    rows = (
        finished.order_by()
        .annotate(part=_part("finished_at", parts), caused=Exists(Incident.objects.filter(deployment=OuterRef("pk"))))
        .values_list("part")
        .annotate(
            total=Count("pk"),
            failed=Count("pk", filter=Q(status__in=[Status.FAILED, Status.ROLLED_BACK]) | Q(caused=True)),
            rework=Count("pk", filter=Q(kind__in=[Kind.HOTFIX, Kind.ROLLBACK])),
        )
    )
    totals, failed, rework = [0] * len(parts), [0] * len(parts), [0] * len(parts)
    for part, *numbers in rows:
        totals[part], failed[part], rework[part] = numbers
    return totals, failed, rework


def _lead_times(service: str, environment: str, window: Window, parts: list[Window]) -> list[Point]:
    counted = DeployedCommit.objects.filter(
        service=service, environment=environment, standing=Standing.COUNTED
    ).order_by()
    within = counted.filter(deployed_at__gte=window.start, deployed_at__lt=window.end)
    numbers = dict(within.annotate(part=_part("deployed_at", parts)).values_list("part").annotate(Count("pk")))
    points = []
    for index, part in enumerate(parts):
        samples = numbers.get(index, 0)
        median = None
        if samples:
            ordered = counted.filter(deployed_at__gte=part.start, deployed_at__lt=part.end).order_by("lead_seconds")
            median = quantile(ordered.values_list("lead_seconds", flat=True), samples, 0.5)
        points.append(Point(part, median, samples))
    return points


def _recoveries(service: str, environment: str, window: Window, parts: list[Window]) -> list[Point]:
    resolved = Incident.objects.of(service, environment).caused_by_change()
    resolved = resolved.filter(resolved_at__gte=window.start, resolved_at__lt=window.end)
    times: list[tuple[datetime, datetime | None]] = list(resolved.values_list("started_at", "resolved_at"))
    points = []
    for part in parts:
        seconds = sorted((end - start).total_seconds() for start, end in times if end and part.start <= end < part.end)
        points.append(Point(part, quantile(seconds, len(seconds), 0.5) if seconds else None, len(seconds)))
    return points


def _ratios(parts: list[Window], numbers: list[int], totals: list[int]) -> list[Point]:
    return [
        Point(part, number / total if total else None, total)
        for part, number, total in zip(parts, numbers, totals, strict=True)
    ]


def _part(field: str, parts: list[Window]) -> Case:
    """The index of the part in which `field` lies."""
    whens = [When(**{f"{field}__lt": part.end}, then=Value(index)) for index, part in enumerate(parts)]
    return Case(*whens, output_field=IntegerField())
