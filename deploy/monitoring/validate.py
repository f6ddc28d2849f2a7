#!/usr/bin/env python3
"""Check a running site and its monitoring in seven steps, from scrape to alert. Python's standard library only."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from validation import alerts, dashboards, health, load, receivers, scraping, settings, stack
from validation.report import Ground, Report
from validation.settings import Settings
from validation.web import NoAnswer


@dataclass(frozen=True, slots=True)
class Step:
    """A step, and what must stand before it makes sense."""

    title: str
    check: Callable[[Settings, Report], None]
    needs: tuple[Ground, ...] = ()


STEPS = (
    Step(stack.TITLE, stack.check),
    Step(receivers.TITLE, receivers.check, (Ground.ALERTMANAGER,)),
    Step(scraping.TITLE, scraping.check, (Ground.PROMETHEUS,)),
    Step(dashboards.TITLE, dashboards.check, (Ground.PROMETHEUS,)),
    Step(alerts.TITLE, alerts.check, tuple(Ground)),
    Step(load.TITLE, load.check, (Ground.PROMETHEUS, Ground.SITE)),
    Step(health.TITLE, health.check),
)


def main(arguments: list[str]) -> int:
    """Take the steps; 0 if every one passed, 1 if not, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # ✓ and ✗, into a file on Windows too
    told = settings.read(arguments)
    report = Report()
    try:
        for number, step in enumerate(STEPS, 1):
            report.begin(number, step.title)
            if not report.lacks(step.needs):
                _take(step, told, report)
        report.summarise()
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `make validate | head`: whoever read this has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0 if report.is_good else 1


def _take(step: Step, told: Settings, report: Report) -> None:
    try:
        step.check(told, report)
    except NoAnswer as problem:
        report.failed(str(problem), "See that what should listen there runs, and its log.")
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        report.failed(
            f"an answer is not of the form that is known ({type(problem).__name__}: {problem})",
            "See that the addresses are right, and which versions run there.",
        )
    except subprocess.TimeoutExpired as problem:
        report.failed(f"{problem.cmd[0]} did not end within {problem.timeout:.0f} s", "Run it by hand.")
    except OSError as problem:
        report.failed(str(problem), "See that this checkout is whole, and that files can be written.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
