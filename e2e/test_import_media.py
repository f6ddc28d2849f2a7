"""`manage.py import_media` as an operator runs it: stopped by Ctrl-C in the middle of a large file, and run again."""

import hashlib
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.servers import ROOT, Installation, wait_for

SIZE = 400 * 2**20  # bytes, most of them a hole in the file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long recording: silence, with a mark near its end."""
    path = tmp_path_factory.mktemp("source") / "a-long-night.wav"
    header = (
        b"RIFF" + struct.pack("<I", SIZE - 8) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16)
    )
    with path.open("wb") as file:
        file.write(header + b"data" + struct.pack("<I", SIZE - 44))
        file.truncate(SIZE)
        file.seek(SIZE - 1000)
        file.write(b"mark")
    return path


def test_a_large_file_that_was_interrupted_goes_on_and_ends_whole(installation: Installation, source: Path) -> None:
    library = installation.data_dir / "library"
    command = [sys.executable, str(ROOT / "manage.py"), "import_media", str(source), "--title", "A long night"]

    def copied() -> int:
        return sum(path.stat().st_size for path in library.glob("incoming/import-*"))

    with subprocess.Popen(
        command,
        env=installation.environment(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(lambda: copied() > 50 * 2**20, "the first bytes are copied")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.endswith("Interrupted. Run the same command again to go on where it stopped.\n")
    half = copied()
    assert 50 * 2**20 < half < SIZE
    assert (installation.count("content_item"), installation.count("content_mediafile")) == (0, 0)

    (partial,) = library.glob("incoming/import-*")
    inode = partial.stat().st_ino
    done = subprocess.run(
        command, env=installation.environment(), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "in the library, the recording or film of “A long night” (draft)" in done.stdout
    ((name, size, sha256),) = installation.rows("SELECT name, size_bytes, sha256 FROM content_mediafile")
    kept = library / name
    assert (kept.stat().st_ino, size, kept.stat().st_size) == (inode, SIZE, SIZE)
    with kept.open("rb") as file:
        assert sha256 == hashlib.file_digest(file, "sha256").hexdigest()
    with source.open("rb") as file:
        assert sha256 == hashlib.file_digest(file, "sha256").hexdigest()
    assert list(library.glob("incoming/*")) == []
    os.truncate(kept, 0)  # its gigabytes are not to wait for the end of the tests
