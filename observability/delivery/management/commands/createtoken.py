"""manage.py createtoken: make a deploy token, show it once; list them, and revoke one."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from observability.delivery import tokens
from observability.delivery.management.shell import moment
from observability.delivery.models import DeployToken, Scope

DEFAULT_SCOPES = [Scope.DEPLOYMENTS_WRITE.value, Scope.READ.value]


class Command(BaseCommand):
    """Makes a token, or lists them, or revokes one."""

    help = (
        "Make a deploy token for a pipeline, or for Alertmanager. The token is printed once, alone on standard output; "
        "only a hash of it is stored. `manage.py createtoken ci > token` keeps it off the screen."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("name", nargs="?", help="who will have it, such as the pipeline's name")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            choices=Scope.values,
            metavar="SCOPE",
            help=f"what it may do; may be given several times: {', '.join(Scope.values)} "
            f"(default: {' and '.join(DEFAULT_SCOPES)})",
        )
        parser.add_argument(
            "--expires",
            type=_expiry,
            metavar="TIME",
            help="when it ends: in so many days (90d), or a date (2027-01-31, UTC); default: never",
        )
        other = parser.add_mutually_exclusive_group()
        other.add_argument("--list", action="store_true", help="list the tokens, without what is secret of them")
        other.add_argument(
            "--revoke", metavar="TOKEN", help="end one at once: what it begins with, as --list shows it, or its name"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the one that was asked for."""
        others = options["list"] or options["revoke"] is not None
        if others == bool(options["name"]):
            raise CommandError(
                "A name says which token is made; --list and --revoke take none."
                if others
                else "Say who will have the token, such as: manage.py createtoken ci. Or use --list, or --revoke."
            )
        if options["list"]:
            for line in _table():
                self.stdout.write(line)
        elif options["revoke"] is not None:
            self._revoke(options["revoke"])
        else:
            self._make(options["name"], options["scopes"] or DEFAULT_SCOPES, options["expires"])

    def _make(self, name: str, scopes: list[str], expires_at: datetime | None) -> None:
        try:
            token, raw = tokens.issue(name=name, scopes=scopes, expires_at=expires_at)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        until = f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until it is revoked"
        self.stderr.write(
            f"A token for {token.name}, good {until}, for {', '.join(token.scopes)}. It is not shown again:"
        )
        self.stdout.write(raw)

    def _revoke(self, which: str) -> None:
        # A whole token that leaked may be pasted as well.
        lookup = which.removeprefix(tokens.PREFIX)[: tokens.LOOKUP_LENGTH]
        found = list(DeployToken.objects.filter(lookup=lookup)) or list(
            DeployToken.objects.filter(name=which, revoked_at=None)
        )
        if not found:
            raise CommandError("There is no such token. See manage.py createtoken --list.")
        if len(found) > 1:
            shown = ", ".join(f"{tokens.PREFIX}{token.lookup}" for token in found)
            raise CommandError(f"Several tokens have that name; say which one: {shown}.")
        was_good = tokens.revoke(found[0])
        self.stderr.write(f"The token of {found[0].name} {'is revoked.' if was_good else 'had been revoked before.'}")


def _expiry(text: str) -> datetime:
    now = timezone.now()
    try:
        days = text.removesuffix("d")
        at = now + timedelta(days=int(days)) if text.endswith("d") and days.isdecimal() else moment(text)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"{text!r} is no time: give days (90d) or a date (2027-01-31).") from None
    if at <= now:
        raise ArgumentTypeError(f"{text} lies in the past: such a token would be of no use.")
    return at


def _table() -> Iterator[str]:
    rows = [("BEGINS WITH", "NAME", "STATE", "EXPIRES", "LAST USED", "SCOPES")]
    for token in DeployToken.objects.order_by("-created_at", "-pk"):
        expires, used = (f"{at:%Y-%m-%d}" if at else "never" for at in (token.expires_at, token.last_used_at))
        rows.append((tokens.PREFIX + token.lookup, token.name, _state(token), expires, used, " ".join(token.scopes)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        yield "  ".join([*(f"{row[column]:{widths[column]}}" for column in range(5)), row[5]])


def _state(token: DeployToken) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= timezone.now() else "good"
