"""Whether what was measured every few seconds grows without end.

A measure grows where three things are so after the warm-up: its rise is no accident (the trend test of Mann and
Kendall, by which order alone counts, not outliers), it is more than the measure may rise, and it goes on in the second
half, so that what only fills up and then stays is let pass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

FEWEST = 6  # samples after the warm-up
ACCIDENT = 3.0  # standard deviations: chance alone does that once in 700 flat measures


class TooFew(Exception):
    """There are not enough samples to judge by."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured `at` so many seconds after the start."""

    at: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Allowance:
    """How far a measure may rise from the end of the warm-up to the end: the greater of the two."""

    absolute: float
    share: float = 0.0

    def of(self, level: float) -> float:
        """In the measure's own unit."""
        return max(self.absolute, self.share * level)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One line of the table."""

    measure: str
    first: float
    last: float
    rise: float  # by the slope, from the end of the warm-up to the end
    allowed: float
    grows: bool


def warm_up(seconds: float) -> float:
    """How much of a run of so many seconds is left out: a quarter, of a short one more, up to five minutes."""
    return max(0.25 * seconds, min(300.0, 0.4 * seconds))


def judged(samples: Sequence[Sample], *, measure: str, allowance: Allowance) -> Judgement:
    """Judge one measure.

    Raises:
        TooFew: where less than six samples come after the warm-up.
    """
    begins = warm_up(samples[-1].at) if samples else 0.0
    points = [(s.at, s.values[measure]) for s in samples if s.at >= begins and measure in s.values]
    if len(points) < FEWEST:
        raise TooFew(f"{measure} was measured {len(points)} times after the warm-up, {FEWEST} are needed: run longer.")
    seconds = points[-1][0] - points[0][0]
    allowed = allowance.of(median(value for _, value in points))
    rise = slope(points) * seconds
    goes_on = slope(points[len(points) // 2 :]) * seconds
    grows = trend(points) > ACCIDENT and rise > allowed and goes_on > allowed / 2
    return Judgement(measure, points[0][1], points[-1][1], rise, allowed, grows)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By Theil and Sen: the median of the slopes of all pairs, which no outlier moves. A second's rise."""
    return median((later - value) / (then - at) for (at, value), (then, later) in combinations(points, 2) if then > at)


def trend(points: Sequence[tuple[float, float]]) -> float:
    """By Mann and Kendall: how many standard deviations the number of rising pairs is above that of falling ones."""
    score = sum((later > value) - (later < value) for (_, value), (_, later) in combinations(points, 2))
    number = len(points)
    deviation = math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    return (score - 1) / deviation if score > 0 else 0.0


def table(judgements: Sequence[Judgement]) -> str:
    """One line a measure; those that grow are marked."""
    width = max((len(each.measure) for each in judgements), default=10)
    lines = [f"{'measure':{width}} {'warmed up':>12} {'end':>12} {'rise':>10} {'allowed':>10}"]
    lines += [
        f"{each.measure:{width}} {each.first:12.1f} {each.last:12.1f} {each.rise:10.1f} {each.allowed:10.1f}"
        f"{'  GROWS' if each.grows else ''}"
        for each in judgements
    ]
    return "\n".join(lines)
