"""manage.py prune: delete what need not be kept any longer; for a timer, once a day."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from observability import maintenance
from observability.management.progress import Progress
from observability.retention import KEPT, Kept, prune


class Command(BaseCommand):
    """Deletes, and counts."""

    help = (
        "Delete what need not be kept any longer, in batches. It may be stopped at any moment, run beside the site, "
        "and run twice at once. No counter of /metrics falls by it: watch time, payments and deployments are kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options, and list the names in the help."""
        parser.add_argument("--dry-run", action="store_true", help="say how many, delete nothing")
        parser.add_argument(
            "--only",
            action="append",
            choices=sorted(KEPT),
            metavar="NAME",
            help=f"only this; may be given several times: {', '.join(sorted(KEPT))}",
        )
        parser.add_argument("--list", action="store_true", help="say what is kept for how long, and do nothing else")

    def handle(self, *args: Any, dry_run: bool, only: list[str] | None, **options: Any) -> None:
        """Delete, say how many, and record it, unless only a part was asked for."""
        chosen = [KEPT[name] for name in (sorted(set(only)) if only else KEPT)]
        if options["list"]:
            for line in _table(chosen):
                self.stdout.write(line)
            return
        names = [kept.name for kept in chosen if only or not kept.if_named()]
        with nullcontext() if dry_run or only else maintenance.performed("prune") as run:
            total, failed = self._prune(names, dry_run)
            if failed:
                raise CommandError(f"Not finished: {', '.join(failed)}. The next run goes on with it.")
            if run is not None:
                run.detail = f"{total:,} rows and files"
        self.stderr.write(f"{total:,} in all {'would go' if dry_run else 'are gone'}.")

    def _prune(self, names: list[str], dry_run: bool) -> tuple[int, list[str]]:
        progress, total, failed = Progress(self.stderr), 0, []
        try:
            for step in prune(names, dry_run=dry_run):
                name = step.kept.name
                if not step.is_done:
                    progress.draw(f"{name}: {step.number:,}")
                    continue
                progress.clear()
                total += step.number
                if step.error:
                    failed.append(name)
                    self.stderr.write(f"{name}: {step.error}")
                if step.number:
                    self.stdout.write(f"{name}: {step.number:,} {'would go' if dry_run else 'gone'}")
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Run it again to go on.", returncode=130) from None
        finally:
            progress.clear()
        return total, failed


def _table(kept: list[Kept]) -> Iterator[str]:
    rows = [("NAME", "KEPT", "WHAT"), *((one.name, one.how_long, one.meaning) for one in kept)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, how_long, meaning in rows:
        yield f"{name:{widths[0]}}  {how_long:{widths[1]}}  {meaning}"
