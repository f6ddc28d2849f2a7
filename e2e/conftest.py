"""What the end-to-end tests start from: an installation with data of its own."""

import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.servers import Installation, installed


def pytest_configure(config: pytest.Config) -> None:
    """What a client here left open when a server was killed under it is no fault of the site's: it is told, no more.

    The collector finds it minutes later, in whichever test is running, or when all are done.
    """
    config.addinivalue_line("filterwarnings", "default::pytest.PytestUnraisableExceptionWarning")  # in tests
    warnings.filterwarnings("default", category=pytest.PytestUnraisableExceptionWarning)  # when all are done


@pytest.fixture
def blank_installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation on which nothing has run yet."""
    with installed(tmp_path, migrated=False) as installation:
        yield installation


@pytest.fixture
def own_installation(tmp_path: Path) -> Iterator[Installation]:
    """A migrated installation for one test alone."""
    with installed(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A migrated installation, shared by the tests of one file."""
    with installed(tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture
def busybox(tmp_path: Path) -> dict[str, str]:
    """An environment with the programs that the images of Prometheus and Alertmanager have, and no others."""
    programs = tmp_path / "busybox"
    programs.mkdir()
    subprocess.run(["busybox", "--install", "-s", str(programs)], check=True)
    return {"PATH": str(programs)}
