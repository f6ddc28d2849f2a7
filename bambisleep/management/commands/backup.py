"""manage.py backup: the database and the library's files, in one archive."""

import signal
import sys
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from bambisleep.backups import places, taking
from bambisleep.backups.encryption import recipients_of
from bambisleep.backups.errors import BackupError, told
from observability import maintenance
from observability.management.progress import Progress

log = structlog.get_logger("bambisleep.backup")


class Command(BaseCommand):
    """Takes one, and clears old ones away."""

    help = (
        "Write one archive with the database and the library's files, as they belong together at one moment, while "
        "the site runs. It is a tar file, encrypted in the age format where BACKUP_RECIPIENTS or --recipient names a "
        "public key; `manage.py restore --check` proves it whole. In a directory, older archives are cleared away as "
        "BACKUP_KEEP_DAYS and BACKUP_KEEP_WEEKS say. Not in it: the settings (keep SECRET_KEY with care: without it "
        "nobody's second factor can be read), uploads that are not finished, and files in a bucket."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--to",
            metavar="DIRECTORY|FILE|-",
            help="where: a directory that exists or ends with a slash, a new file, or standard output "
            f"(default: BACKUP_DIR, {settings.BACKUP_DIR})",
        )
        parser.add_argument(
            "--recipient",
            action="append",
            metavar="age1…",
            help="encrypt to this public key, instead of those in BACKUP_RECIPIENTS; may be given several times",
        )

    def handle(self, *args: Any, to: str | None, recipient: list[str] | None, **options: Any) -> None:
        """Do it, and record that it was done."""
        signal.signal(signal.SIGTERM, _stopped)
        at, progress = timezone.now().replace(microsecond=0), Progress(self.stderr)
        try:
            recipients = recipients_of(recipient if recipient is not None else settings.BACKUP_RECIPIENTS)
            with places.locked(), maintenance.performed("backup") as run:
                taken, where = self._take(to, at, recipients, progress)
                run.detail = str(taken)
        except BackupError as error:
            raise CommandError(str(error)) from None
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"The database failed ({str(error).strip().splitlines()[0]}). Nothing was kept."
            ) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Nothing was kept.", returncode=130) from None
        finally:
            progress.clear()
        for name in taken.manifest.library.missing:
            self.stderr.write(self.style.WARNING(f"Missing: {name} has a row, but no file was there to keep."))
        for name in taken.damaged:
            self.stderr.write(self.style.WARNING(f"Damaged: {name} is not what came into the library."))
        self.stderr.write(f"{where}: {taken}") if to == "-" else self.stdout.write(f"{where}: {taken}")

    def _take(
        self, to: str | None, at: datetime, recipients: list[Any], progress: Progress
    ) -> tuple[taking.Taken, str]:
        if to == "-":
            if sys.stdout.isatty():
                raise BackupError("That would print the archive on this terminal: send it into a file or a pipe.")
            sink = places.Sink(sys.stdout.buffer)
            with told("standard output"):
                taken = taking.take(sink, at=at, recipients=recipients, progress=progress.draw)
                sink.flush()
            return taken, "standard output"
        target = Path(to) if to else settings.BACKUP_DIR
        is_directory = not to or to.endswith("/") or target.is_dir()
        path = target / places.name_of(at, is_encrypted=bool(recipients)) if is_directory else target
        taken = taking.take_into_file(path, at=at, recipients=recipients, progress=progress.draw)
        if is_directory:
            for gone in places.clear_away(target, now=at):
                log.info("backup_cleared_away", path=str(gone))
        return taken, str(path)


def _stopped(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # as Ctrl-C: what was begun is taken back
