"""Checking an archive to its last byte, and bringing it back.

It is read once. What comes out of it waits aside, the files in the library's own directory and the dump in DATA_DIR,
and is nowhere in effect; only when the archive turned out whole does the database change, in one transaction, in which
it is compared with what the manifest says. So an archive may come through a pipe, and a bad one changes nothing.
"""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from accounts.models import RefreshFamily
from content.models import Upload
from observability.refresh import refresh

from . import archive, database, library, manifest
from .archive import Reader
from .encryption import decrypted
from .errors import BackupError, Damaged, InDoubt, told
from .manifest import Manifest

Progress = Callable[[str], None]
STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back.

    Args:
        migrated: how many migrations were run on it.
        left: files of before that no row names now.
        is_swept: they go by themselves. In a bucket, which may be another installation's too, nothing does.
    """

    manifest: Manifest
    migrated: int
    left: int
    is_swept: bool


@dataclass(slots=True)
class _Effect:
    """Whether what came back is what the site has, and the files that its rows name."""

    is_there: bool = False
    names: set[str] = field(default_factory=set)


def check(stream: BufferedReader, *, identity: Path | None, progress: Progress) -> Manifest:
    """Read an archive to its end; what it says of itself, if all of it is as it was written.

    Raises:
        BackupError: it is not, or this installation could not take it.
    """
    with decrypted(stream, identity) as plain:
        members = iter(Reader(plain))
        found = _manifest(members)
        manifest.expect_usable(found)
        counted = _Counted(found)
        for member in members:
            counted.add(member)
            for _ in member.blocks():
                pass
            progress(counted.told)
        counted.expect_all()
    return found


def restore(
    stream: BufferedReader, *, identity: Path | None, replace: bool, keep_sign_ins: bool, progress: Progress
) -> Restored:
    """Bring an archive back.

    Args:
        identity: the file of the private key, for an encrypted one.
        replace: what is in the database may go.
        keep_sign_ins: sessions and API sign-ins of then go on, those that were ended since too.
        progress: is told in words how far it is.

    Raises:
        BackupError: nothing was changed, unless it says so.
    """
    if not replace and (filled := database.filled_tables()):
        raise BackupError(
            f"The database is not empty ({', '.join(filled[:3])} and others hold rows): restore into an empty one, or "
            "give --replace, and everything in it goes."
        )
    effect = _Effect()
    try:
        return _restore(stream, identity, keep_sign_ins, progress, effect)
    except (DatabaseError, InterfaceError, CommandError, OSError, KeyboardInterrupt) as error:
        if not effect.is_there:
            raise
        said = "was interrupted" if isinstance(error, KeyboardInterrupt) else f"failed ({str(error).strip()})"
        raise BackupError(
            f"Database and files are back, but what follows {said.splitlines()[0]}: run the same command again with "
            "--replace, so that migrations run and old sign-ins end."
        ) from None


def _restore(
    stream: BufferedReader, identity: Path | None, keep_sign_ins: bool, progress: Progress, effect: _Effect
) -> Restored:
    with ExitStack() as stack:
        with told("DATA_DIR"):
            settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
            for left in settings.DATA_DIR.glob(f"{library.STAGED}*"):  # of a run that was killed: no other runs now
                shutil.rmtree(left)
            aside = tempfile.TemporaryDirectory(prefix=library.STAGED, dir=settings.DATA_DIR)
        dump = Path(stack.enter_context(aside)) / "dump"
        staged = None
        if library.root() is not None:
            staged = library.Staged(stack.enter_context(library.room(library.STAGED)))
        with decrypted(stream, identity) as plain:
            found = _stage(plain, dump, staged, progress)
        progress("The archive is whole. Bringing it into the database")
        before = _names_now()
        _put_into_effect(found, dump, staged, effect)
    gone = sorted(before - effect.names)
    migrated = _finish(keep_sign_ins)
    if staged is not None:
        library.leave_to_sweep(gone)
    return Restored(found, migrated, left=len(gone), is_swept=staged is not None)


def _stage(plain: BinaryIO, dump: Path, staged: library.Staged | None, progress: Progress) -> Manifest:
    """Read the archive to its end, and lay everything out."""
    members = iter(Reader(plain))
    found = _manifest(members)
    manifest.expect_usable(found)
    if staged is not None and shutil.disk_usage(staged.directory).free < found.library.size_bytes:
        raise BackupError(
            f"There is no room left for the library: its files are {filesizeformat(found.library.size_bytes)}."
        )
    counted = _Counted(found)
    with told("the dump of the database in DATA_DIR"), dump.open("xb") as file:
        for member in members:
            counted.add(member)
            section, _, name = member.name.partition("/")
            if section == "database":
                for block in member.blocks():
                    file.write(block)
            elif staged is not None:
                staged.take(name, member.blocks())
            progress(counted.told)
        file.flush()
    counted.expect_all()
    return found


def _put_into_effect(found: Manifest, dump: Path, staged: library.Staged | None, effect: _Effect) -> None:
    """The database, if it is what the manifest says, and with it the files."""
    try:
        with database.loaded(dump) as loaded:
            if (tables := loaded.tables()) != found.database.tables:
                different = sorted(dict(tables.items() ^ found.database.tables.items()))
                raise Damaged(
                    f"The database in the archive is not what its manifest says ({', '.join(different[:3])}). Nothing "
                    "was changed."
                )
            names = {str(name) for name, _ in loaded.rows(library.NAMES)}
            if staged is not None:
                lacking = names - staged.names - set(found.library.missing)
                if lacking or staged.names - names:
                    raise Damaged("The archive's files are not those that its database names. Nothing was changed.")
                staged.place()
            with _held_back():
                loaded.keep()
                effect.is_there, effect.names = True, names
    except InDoubt:
        raise  # the files that came are left: where the database is the archive's, it names them
    except BaseException:
        if staged is not None and not effect.is_there:
            staged.take_back()
        raise


@contextmanager
def _held_back() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM come when the block is over: in it nobody knows what they would leave."""
    came: list[int] = []
    former = {number: signal.signal(number, lambda number, _: came.append(number)) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _finish(keep_sign_ins: bool) -> int:
    """Bring the database up to this version, and end what must not go on; how many migrations were run."""
    if not keep_sign_ins:
        _end_sign_ins()
    ContentType.objects.clear_cache()
    database.analyze()
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        call_command("migrate", interactive=False, verbosity=0)
    with transaction.atomic():
        Upload.objects.all().delete()  # what had arrived of them is in no backup
        if not keep_sign_ins:
            UserSession.objects.all().delete()  # people's lists of them
    refresh(force=True)
    return len(plan)


def _end_sign_ins() -> None:
    """First of all, as migrations may fail: each version's tables have what this needs."""
    now = timezone.now()
    with transaction.atomic():
        Session.objects.all().delete()
        RefreshFamily.objects.filter(revoked_at=None).update(revoked_at=now, updated_at=now)


def _manifest(members: Iterator[archive.Member]) -> Manifest:
    return manifest.read(next(members).content(manifest.MOST_BYTES))


def _names_now() -> set[str]:
    """The files that the database names before it is replaced."""
    if not database.has_table("content_mediafile"):
        return set()
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM content_mediafile")
        return {str(name) for (name,) in cursor.fetchall()}


class _Counted:
    """What has come out of an archive, held against what its manifest says."""

    def __init__(self, found: Manifest) -> None:
        self._manifest = found
        self._database_bytes = self._files = self._files_bytes = 0

    def add(self, member: archive.Member) -> None:
        """Count one; Damaged where the manifest speaks of fewer or smaller files."""
        if member.name.startswith("database/"):
            self._database_bytes += member.size_bytes
            return
        self._files += 1
        self._files_bytes += member.size_bytes
        kept = self._manifest.library
        if self._files > kept.files or self._files_bytes > kept.size_bytes:
            raise Damaged("The archive holds more files than its manifest says.")

    @property
    def told(self) -> str:
        """How far it is, in words."""
        kept = self._manifest.library
        return (
            f"Database: {filesizeformat(self._database_bytes)}, library: {self._files} of {kept.files} files, "
            f"{filesizeformat(self._files_bytes)} of {filesizeformat(kept.size_bytes)}"
        )

    def expect_all(self) -> None:
        """Raise Damaged where something is missing."""
        kept = self._manifest.library
        if not self._database_bytes or (self._files, self._files_bytes) != (kept.files, kept.size_bytes):
            raise Damaged("The archive holds less than its manifest says.")
