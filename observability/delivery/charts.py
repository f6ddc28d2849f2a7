"""The geometry of bar charts, for SVG drawn by the server: numbers only, so that no style or script is needed."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 96
GAP_SHARE = 0.25  # of a bar's place, left empty


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in the chart's own coordinates. Where there is no data, `is_gap`: a tick on the base line."""

    x: float
    y: float
    width: float
    height: float
    is_gap: bool


def bars(values: Sequence[float | None]) -> list[Bar]:
    """A bar for each value, the highest as high as the chart. A zero is a sliver, for it is a value; None is a gap."""
    highest = max((value for value in values if value is not None), default=0.0) or 1.0
    place = WIDTH / max(len(values), 1)
    drawn = []
    for index, value in enumerate(values):
        height = 2.0 if value is None else max(2.0, round(HEIGHT * max(value, 0.0) / highest, 1))
        drawn.append(
            Bar(
                x=round(index * place + place * GAP_SHARE / 2, 1),
                y=round(HEIGHT - height, 1),
                width=round(place * (1 - GAP_SHARE), 1),
                height=height,
                is_gap=value is None,
            )
        )
    return drawn
