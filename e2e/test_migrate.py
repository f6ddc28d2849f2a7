"""manage.py migrate while somebody holds a lock, as a backup does, and others read."""

import re
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from e2e.servers import ROOT, Installation

pytestmark = pytest.mark.needs("postgresql")

AS_A_BACKUP = "LOCK TABLE content_viewing IN ACCESS SHARE MODE"
IMPATIENT = ("--noinput", "--lock-timeout", "1", "--lock-pause", "1")


def test_it_steps_aside_for_a_backup_and_its_readers_and_tries_again(own_installation: Installation) -> None:
    _go_back(own_installation)
    log = own_installation.data_dir / "migrate.log"
    with psycopg.connect(own_installation.database_url or "") as backup, _reader(own_installation) as reader:
        backup.execute(AS_A_BACKUP)
        migrating = _begin(own_installation, log, "--lock-tries", "60")
        waits = []
        while "Again in 1 s" not in log.read_text():
            assert migrating.poll() is None, log.read_text()
            began = time.monotonic()
            reader.execute("SELECT count(*) FROM content_viewing")
            waits.append(time.monotonic() - began)
            time.sleep(0.05)
        backup.rollback()

        assert migrating.wait(120) == 0, log.read_text()
    assert max(waits) < 3, "whoever reads waits no longer than the migration does"
    assert re.search(r"content\.0004_viewing_finished got no lock within 1 s, and was taken back", log.read_text())
    assert own_installation.manage("migrate", "--check").returncode == 0


def test_it_gives_up_and_leaves_the_tables_as_they_were(own_installation: Installation) -> None:
    _go_back(own_installation)
    log = own_installation.data_dir / "migrate.log"
    with psycopg.connect(own_installation.database_url or "") as backup:
        backup.execute(AS_A_BACKUP)
        assert _begin(own_installation, log, "--lock-tries", "2").wait(120) == 1

    assert log.read_text().count("got no lock within 1 s, and was taken back") == 2
    assert "migrate again when it has ended" in log.read_text()
    assert "Traceback" not in log.read_text()
    done = own_installation.manage("migrate", "--noinput")
    assert (done.returncode, "Applying content.0004_viewing_finished... OK" in done.stdout) == (0, True)


def _go_back(installation: Installation) -> None:
    assert installation.manage("migrate", "content", "0003").returncode == 0


def _reader(installation: Installation) -> "psycopg.Connection[tuple[int]]":
    return psycopg.connect(installation.database_url or "", autocommit=True)


def _begin(installation: Installation, log: Path, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(ROOT / "manage.py"), "migrate", *IMPATIENT, *options]
    with log.open("wb") as output:
        return subprocess.Popen(command, env=installation.environment(), cwd=ROOT, stdout=output, stderr=output)
