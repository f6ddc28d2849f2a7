"""Backups as an operator makes them, while the site is written to; and restored into an installation that has nothing.

What each comparison holds: the ledger's pairs sum to nothing, the chat's numbers have no gap, and every file that a row
names is there with the bytes that the row tells of: all of that is so at each moment of the original, and only there.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyrage
import pytest

from bambisleep.tests.environment import LONG
from e2e.servers import PRODUCTION, ROOT, Installation, installed, wait_for

# Not what they were at the moment of the backup: ended by a restore, or computed anew.
NOT_KEPT = {
    "accounts_refreshfamily", "content_upload", "django_session", "usersessions_usersession",
    "observability_fact_refresh", "observability_fact_sample", "observability_maintenance_task", "django_migrations",
}  # fmt: skip

# Threads that write until a file says stop, and tell after each round how many of each kind are committed.
WRITING = """
import json, os, struct, threading, time
from datetime import timedelta
from pathlib import Path
from django.db import connection, transaction
from django.utils import timezone
from content import files
from content.models import MediaFile
from observability.delivery.deployments import Commit, record
from payments.models import Movement
from realtime import log
from realtime.models import EntryKind, Room

here = Path(os.environ["DATA_DIR"])
committed = {"payments_movement": 0, "delivery_deployment": 0, "realtime_entry": 0, "media": 0}

def pay(n):
    with transaction.atomic():
        for kind, amount in (("charge", n), ("refund", -n)):
            now = timezone.now()
            Movement.objects.create(
                stripe_id=f"{kind}_{n}", charge_id=f"ch_{n}", currency="eur", occurred_at=now,
                kind=kind, amount_minor=amount,
            )
    committed["payments_movement"] += 2

def deploy(n):
    now = timezone.now()
    commits = [Commit(sha=f"{n:040x}", authored_at=now - timedelta(hours=n % 50 + 1))]
    record(service="web", environment="production", version=f"v{n}", sha=f"{n:040x}", finished_at=now, commits=commits)
    committed["delivery_deployment"] += 1

def talk(n):
    with transaction.atomic():
        log.append(Room.objects.get(slug="lobby"), kind=EntryKind.MESSAGE, author=None, text=f"message {n}")
    committed["realtime_entry"] += 1

def publish(n):
    source = here / f"recording-{n}.wav"
    sound = os.urandom(50_000)
    header = b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16) + b"data" + struct.pack("<I", len(sound))
    source.write_bytes(header + sound)
    files.keep(source, original_name="night.wav", move=True)
    for old in MediaFile.objects.order_by("-pk")[15:]:
        old.delete()  # and its bytes, in the middle of a backup
    committed["media"] += 1

def again(work):
    n = 0
    while not (here / "stop").exists():
        n += 1
        work(n)
        if work is not publish:
            time.sleep(0.02)  # so that files, which take longest, come in too
        if work is talk:
            (here / "told.tmp").write_text(json.dumps(committed))
            (here / "told.tmp").replace(here / "told")
    connection.close()

Room.objects.create(slug="lobby", name="Lobby")
threads = [threading.Thread(target=again, args=(work,)) for work in (pay, deploy, talk, publish)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""

# What an installation is, in figures that two of them can be compared by.
LOOK = """
import hashlib, json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Sum
from bambisleep.backups import database
from content.models import MediaFile
from observability.delivery import measures
from observability.models import FactSample
from payments.models import Movement
from realtime.models import Entry

def digest(name):
    path = Path(settings.LIBRARY_DIR) / name
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

first = datetime(2026, 1, 1, tzinfo=UTC)
window = measures.Window(first, first + timedelta(days=3650))
with database.moment() as moment:
    tables = moment.tables()
entry = Entry.objects.create(room_id=Entry.objects.first().room_id, number=10**6, kind="message")  # sequences go on
entry.delete()
print(json.dumps({
    "tables": tables,
    "ledger": Movement.objects.aggregate(total=Sum("amount_minor"))["total"],
    "charged": Movement.objects.filter(kind="charge").aggregate(total=Sum("amount_minor"))["total"],
    "numbers": list(Entry.objects.order_by("number").values_list("number", flat=True)),
    "files": {name: [sha256, digest(name)] for name, sha256 in MediaFile.objects.values_list("name", "sha256")},
    "dora": repr(measures.compute(service="web", environment="production", window=window)),
    "facts": FactSample.objects.count(),
    "sessions": Session.objects.count(),
}))
"""


def done(command: subprocess.CompletedProcess[str]) -> str:
    """What it printed, if it ended well."""
    assert command.returncode == 0, command.stderr[-3000:]
    return command.stdout


def refusal(command: subprocess.CompletedProcess[str]) -> str:
    """What it said against it, in one line and without a traceback."""
    assert command.returncode == 1, command.stdout + command.stderr
    assert "Traceback" not in command.stderr
    return command.stderr.strip().splitlines()[-1]


def manage(installation: Installation, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py as in production."""
    return installation.manage(*arguments, **PRODUCTION, **settings)


def script(installation: Installation, code: str, **settings: str) -> Any:
    """Run code inside the installation's Django; the JSON that it printed last."""
    printed = done(manage(installation, "shell", "-v0", "--no-imports", "-c", code, **settings))
    return json.loads(printed.splitlines()[-1])


def manifest_of(archive: Path) -> dict[str, Any]:
    """What an archive says of itself, as Python's own tarfile reads it."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        found: dict[str, Any] = json.load(member)
        return found


@contextmanager
def written_to(installation: Installation) -> Iterator[None]:
    """Ledger, deployments, chat and library are written to until the end of the block, and files deleted."""
    log = installation.data_dir / "writing.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "shell", "-v0", "--no-imports", "-c", WRITING],
            env=installation.environment(**PRODUCTION), cwd=ROOT, stdout=output, stderr=output,
        )  # fmt: skip
    try:

        def is_busy() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            told = committed(installation)
            return bool(told) and min(told.values()) >= 3 and told["media"] >= 20

        wait_for(is_busy, "everything is written to", seconds=90)
        yield
    finally:
        (installation.data_dir / "stop").touch()
        process.wait(30)
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]


def committed(installation: Installation) -> dict[str, int]:
    """How many rows of each kind the writers know of."""
    path = installation.data_dir / "told"
    return json.loads(path.read_text()) if path.exists() else {}


def expect_whole(found: dict[str, Any]) -> None:
    """What is so at every moment of an installation that `WRITING` writes to."""
    assert found["ledger"] == 0
    assert found["charged"] > 0
    assert found["numbers"] == list(range(1, len(found["numbers"]) + 1))
    assert len(found["files"]) >= 15
    assert {name: [sha256, sha256] for name, (sha256, _) in found["files"].items()} == found["files"]


def signed_in(installation: Installation) -> int:
    """How many browsers and API clients."""
    live = installation.rows("SELECT id FROM accounts_refreshfamily WHERE revoked_at IS NULL")
    return installation.count("django_session") + len(live)


def kept(tables: dict[str, int]) -> dict[str, int]:
    """The tables that a restore leaves as they were."""
    return {name: rows for name, rows in tables.items() if name not in NOT_KEPT}


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A second machine, with nothing on it."""
    with installed(tmp_path_factory.mktemp("other"), migrated=False) as found:
        yield found


def test_a_backup_under_load_comes_back_on_an_empty_machine_and_replaces_what_is_there(
    installation: Installation, other: Installation, tmp_path: Path
) -> None:
    archive = tmp_path / "under-load.tar"
    with written_to(installation):
        before = committed(installation)
        done(manage(installation, "backup", "--to", str(archive)))
    said = manifest_of(archive)
    assert committed(installation)["media"] > before["media"], "nothing was written meanwhile"

    assert "Restored." in done(manage(other, "restore", str(archive)))
    found = script(other, LOOK)
    expect_whole(found)
    assert kept(found["tables"]) == kept(said["database"]["tables"])
    assert len(found["files"]) == said["library"]["files"]
    assert said["library"]["missing"] == []
    for table in ("payments_movement", "delivery_deployment", "realtime_entry"):
        assert found["tables"][table] >= before[table], table
    assert found["facts"] > 0

    # Then all is quiet, and the machine that was restored gets the newest state in place of the older one.
    printed = done(manage(installation, "backup"))
    newest = Path(printed.partition(": ")[0])
    assert newest.parent == installation.data_dir / "backups"
    assert refusal(manage(other, "restore", str(newest))).startswith("CommandError: The database is not empty")
    assert "files of before" in done(manage(other, "restore", str(newest), "--replace", "--noinput"))
    original, restored = script(installation, LOOK), script(other, LOOK)
    expect_whole(restored)
    for figure in ("ledger", "charged", "numbers", "files", "dora"):
        assert restored[figure] == original[figure], figure
    assert kept(restored["tables"]) == kept(original["tables"])
    assert "samples=0" not in original["dora"].partition("recovery")[0]
    leftover = [path.name for path in (other.data_dir / "library").glob(".*")]
    leftover += [path.name for path in other.data_dir.glob(".*")]
    assert leftover == []
    ((at,),) = installation.rows("SELECT succeeded_at FROM observability_maintenance_task WHERE task = 'backup'")
    assert at is not None


# Everything that is no whole archive is refused, and what is there stays as it is.
REFUSING = """
import hashlib, io, json, random
from pathlib import Path
from django.conf import settings
from bambisleep.backups import database, restoring
from bambisleep.backups.errors import BackupError

whole = Path({archive!r}).read_bytes()
identity = Path({identity!r}) if {identity!r} else None

def state():
    with database.moment() as moment:
        rows = [moment.tables(), moment.rows("SELECT id, username FROM accounts_user ORDER BY id")]
    library = Path(settings.LIBRARY_DIR)
    files = sorted((str(p), p.stat().st_ino, p.stat().st_size) for p in library.rglob("*") if p.is_file())
    return repr([rows, files])

def refused(data):
    for attempt in (
        lambda: restoring.check(stream(data), identity=identity, progress=lambda text: None),
        lambda: restoring.restore(
            stream(data), identity=identity, replace=True, keep_sign_ins=False, progress=lambda text: None
        ),
    ):
        try:
            attempt()
        except BackupError:
            continue
        return False
    return True

def stream(data):
    return io.BufferedReader(io.BytesIO(data))

chance = random.Random({seed})
before, accepted = state(), []
for number in range({places}):
    place = chance.randrange(len(whole)) if number % 3 else chance.randrange(min(len(whole), 20_000))
    if number % 2:
        altered = whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
    else:
        altered = whole[:place]
    if not refused(altered):
        accepted.append([number, place])
print(json.dumps([accepted, state() == before]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with somebody and something in it."""
    code = """
from content.tests import rows
from accounts.models import User
User.objects.create_user("mara", "mara@example.org", "a long enough phrase")
for _ in range(3):
    rows.film()
print("null")
"""
    with installed(tmp_path_factory.mktemp("site")) as found:
        script(found, code)
        yield found


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A public key, and the file of its private one."""
    made = pyrage.x25519.Identity.generate()
    path = tmp_path_factory.mktemp("key") / "key.txt"
    path.write_text(f"# public key: {made.to_public()}\n{made}\n")
    return str(made.to_public()), path


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
def test_altered_or_cut_anywhere_it_is_refused_and_nothing_changes(
    site: Installation, key: tuple[str, Path], tmp_path: Path, is_encrypted: bool
) -> None:
    archive = tmp_path / "backup.tar"
    recipient = ["--recipient", key[0]] if is_encrypted else []
    done(manage(site, "backup", "--to", str(archive), *recipient))
    assert (archive.read_bytes()[:4] == b"age-") is is_encrypted
    code = REFUSING.format(
        archive=str(archive), identity=str(key[1]) if is_encrypted else "", seed=5, places=200 if LONG else 13
    )
    assert script(site, code) == [[], True]


def test_whoever_has_the_key_restores_through_a_pipe_and_nobody_else(
    site: Installation, other: Installation, key: tuple[str, Path], tmp_path: Path
) -> None:
    public, private = key
    environment = site.environment(**PRODUCTION, BACKUP_RECIPIENTS=public)
    made = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "backup", "--to", "-"],
        env=environment, cwd=ROOT, capture_output=True, timeout=120,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert b"mara" not in made.stdout
    (tmp_path / "backup.tar.age").write_bytes(made.stdout)
    assert "give the file of the private key" in refusal(
        manage(other, "restore", "--check", str(tmp_path / "backup.tar.age"))
    )
    restored = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "restore", "-", "--identity", str(private)],
        env=other.environment(**PRODUCTION), cwd=ROOT, input=made.stdout, capture_output=True, timeout=120,
    )  # fmt: skip
    assert restored.returncode == 0, restored.stderr
    assert other.rows("SELECT username FROM accounts_user") == [("mara",)]
    for name, sha256 in other.rows("SELECT name, sha256 FROM content_mediafile"):
        assert hashlib.sha256((other.data_dir / "library" / name).read_bytes()).hexdigest() == sha256


# Take a backup as an older version would. The migration that is taken away here, and put back by the restore, is one
# that only adds.
OLDER = """
import io, json
from datetime import timedelta
from pathlib import Path
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone
from accounts.models import RefreshFamily, User
from bambisleep.backups import manifest, restoring, taking
from bambisleep.backups.errors import BackupError

now = timezone.now()
later = now + timedelta(days=1)
Session.objects.update_or_create(session_key="mara", defaults={{"expire_date": later}})
RefreshFamily.objects.create(
    user=User.objects.get(), current_jti="1", created_at=now, updated_at=now, expires_at=later
)
call_command("migrate", "realtime", "zero", verbosity=0)
path = Path(r"{path}")
taking.take_into_file(path, at=timezone.now(), recipients=[], progress=lambda text: None)
call_command("migrate", verbosity=0)
"""


def test_an_older_archive_is_migrated_and_a_newer_one_refused(site: Installation, other: Installation) -> None:
    code = """
manifest.known_migrations, before = lambda: before() - {{"content.0001_initial"}}, manifest.known_migrations
try:
    restoring.check(io.BufferedReader(path.open("rb")), identity=None, progress=lambda text: None)
    print(json.dumps("taken"))
except BackupError as error:
    print(json.dumps(str(error)))
"""
    path = site.data_dir / "older.tar"
    assert "which has migrations that this one" in script(site, (OLDER + code).format(path=path))
    printed = done(manage(other, "restore", str(path)))
    assert "migrations brought it up to this version" in printed
    assert other.count("realtime_room") == 0
    assert signed_in(other) == 0


def test_files_that_stay_in_a_bucket_are_not_said_to_go(
    site: Installation, other: Installation, tmp_path: Path
) -> None:
    bucket = {"LIBRARY_BUCKET": "films", "LIBRARY_BUCKET_ORIGIN": "https://films.example"}
    archive = tmp_path / "bucket.tar"
    done(manage(site, "backup", "--to", str(archive), **bucket))
    done(manage(other, "restore", str(archive), **bucket))
    since = """
from content.models import MediaFile
MediaFile.objects.filter(pk=MediaFile.objects.first().pk).update(name="since.bin")
"""
    done(manage(other, "shell", "-v0", "--no-imports", "-c", since, **bucket))

    printed = done(manage(other, "restore", str(archive), "--replace", "--noinput", **bucket))
    assert "1 files of before, which nothing names any more, stay in the bucket until `manage.py prune" in printed
    assert "two days" not in printed


def test_memory_stays_flat_however_large_the_library(site: Installation, key: tuple[str, Path], tmp_path: Path) -> None:
    size = (600 if LONG else 64) * 2**20
    code = f"""
import hashlib, io, json, os, resource
from pathlib import Path
from django.conf import settings
from django.core.management import call_command
from content.models import MediaFile
from content.tests import rows

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

film = rows.media(None)
with (Path(settings.LIBRARY_DIR) / film.name).open("r+b") as file:
    file.truncate({size})
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
MediaFile.objects.filter(pk=film.pk).update(size_bytes={size}, sha256=sha256)
path = {str(tmp_path / "large.tar.age")!r}
call_command("restore", {str(tmp_path / "small.tar.age")!r}, check=True, identity=Path({str(key[1])!r}))
before = most()
call_command("backup", to=path, recipient=[{key[0]!r}])
call_command("restore", path, replace=True, noinput=True, identity=Path({str(key[1])!r}))
print(json.dumps(most() - before))
os.truncate(Path(settings.LIBRARY_DIR) / film.name, 0)
"""
    done(manage(site, "backup", "--to", str(tmp_path / "small.tar.age"), "--recipient", key[0]))
    mebibytes = script(
        site, code.replace("print(json.dumps(most() - before))", "told = most() - before") + "print(told)"
    )
    (tmp_path / "large.tar.age").unlink()
    assert mebibytes < 40


@pytest.mark.once
def test_a_full_disk_leaves_nothing_and_says_so(site: Installation) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "backup", "--to", "-"]
    with Path("/dev/full").open("wb") as full:
        failed = subprocess.run(
            command, env=site.environment(**PRODUCTION), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=120
        )
    assert failed.returncode == 1
    assert b"There is no room left for standard output" in failed.stderr
    assert b"Traceback" not in failed.stderr
    ((error,),) = site.rows("SELECT error FROM observability_maintenance_task WHERE task = 'backup'")
    assert "There is no room left" in error


@pytest.mark.once
def test_a_run_that_is_told_to_stop_leaves_nothing_but_what_was_there(site: Installation, tmp_path: Path) -> None:
    read, write = os.pipe()  # nobody reads: it stops in the middle
    library = site.data_dir / "library"
    with subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "backup", "--to", "-"],
        env=site.environment(**PRODUCTION), cwd=ROOT, stdout=write, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(write)
        try:
            wait_for(lambda: list(library.glob(".backup-*/*.bin")), "the files are held", seconds=60)
            assert "Another backup or restore is running" in refusal(manage(site, "backup", "--to", str(tmp_path)))
            process.send_signal(signal.SIGTERM)
            os.close(read)
            assert process.wait(30) in {1, 130}
        finally:
            process.kill()
    assert [*library.glob(".backup-*"), *site.data_dir.glob(".backup-*"), *tmp_path.iterdir()] == []


# `manage.py restore` to which something happens in the moment in which the database is the archive's.
IN_THE_MOMENT = """
import os, signal, sys
from django.core.management import execute_from_command_line
import django
django.setup()
import psycopg
from bambisleep.backups import postgresql, sqlite
for kind in (postgresql.Loaded, sqlite.Loaded):
    def keep(self, keep=kind.keep):
        keep(self)
        happens()
    kind.keep = keep
def happens():
    %s
execute_from_command_line(["manage.py", "restore", *sys.argv[1:]])
"""

# The files that rows name, and those of them that are there.
FILES = """
import json
from pathlib import Path
from django.conf import settings
from content.models import MediaFile
names = sorted(MediaFile.objects.values_list("name", flat=True))
print(json.dumps([names, [name for name in names if (Path(settings.LIBRARY_DIR) / name).exists()]]))
"""


def restore_when(happens: str, other: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, as `manage` does."""
    return subprocess.run(
        [sys.executable, "-c", IN_THE_MOMENT % happens, *arguments],
        env=other.environment(DJANGO_SETTINGS_MODULE="bambisleep.settings", **PRODUCTION),
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180,
    )  # fmt: skip


@pytest.mark.parametrize("stop", ["SIGINT", "SIGTERM"])
def test_who_stops_it_in_the_last_moment_has_database_and_files_and_is_told_what_lacks(
    stop: str, site: Installation, other: Installation, tmp_path: Path
) -> None:
    archive = tmp_path / "site.tar"
    done(manage(site, "backup", "--to", str(archive)))
    stopped = restore_when(f"signal.raise_signal(signal.{stop})", other, str(archive))
    assert "Database and files are back, but what follows was interrupted" in refusal(stopped)
    named, there = script(other, FILES)
    assert len(named) >= 3
    assert named == there
    done(manage(other, "restore", str(archive), "--replace", "--noinput"))
    assert script(other, FILES) == [named, named]


@pytest.mark.parametrize("failure", ["management.CommandError('No lock.')", "db.InterfaceError('Away.')"])
def test_where_its_migrations_fail_nobody_is_signed_in_and_it_says_what_lacks(
    failure: str, site: Installation, other: Installation, tmp_path: Path
) -> None:
    archive = tmp_path / "older.tar"
    done(manage(site, "shell", "-v0", "--no-imports", "-c", OLDER.format(path=archive)))
    failed = restore_when(
        "from unittest import mock; from django import db; from django.core import management; "
        "from bambisleep.backups import restoring; "
        f"restoring.call_command = mock.Mock(side_effect={failure})",
        other,
        str(archive),
    )
    assert "Database and files are back, but what follows failed" in refusal(failed)
    assert "run the same command again with --replace" in refusal(failed)
    assert signed_in(other) == 0

    done(manage(other, "restore", str(archive), "--replace", "--noinput"))
    assert (other.count("realtime_room"), signed_in(other)) == (0, 0)


def test_a_database_that_goes_away_while_it_commits_costs_no_file(
    site: Installation, other: Installation, tmp_path: Path
) -> None:
    archive = tmp_path / "site.tar"
    done(manage(site, "backup", "--to", str(archive)))
    away = restore_when(
        "from bambisleep.backups.errors import InDoubt; raise InDoubt('Who knows?')", other, str(archive)
    )
    assert "Who knows?" in refusal(away)
    named, there = script(other, FILES)
    assert len(named) >= 3
    assert named == there


@pytest.mark.once
def test_a_file_that_is_gone_or_rotten_is_told_and_keeps_no_other_out(
    site: Installation, other: Installation, tmp_path: Path
) -> None:
    names = [name for (name,) in site.rows("SELECT name FROM content_mediafile ORDER BY id LIMIT 2")]
    library, aside = site.data_dir / "library", tmp_path / "aside"
    aside.mkdir()
    for name in names:
        shutil.copy(library / name, aside / name)
    try:
        (library / names[0]).unlink()
        (library / names[1]).write_bytes(b"rotten")
        made = manage(site, "backup", "--to", str(tmp_path / "backup.tar"))
    finally:
        for name in names:
            shutil.copy(aside / name, library / name)
    assert made.returncode == 0
    assert f"Missing: {names[0]} has a row, but no file" in made.stderr
    assert f"Damaged: {names[1]} is not what came into the library" in made.stderr
    assert manifest_of(tmp_path / "backup.tar")["library"]["missing"] == [names[0]]
    restored = manage(other, "restore", str(tmp_path / "backup.tar"))
    assert "Missing: " in restored.stderr
    assert (other.data_dir / "library" / names[1]).read_bytes() == b"rotten"
