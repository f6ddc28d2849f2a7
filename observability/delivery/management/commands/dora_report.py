"""manage.py dora_report: the five measures of a pipeline, as a table or as JSON."""

import json
from argparse import ArgumentParser
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from observability.delivery import measures
from observability.delivery.management.shell import add_pipeline_arguments
from observability.delivery.measures import DAY, HOUR, Measure, Window

MAX_DAYS = 3660  # as GET /dora


def days(text: str) -> int:
    """A number of days from 1 on. Raises ValueError."""
    number = int(text)
    if not 1 <= number <= MAX_DAYS:
        raise ValueError(f"{number} days are too few or too many.")
    return number


class Command(BaseCommand):
    """Computes and prints."""

    help = (
        "Show the five measures (dora.dev) of a service in an environment. Each trend is the value minus that of the "
        "window of equal length before."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        add_pipeline_arguments(parser)
        parser.add_argument("--days", type=days, help=f"the last so many days, {MAX_DAYS} at most (default: 30)")
        parser.add_argument("--from", dest="first", metavar="DATE", type=date.fromisoformat, help="first day, UTC")
        parser.add_argument(
            "--to", dest="last", metavar="DATE", type=date.fromisoformat, help="last day, UTC, included"
        )
        parser.add_argument("--json", action="store_true", help="as GET /dora answers")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compute, and print."""
        window = _window(options["days"], options["first"], options["last"])
        pipeline = {name: options[name] for name in ("service", "environment")}
        if options["json"]:
            self.stdout.write(json.dumps(measures.answer(**pipeline, window=window), indent=2))
            return
        found = measures.compute(**pipeline, window=window)
        self.stdout.write(
            f"{pipeline['service']} in {pipeline['environment']}, {window.start:%Y-%m-%d %H:%M} to "
            f"{window.end:%Y-%m-%d %H:%M} UTC ({window.days:g} days)\n"
        )
        self._table([["", "value", "p90", "trend", "samples", "tier"], *(_row(*item) for item in found.items())])
        for name, measure in found.items():
            left_out = ", ".join(f"{number} {reason}" for reason, number in measure.excluded.items() if number)
            if left_out or measure.reason:
                why = "; ".join(filter(None, [measure.reason, left_out and f"excluded: {left_out}"]))
                self.stdout.write(f"{name.replace('_', ' ')}: {why.replace('_', ' ')}")

    def _table(self, rows: list[list[str]]) -> None:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for first, *numbers, tier in rows:
            cells = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
            self.stdout.write("  ".join([first.ljust(widths[0]), *cells, tier]).rstrip())
        self.stdout.write("")


def _window(length: int | None, first: date | None, last: date | None) -> Window:
    if first is None and last is None:
        return measures.days_before(timezone.now(), length or 30)
    if first is None or last is None:
        raise CommandError("Give both --from and --to, or neither.")
    if length is not None:
        raise CommandError("Give --days, or --from and --to.")
    if last < first:
        raise CommandError("--to lies before --from.")
    if (last - first).days >= MAX_DAYS or first.year < 1971 or last.year > 9998:
        raise CommandError(f"The window must lie between 1971 and 9998, and be no longer than {MAX_DAYS} days.")
    return Window(datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC) + timedelta(days=1))


def _row(name: str, measure: Measure) -> list[str]:
    trend = _value(measure.trend, measure.unit)
    tier = f"{measure.tier['name']} ({measure.tier['year']})" if measure.tier else ""
    return [
        name.replace("_", " "),
        _value(measure.value, measure.unit),
        _value(measure.p90, measure.unit),
        f"+{trend}" if measure.trend is not None and measure.trend > 0 else trend,
        str(measure.samples),
        tier,
    ]


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "ratio":
        return f"{value:.1%}"
    if unit != "seconds":
        return f"{value:.3g} a day"
    for length, name in ((DAY, "days"), (HOUR, "hours"), (60.0, "minutes")):
        if abs(value) >= length:
            return f"{value / length:.1f} {name}"
    return f"{value:.0f} seconds"
