"""System checks of the library."""

import os
from pathlib import Path
from typing import Any

import pytest

from content.checks import ffprobe_is_there, library_is_a_place_of_its_own


def ids() -> list[str | None]:
    return [message.id for message in library_is_a_place_of_its_own(None)]


@pytest.mark.parametrize(("library", "static"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("c/../a/b", "a")])
def test_a_library_among_the_static_files_is_an_error(tmp_path: Path, settings: Any, library: str, static: str) -> None:
    settings.LIBRARY_DIR, settings.STATIC_ROOT = tmp_path / library, tmp_path / static
    assert "content.E001" in ids()


def test_a_directory_of_its_own_is_well_before_it_exists(tmp_path: Path, settings: Any) -> None:
    settings.LIBRARY_DIR, settings.STATIC_ROOT = tmp_path / "library", tmp_path / "static"
    assert ids() == []


def test_a_directory_that_is_a_file_is_a_warning(tmp_path: Path, settings: Any) -> None:
    (tmp_path / "library").touch()
    settings.LIBRARY_DIR = tmp_path / "library"
    assert ids() == ["content.W001"]


def test_a_directory_that_cannot_be_written_is_a_warning(settings: Any) -> None:
    settings.LIBRARY_DIR = Path("/proc/library") if os.geteuid() else Path("/proc/self/status/library")
    assert ids() == ["content.W001"]


def test_no_ffprobe_is_told_and_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (message,) = ffprobe_is_there(None)
    assert message.id == "content.W002"
    assert not message.is_serious()
