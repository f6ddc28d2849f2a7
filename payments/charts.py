"""The geometry of charts with bars up and down from a base line, for SVG drawn by the server: numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass

from observability.delivery.charts import GAP_SHARE, WIDTH

HEIGHT = 160


@dataclass(frozen=True, slots=True)
class Block:
    """The part of a bar that stands for one series, in the chart's own coordinates."""

    series: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """The blocks at each place along the chart, and where the base line runs."""

    places: list[list[Block]]
    base: float


def stacked(places: Sequence[Sequence[int]]) -> Chart:
    """Bars made of blocks, as high as fits the chart: what is above zero stands on the base line, in the order of the
    series, what is below hangs from it.

    Args:
        places: for each place along the chart, the values of the series.
    """
    highest = max((sum(value for value in values if value > 0) for values in places), default=0)
    deepest = max((-sum(value for value in values if value < 0) for values in places), default=0)
    scale = HEIGHT / ((highest + deepest) or 1)
    base = highest * scale if highest + deepest else float(HEIGHT)
    width = WIDTH / max(len(places), 1)
    return Chart([_bar(values, index * width, width, base, scale) for index, values in enumerate(places)], _px(base))


def _bar(values: Sequence[int], left: float, width: float, base: float, scale: float) -> list[Block]:
    top = bottom = base
    blocks = []
    for series, value in enumerate(values):
        height = abs(value) * scale
        if value > 0:
            top -= height
        elif value < 0:
            bottom += height
        if value:
            y = top if value > 0 else bottom - height
            x, share = left + width * GAP_SHARE / 2, width * (1 - GAP_SHARE)
            blocks.append(Block(series, _px(x), _px(y), _px(share), max(_px(height), 1.0)))
    return blocks


def _px(value: float) -> float:
    return round(value, 1)
