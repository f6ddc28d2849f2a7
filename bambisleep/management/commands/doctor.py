"""manage.py doctor: look whether everything is as it should be, and say what to do where it is not."""

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

# In the order in which they are looked at.
from bambisleep.doctor import (  # noqa: F401
    configuration,
    database,
    machine,
    mail,
    monitoring,
    outside,
    people,
    redis_server,
    stripe_account,
    upkeep,
)
from bambisleep.doctor.findings import CHECKS, Check, Finding, Level
from bambisleep.doctor.running import Examined, examine


class Command(BaseCommand):
    """Looks, and tells."""

    help = (
        "Look whether everything that the site needs is as it should be: settings, servers, clocks, disks, backups. "
        "Each finding says what to do. Nothing is changed, no message is sent without --send, and no secret is shown. "
        "The exit status is 1 where an error is found."
    )
    requires_system_checks = []  # they are among what is looked at

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines for people")
        parser.add_argument("--quiet", action="store_true", help="only warnings and errors")
        parser.add_argument(
            "--only",
            action="append",
            choices=list(CHECKS),
            metavar="NAME",
            help=f"only this; may be given several times: {', '.join(CHECKS)}",
        )
        parser.add_argument(
            "--send",
            metavar="ADDRESS",
            help="then send a mail to this address, and a test alert through Alertmanager to Slack",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look at one thing after the other, and tell of each at once."""
        checks = [CHECKS[name] for name in options["only"] or CHECKS]
        if options["send"]:
            checks.append(Check("send", 40.0, lambda: _sent(options["send"])))
        counts: Counter[Level] = Counter()
        examined: list[Examined] = []
        for each in examine(checks):
            counts.update(finding.level for finding in each.findings)
            examined.append(each)
            if not options["json"]:
                self._tell(each, quiet=options["quiet"])
        if options["json"]:
            told = {"counts": {level.value: counts[level] for level in Level}, "checks": [asdict(e) for e in examined]}
            self.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
        said = ", ".join(
            f"{counts[level]} {level}{'s' * (counts[level] != 1)}" for level in (Level.ERROR, Level.WARNING)
        )
        if counts[Level.ERROR]:
            raise CommandError(f"{said}.")
        self.stderr.write(f"{said}.")

    def _tell(self, examined: Examined, *, quiet: bool) -> None:
        shown = [one for one in examined.findings if not quiet or one.level in (Level.WARNING, Level.ERROR)]
        if shown:
            self.stdout.write(self.style.MIGRATE_HEADING(examined.name))
        styles = {Level.OK: self.style.SUCCESS, Level.WARNING: self.style.WARNING, Level.ERROR: self.style.ERROR}
        for finding in shown:
            paint = styles.get(finding.level, str)
            self.stdout.write(f"  {paint(f'{finding.level:7}')}  {finding.text}")
            if finding.remedy:
                self.stdout.write(f"           → {finding.remedy}")
        self.stdout.flush()


def _sent(address: str) -> Iterator[Finding]:
    yield from mail.send(address)
    yield from monitoring.send()
