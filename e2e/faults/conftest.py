"""One site for all the faults: two processes behind nginx, on a PostgreSQL and a Redis of their own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e import crowd
from e2e.nginx import nginx
from e2e.postgresql import Database, postgresql
from e2e.servers import Server, wait_for


@dataclass(frozen=True, slots=True)
class Whole:
    """The site, the database it stands on, and its door."""

    site: crowd.Site
    database: Database
    nginx: Server


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Shared: each test leaves it as it found it."""
    with (
        postgresql() as database,
        crowd.site(tmp_path_factory.mktemp("faults"), processes=2, members=2, database=database) as site,
        nginx(tmp_path_factory.mktemp("nginx"), site.processes) as door,
    ):
        yield Whole(site, database, door)


@pytest.fixture(autouse=True)
def _all_is_well(request: pytest.FixtureRequest) -> None:
    """Each test begins where the one before has been got over."""
    if "whole" in request.fixturenames:
        for process in request.getfixturevalue("whole").site.processes:
            wait_for(lambda process=process: process.http.get("/health/ready").status_code == 200, "ready")  # type: ignore[misc]
