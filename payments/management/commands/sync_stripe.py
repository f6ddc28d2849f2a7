"""manage.py sync_stripe: bring in the products, prices, customers and subscriptions that Stripe has."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from observability.management.progress import Progress
from observability.refresh import refresh
from payments import syncing
from payments.management.shell import moment, plain_errors

AGAIN = "Run it again to go on: what came in is not fetched once more."


class Command(BaseCommand):
    """Goes through Stripe's lists, and counts."""

    help = (
        "Bring in the products, prices, customers and subscriptions that Stripe has; plans that it no longer has go "
        "off sale. What is here unchanged is left alone, so a run that was interrupted is simply run again. What was "
        "paid is brought in by reconcile_stripe."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--since",
            type=moment,
            metavar="TIME",
            help="only what was made since: a date, or 14d (default: everything)",
        )
        parser.add_argument(
            "--only", action="append", choices=syncing.KINDS, help="only this kind; may be given several times"
        )
        parser.add_argument(
            "--again", action="store_true", help="fetch what is here unchanged, too, such as after a change of settings"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Bring in, report what failed, and count."""
        counts: dict[str, Counter[str]] = {kind: Counter() for kind in syncing.KINDS if kind in _kinds(options)}
        progress = Progress(self.stderr)
        try:
            with plain_errors(AGAIN):
                for synced in syncing.sync(kinds=counts, since=options["since"], again=options["again"]):
                    counts[synced.kind][synced.outcome] += 1
                    if synced.error:
                        progress.clear()
                        self.stderr.write(f"{synced.kind} {synced.object_id}: {synced.error}")
                    progress.draw(f"{synced.kind}s: {counts[synced.kind].total()}")
        finally:
            progress.clear()
            if sum(each["brought in"] + each["gone"] for each in counts.values()):
                refresh()
        for kind, each in counts.items():
            told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(each.items()))
            self.stdout.write(f"{kind}s: {each.total()}{f' ({told})' if told else ''}")
        failed = sum(each["failed"] for each in counts.values())
        if failed:
            raise CommandError(
                f"{failed} could not be brought in, for the reasons above. The next run tries them again."
            )


def _kinds(options: dict[str, Any]) -> Any:
    return options["only"] or syncing.KINDS
