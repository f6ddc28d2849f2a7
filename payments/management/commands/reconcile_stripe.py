"""manage.py reconcile_stripe: compare ledger, subscriptions and invoices with Stripe, and put right what differs."""

from argparse import ArgumentParser
from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from observability import maintenance
from observability.management.progress import Progress
from observability.refresh import refresh
from payments import reconcile
from payments.management.shell import moment, plain_errors
from payments.reconcile import Compared, Period

AGAIN = "Run it again to go on."
SINCE, UNTIL = "7d", "10m"


class Command(BaseCommand):
    """Compares, and tells each difference."""

    help = (
        "Compare the ledger, the subscriptions and the invoices with what Stripe has, page by page, and fetch again "
        "what differs. Each difference is told on a line. The exit status is 1 where differences are left: with "
        "--dry-run all of them, else those that a person has to look at. Subscriptions that have not ended are "
        "compared whenever they began. Stripe is also told of e-mail addresses of which it could not be told when they "
        "changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--since", type=moment, default=SINCE, metavar="TIME", help="a date, or how long ago (default: %(default)s)"
        )
        parser.add_argument(
            "--until",
            type=moment,
            default=UNTIL,
            metavar="TIME",
            help="likewise (default: %(default)s ago, so that what is on its way just now is no difference)",
        )
        parser.add_argument("--dry-run", action="store_true", help="tell the differences, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare, tell, count, and record it."""
        period = Period(options["since"], options["until"])
        if period.since >= period.until:
            raise CommandError(
                f"--since ({period.since:%Y-%m-%d %H:%M}) has to lie before --until ({period.until:%Y-%m-%d %H:%M})."
            )
        dry_run = options["dry_run"]
        with nullcontext() if dry_run else maintenance.performed("reconcile_stripe") as run:
            told = self._reconcile(period, dry_run)
            if run is not None:
                run.detail = told
        self.stdout.write(told)

    def _reconcile(self, period: Period, dry_run: bool) -> str:
        numbers = dict[str, int]()
        progress, differences, mended = Progress(self.stderr), 0, 0
        try:
            with plain_errors(AGAIN):
                for found in reconcile.reconcile(period=period, mend=not dry_run):
                    if isinstance(found, Compared):
                        numbers[found.kind] = found.number
                    else:
                        differences, mended = differences + 1, mended + found.mended
                        progress.clear()
                        self.stdout.write(f"{found}{'' if dry_run else ' – mended' if found.mended else ' – left'}")
                    progress.draw(_counted(numbers))
        finally:
            progress.clear()
            if mended:
                refresh()
        self.stderr.write(f"Compared {_counted(numbers) or 'nothing'} since {period.since:%Y-%m-%d %H:%M} UTC.")
        if not differences:
            return "Nothing differs."
        if mended < differences:
            left = f"{differences - mended} of {differences} differences are left"
            raise CommandError(f"{left}{': this was a dry run.' if dry_run else ', for a person to look at.'}")
        return f"{mended} {'difference was' if mended == 1 else 'differences were'} mended."


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {kind}{'' if number == 1 else 's'}" for kind, number in numbers.items())
