"""manage.py setup_stripe: check the key, and have Stripe send its events here."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from payments import setup
from payments.management.shell import plain_errors


class Command(BaseCommand):
    """Checks, makes what is missing, and says what it did."""

    help = (
        "Check the key in STRIPE_SECRET_KEY, and have Stripe send its events to PUBLIC_URL + /stripe/webhook/: make "
        "the webhook endpoint, or put it right, and keep its signing secret in the database. It may be run at any "
        "time: what is as it should be stays."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--rotate",
            action="store_true",
            help="make a new endpoint, with another signing secret, and disable the old one once the new one is there",
        )
        parser.add_argument(
            "--with-plans",
            action="store_true",
            help="make a membership for 9 a month or 90 a year at Stripe, if there is no plan there yet",
        )
        parser.add_argument(
            "--currency", default="eur", metavar="CODE", help="of the plans that are made (default: %(default)s)"
        )

    def handle(self, *args: Any, rotate: bool, with_plans: bool, currency: str, **options: Any) -> None:
        """Check the key, then the plans, then the endpoint."""
        with plain_errors():
            owner = setup.whose_key()
            whose = f"{owner.name or 'an account without a name'} ({owner.account_id})" if owner.account_id else ""
            mode = "live" if owner.livemode else "test"
            self.stdout.write(
                f"The key is good: {mode} mode, {whose or 'a restricted key, which may not say whose it is'}."
            )
            if owner.others:
                others = ", ".join(owner.others)
                self.stderr.write(f"This database also holds objects of {others}, which this key does not lead to.")
            if with_plans:
                for sentence in setup.make_plans(currency=currency.lower()):
                    self.stdout.write(sentence)
            for sentence in setup.ensure_webhook(rotate=rotate):
                self.stdout.write(sentence)
