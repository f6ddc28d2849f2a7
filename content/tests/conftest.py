"""What the library's tests start from."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def library(tmp_path: Path, settings: Any) -> Path:
    """A library's directory of the test's own."""
    directory = tmp_path / "library"
    directory.mkdir()
    local = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(directory), "base_url": None, "file_permissions_mode": 0o640},
    }
    settings.LIBRARY_DIR = directory
    settings.STORAGES = {**settings.STORAGES, "library": local}
    return directory
