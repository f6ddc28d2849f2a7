"""manage.py import_deploys: record the deployments of a file."""

import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from observability.delivery import importing
from observability.delivery.management.shell import add_pipeline_arguments
from observability.refresh import refresh

BAR_WIDTH = 30
REDRAW_SECONDS = 0.1


class Command(BaseCommand):
    """Reads a file line by line, and records each."""

    help = (
        "Record the deployments of a file: JSON Lines, or CSV with the same names in its header. Each line is recorded "
        "wholly or not at all. A line told before changes nothing, so an import that was interrupted is run again. "
        "Rejected lines are reported, and make the exit status 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("file", metavar="FILE", help="- for standard input")
        parser.add_argument("--format", choices=["jsonl", "csv"], help="default: by FILE's ending, else jsonl")
        add_pipeline_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="say what would become of each line, record nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, report what was rejected, and count."""
        name = options["file"]
        written_as = options["format"] or ("csv" if name.lower().endswith(".csv") else "jsonl")
        counts: Counter[str] = Counter()
        with ExitStack() as stack:
            try:
                file = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
            except OSError as error:
                raise CommandError(f"{name} cannot be read ({error.strerror}). Nothing was recorded.") from None
            progress = Progress(file, 0 if name == "-" else Path(name).stat().st_size)
            try:
                self._import(progress, written_as, options, counts)
            except importing.UnknownColumns as error:
                raise CommandError(f"{error}\nNothing was recorded.") from None
            except (OperationalError, InterfaceError) as error:
                said = str(error).strip().splitlines()[0]
                raise CommandError(f"The database failed after {_counted(counts)} ({said}). Run it again.") from None
            except KeyboardInterrupt:
                raise CommandError(
                    f"Interrupted after {_counted(counts)}. Run it again to go on.", returncode=130
                ) from None
            finally:
                progress.clear()
        self.stdout.write(f"{_counted(counts)}{' (dry run: nothing was recorded)' if options['dry_run'] else ''}")
        if counts["rejected"]:
            raise CommandError(f"{counts['rejected']} of {counts.total()} lines were rejected, for the reasons above.")

    def _import(self, progress: "Progress", format: Any, options: dict[str, Any], counts: Counter[str]) -> None:
        lines = importing.read(progress.lines(), format)
        pipeline = {name: options[name] for name in ("service", "environment")}
        try:
            for imported in importing.record(lines, **pipeline, dry_run=options["dry_run"]):
                counts[imported.outcome] += 1
                if imported.reason:
                    progress.clear()
                    self.stderr.write(f"line {imported.number}: {imported.reason}")
                progress.draw(counts)
        finally:
            if counts["created"] + counts["updated"] and not options["dry_run"]:
                refresh()


class Progress:
    """A bar on standard error where that is a terminal, and nothing elsewhere.

    Args:
        size: of the file in bytes; 0 where that is not known.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._read, self._drawn = 0, 0.0
        self._shown = sys.stderr.isatty()

    def lines(self) -> Iterator[str]:
        """The lines of the file. Bytes that are no UTF-8 become surrogates, so that one bad line spoils no other."""
        for number, line in enumerate(self._file):
            self._read += len(line)
            yield line.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")

    def draw(self, counts: Counter[str]) -> None:
        """Bring the bar up to date, at most ten times a second."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        bar = ""
        if self._size:
            share = min(1.0, self._read / self._size)
            bar = f"[{'#' * int(share * BAR_WIDTH):<{BAR_WIDTH}}] {share:4.0%} "
        sys.stderr.write(f"\r\x1b[K{bar}{counts.total()} lines, {counts['rejected']} rejected")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away, before something else is written."""
        if self._shown and self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _counted(counts: Counter[str]) -> str:
    outcomes = ("created", "updated", "unchanged", "rejected")
    return f"{counts.total()} lines: " + ", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes)
