"""manage.py restore: check an archive of `manage.py backup`, and bring it back."""

import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, connection

from bambisleep.backups import manifest, places, restoring
from bambisleep.backups.errors import BackupError
from observability.management.progress import Progress

log = structlog.get_logger("bambisleep.backup")


class Command(BaseCommand):
    """Checks, and brings back."""

    help = (
        "Bring an archive of `manage.py backup` back: the database in one transaction, and the files of the library. "
        "The archive is read to its end and compared with what was noted down in it before anything changes; one that "
        "is cut, altered, of a newer version or of another kind of database is refused. An older one is migrated. "
        "Stop the site first. Everybody has to sign in again, unless --keep-sign-ins is given. Restore only archives "
        "that you made: what is in one is what the site then does."
    )
    requires_system_checks: list[str] = []  # there may be no database yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("archive", metavar="FILE|-", help="the archive, or - for standard input")
        parser.add_argument("--identity", type=Path, metavar="FILE", help="the private key, for an encrypted archive")
        parser.add_argument("--check", action="store_true", help="read the archive to its end, and change nothing")
        parser.add_argument("--replace", action="store_true", help="what is in the database now is lost")
        parser.add_argument("--noinput", action="store_true", help="do not ask before something is replaced")
        parser.add_argument(
            "--keep-sign-ins",
            action="store_true",
            help="who was signed in then is signed in again, and who signed out since, too: for a move to another "
            "machine, not after an intrusion",
        )

    def handle(self, *args: Any, archive: str, check: bool, replace: bool, noinput: bool, **options: Any) -> None:
        """Do it, and say what to do next."""
        signal.signal(signal.SIGTERM, _stopped)
        progress = Progress(self.stderr)
        try:
            with _opened(archive) as stream:
                if check:
                    found = restoring.check(stream, identity=options["identity"], progress=progress.draw)
                    progress.clear()
                    self.stdout.write(f"{archive}: whole. {_described(found)}")
                    return
                if replace and not noinput:
                    _expect_yes(archive)
                with places.locked():
                    restored = restoring.restore(
                        stream,
                        identity=options["identity"],
                        replace=replace,
                        keep_sign_ins=options["keep_sign_ins"],
                        progress=progress.draw,
                    )
        except BackupError as error:
            raise CommandError(str(error)) from None
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The database failed: {str(error).strip().splitlines()[0]}.") from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=130) from None
        finally:
            progress.clear()
        log.warning("restored", made_at=restored.manifest.created_at.isoformat(), version=restored.manifest.version)
        self._tell(restored)

    def _tell(self, restored: restoring.Restored) -> None:
        found = restored.manifest
        self.stdout.write(f"Restored. {_described(found)}")
        if restored.migrated:
            self.stdout.write(f"{restored.migrated} migrations brought it up to this version.")
        if restored.left:
            stay = "stay in the bucket until `manage.py prune --only library-files`"
            end = "go in two days" if restored.is_swept else stay
            self.stdout.write(f"{restored.left} files of before, which nothing names any more, {end}.")
        for name in found.library.missing:
            self.stderr.write(self.style.WARNING(f"Missing: {name} was missing when the backup was made."))
        if not manifest.knows_key(found):
            self.stderr.write(
                self.style.WARNING(
                    "SECRET_KEY is not the one of the archive: nobody's second factor can be read. Set it to that one, "
                    "or add that one to SECRET_KEY_FALLBACKS."
                )
            )
        self.stdout.write("Start the site. Then `manage.py reconcile_stripe` fetches what was paid since.")


@contextmanager
def _opened(archive: str) -> Iterator[BufferedReader]:
    if archive == "-":
        yield sys.stdin.buffer  # type: ignore[misc]
        return
    try:
        file = Path(archive).open("rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise BackupError(f"{archive} cannot be read: {error.strerror}.") from None
    with file:
        yield file


def _expect_yes(archive: str) -> None:
    if archive == "-":
        raise BackupError("The archive comes from standard input, so nobody can be asked: give --noinput as well.")
    name = connection.settings_dict["NAME"]
    if input(f"Everything in the database {name} is lost, and replaced by {archive}. Type yes to go on: ") != "yes":
        raise BackupError("Nothing was changed.")


def _described(found: manifest.Manifest) -> str:
    at = found.created_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    rows, kept = sum(found.database.tables.values()), found.library
    files = f"the library's files are in the bucket {kept.bucket}" if kept.place == "bucket" else f"{kept.files} files"
    return f"Made at {at} by version {found.version}: {rows} rows, {files}."


def _stopped(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # as Ctrl-C: what was begun is taken back
