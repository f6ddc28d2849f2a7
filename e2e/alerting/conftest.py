"""The story is told once for all the tests of this folder, and what runs in it runs on until the last of them."""

from collections.abc import Iterator

import pytest

from e2e.alerting import story as stories


@pytest.fixture(scope="package")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stories.Story]:
    """Every alert fired, was told, and is over; Prometheus still has the history of it."""
    with stories.story(tmp_path_factory.mktemp("story")) as told:
        yield told
