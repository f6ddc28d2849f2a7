"""Sides of a comparison, measured by turns on a machine that is busy with other things.

Absolute times drift with the machine; what two sides cost in the same round drifts together. So every round runs a
batch of each side in a new order, and what is reported is the median over rounds of the difference, or the ratio,
within a round, with the middle half of its values beside it.
"""

import gc
import random
import statistics
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import process_time


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do the thing.

    Attributes:
        call: does it once.
        calls: how often in one batch; choose it so that a batch of any side takes some ten milliseconds.
    """

    call: Callable[[], Awaitable[object]]
    calls: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the quartiles that half of the rounds lie between."""

    low: float
    median: float
    high: float

    def text(self, places: int = 1, unit: str = "") -> str:
        """As "12.3 (12.1–12.9)", each with `places` decimals and followed by `unit`."""
        return f"{self.median:.{places}f}{unit} ({self.low:.{places}f}–{self.high:.{places}f})"


def spread(values: Sequence[float]) -> Spread:
    """The spread of one value a round, of two rounds or more."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)


def by_turns(
    loop: AbstractEventLoop, sides: Mapping[str, Side], rounds: int, passes: int = 6
) -> dict[str, list[float]]:
    """Measure every side once a round.

    Args:
        loop: runs the calls, one after the other.
        sides: by name.
        rounds: how many, after a first one that is thrown away.
        passes: a round goes over all sides so often, a batch of each at a time, so that the sides of one round share
            the machine's weather as closely as they can.

    Returns:
        For each side, its CPU time a call in microseconds, one value a round, the median of its batches. It is that of
        the whole process, because a request that changes threads spends its time in several.
    """
    gc.collect()
    gc.freeze()  # what is loaded is no side's garbage, and scanning it would fall on whichever side comes by
    costs: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    shuffled = random.Random(1)
    for number in range(rounds + 1):
        batches: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(passes):
            shuffled.shuffle(order)
            for name in order:
                batches[name].append(loop.run_until_complete(_batch(sides[name])))
        if number:
            for name, values in batches.items():
                costs[name].append(statistics.median(values))
    gc.unfreeze()
    return costs


async def _batch(side: Side) -> float:
    gc.collect()
    await side.call()  # after another side's batch, and not counted
    started = process_time()
    for _ in range(side.calls):
        await side.call()
    return (process_time() - started) / side.calls * 1e6


def added(costs: Mapping[str, Sequence[float]], side: str, base: str) -> list[float]:
    """What `side` costs more than `base`, round by round."""
    return [more - less for more, less in zip(costs[side], costs[base], strict=True)]


def ratio(values: Sequence[float], bases: Sequence[float]) -> list[float]:
    """`values` divided by `bases`, round by round."""
    return [value / base for value, base in zip(values, bases, strict=True)]


def print_ratio(name: str, values: Sequence[float], goal: str) -> None:
    """One line, which is what a comparison is for."""
    print(f"  → {name:34}{spread(values).text(2, ' ×'):>26}   {goal}")
