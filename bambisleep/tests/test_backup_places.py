"""Where archives are put: complete or not at all, one at a time, and the old ones cleared away."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bambisleep.backups import places
from bambisleep.backups.errors import BackupError, Damaged

pytestmark = pytest.mark.once

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)  # a Saturday


def made(directory: Path, at: datetime) -> Path:
    """An archive of that time."""
    path = directory / places.name_of(at, is_encrypted=False)
    path.write_bytes(b"")
    return path


def test_its_name_tells_when_it_was_made_in_utc() -> None:
    at = NOW.astimezone(tz=None)
    assert places.name_of(at, is_encrypted=False) == "bambisleep-20261128T030000Z.tar"
    assert places.name_of(at, is_encrypted=True) == "bambisleep-20261128T030000Z.tar.age"


def test_it_has_its_name_only_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "backup.tar"
    with places.new_file(path) as sink:
        sink.write(b"half ")
        assert [found.name for found in path.parent.iterdir()] == ["backup.tar.partial"]
        sink.write(b"and half")
    assert path.read_bytes() == b"half and half"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "There is no room left"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (BackupError("pg_dump failed"), "pg_dump failed"),
    ],
)
def test_nothing_is_left_of_one_that_failed(tmp_path: Path, error: Exception, told: str) -> None:
    def fail() -> None:
        with places.new_file(tmp_path / "backup.tar") as sink:
            sink.write(b"half")
            raise error

    with pytest.raises(BackupError, match=told):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_does_not_keep_what_was_written_is_noticed(tmp_path: Path) -> None:
    def write() -> None:
        with places.new_file(tmp_path / "backup.tar") as sink:
            sink.write(b"as it was written")
            sink.flush()
            (tmp_path / "backup.tar.partial").write_bytes(b"as it was WRITTEN")

    with pytest.raises(Damaged, match="did not keep"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "backup.tar").write_bytes(b"dear")
    with pytest.raises(BackupError, match="exists"), places.new_file(tmp_path / "backup.tar"):
        pytest.fail("It was opened.")
    assert (tmp_path / "backup.tar").read_bytes() == b"dear"


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / "bambisleep-20261127T030000Z.tar.partial").write_bytes(b"half")
    with places.new_file(tmp_path / places.name_of(NOW, is_encrypted=False)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["bambisleep-20261128T030000Z.tar"]


def test_what_another_installation_is_writing_there_is_left_alone(tmp_path: Path) -> None:
    earlier = places.name_of(NOW - timedelta(minutes=1), is_encrypted=False)
    with places.new_file(tmp_path / earlier) as theirs:
        theirs.write(b"half ")
        with places.new_file(tmp_path / places.name_of(NOW, is_encrypted=False)):
            pass
        theirs.write(b"and half")
    assert (tmp_path / earlier).read_bytes() == b"half and half"
    assert len(list(tmp_path.iterdir())) == 2


def test_two_at_once_are_refused(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path / "data"
    with places.locked(), pytest.raises(BackupError, match="Another backup or restore is running"), places.locked():
        pytest.fail("Both run.")
    with places.locked():
        pass


def test_days_and_weeks_are_kept_and_the_rest_goes(tmp_path: Path, settings: Any) -> None:
    settings.BACKUP_KEEP_DAYS, settings.BACKUP_KEEP_WEEKS = 3, 3
    nightly = [made(tmp_path, NOW - timedelta(days=days)) for days in range(30)]
    evening = made(tmp_path, NOW - timedelta(hours=9))
    others = [tmp_path / name for name in ("bambisleep-of-old.tar", "backup.tar", "bambisleep-20200101T000000Z.tar.gz")]
    for other in others:
        other.write_bytes(b"")
    gone = places.clear_away(tmp_path, now=NOW)
    # Saturday; Friday's evening for Friday; Thursday. And of the weeks before this one, each one's Sunday.
    kept = {nightly[0], evening, nightly[2], nightly[6], nightly[13]}
    assert set(tmp_path.iterdir()) == kept | set(others)
    assert set(gone) == {*nightly, evening} - kept


def test_those_of_the_last_day_stay_however_many_and_old_ones_while_there_are_no_newer(
    tmp_path: Path, settings: Any
) -> None:
    settings.BACKUP_KEEP_DAYS, settings.BACKUP_KEEP_WEEKS = 1, 0
    today = {made(tmp_path, NOW - timedelta(minutes=minutes)) for minutes in range(20)}
    old = made(tmp_path, NOW - timedelta(days=40))
    assert places.clear_away(tmp_path, now=NOW) == [old]
    assert set(tmp_path.iterdir()) == today
    assert places.clear_away(tmp_path, now=NOW + timedelta(days=400)) != []
    assert len(list(tmp_path.iterdir())) == 1


def test_zero_days_keep_everything(tmp_path: Path, settings: Any) -> None:
    settings.BACKUP_KEEP_DAYS = 0
    old = made(tmp_path, NOW - timedelta(days=4000))
    assert places.clear_away(tmp_path, now=NOW) == []
    assert old.exists()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BackupError, match=f"{tmp_path}/file"), places.new_file(tmp_path / "file" / "backup.tar"):
        pytest.fail("It was opened.")
    assert os.listdir(tmp_path) == ["file"]
