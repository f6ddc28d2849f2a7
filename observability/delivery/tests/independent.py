"""The measures of a file of releases, computed without the product: plain Python, the standard library's quantiles.

What the tests hold the product against. Nothing of the product may be imported here.
"""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

# Upper bounds of the lead time histogram, in seconds: 5, 15, 30 minutes; 1, 4, 12 hours; 1, 3, 7, 14, 30, 90, 180 days.
BOUNDS = (300, 900, 1800, 3600, 14400, 43200, 86400, 259200, 604800, 1209600, 2592000, 7776000, 15552000)
COUNTED = "counted"
REASONS = ("first_deployment", "rollback", "negative", "already_deployed")


@dataclass(frozen=True, slots=True)
class Brought:
    """One commit entry of one release: when it was deployed, how long that took, and whether it counts."""

    deployed_at: datetime
    seconds: float
    standing: str


@dataclass(frozen=True, slots=True)
class Releases:
    """A file of releases, all of which succeeded."""

    times: tuple[datetime, ...]
    brought: tuple[Brought, ...]

    def figures(self, start: datetime, end: datetime) -> dict[str, dict[str, Any]]:
        """Frequency and lead time over [start, end), without trend and tier."""
        deployments = sum(start <= at < end for at in self.times)
        inside = [entry for entry in self.brought if start <= entry.deployed_at < end]
        seconds = [entry.seconds for entry in inside if entry.standing == COUNTED]
        standings = Counter(entry.standing for entry in inside)
        days = (end - start) / timedelta(days=1)
        return {
            "deployment_frequency": {
                "value": deployments / days if deployments else None,
                "samples": deployments,
                "excluded": {},
            },
            "change_lead_time": {
                "value": statistics.median(seconds) if seconds else None,
                "p90": p90(seconds),
                "samples": len(seconds),
                "excluded": {reason: standings[reason] for reason in REASONS},
            },
        }

    def histogram(self) -> tuple[list[int], float]:
        """How many of all lead times fall into each bucket, the last being what is above every bound; and their sum."""
        seconds = [entry.seconds for entry in self.brought if entry.standing == COUNTED]
        counts = [
            sum(lower < value <= upper for value in seconds)
            for lower, upper in zip((-1.0, *BOUNDS), (*BOUNDS, float("inf")), strict=True)
        ]
        return counts, sum(seconds)


def read(path: Path) -> list[dict[str, Any]]:
    """The file's releases, as they stand there."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def judged(releases: Iterable[dict[str, Any]]) -> Releases:
    """Each commit entry judged: the first release ever does not count, nor what an earlier one had brought, nor what
    was authored after it was deployed."""
    ordered = sorted(releases, key=lambda release: datetime.fromisoformat(release["deployed_at"]))
    seen: set[str] = set()
    brought = []
    for position, release in enumerate(ordered):
        deployed_at = datetime.fromisoformat(release["deployed_at"])
        for commit in release["commits"]:
            seconds = (deployed_at - datetime.fromisoformat(commit["authored_at"])).total_seconds()
            if commit["sha"] in seen:
                standing = "already_deployed"
            elif position == 0:
                standing = "first_deployment"
            elif seconds < 0:
                standing = "negative"
            else:
                standing = COUNTED
            brought.append(Brought(deployed_at, seconds, standing))
        seen |= {commit["sha"] for commit in release["commits"]}
    return Releases(tuple(datetime.fromisoformat(release["deployed_at"]) for release in ordered), tuple(brought))


def p90(values: Sequence[float]) -> float | None:
    """The ninth decile by linear interpolation; None of nothing."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=10, method="inclusive")[8]


def windows(releases: Releases) -> list[tuple[datetime, datetime]]:
    """Windows of whole UTC days: the whole history, each year of it, and 30 days that end with some of the releases."""
    first, last = min(releases.times), max(releases.times)
    years = [
        (datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
        for year in range(first.year - 1, last.year + 2)
    ]
    months = []
    for at in releases.times[::7]:
        end = datetime.combine(at.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
        months.append((end - timedelta(days=30), end))
    return [(years[1][0], years[-2][1]), *years, *months]
