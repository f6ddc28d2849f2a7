"""No statement of a serving process holds anybody up; commands have no limit."""

from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connections

from observability import database


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """PostgreSQL, as the settings describe it."""
    found: dict[str, Any] = {"ENGINE": "django_prometheus.db.backends.postgresql", "OPTIONS": {}}
    monkeypatch.setitem(connections.settings, DEFAULT_DB_ALIAS, found)
    return found


def test_the_limit_is_in_what_each_connection_says(configured: dict[str, Any], settings: Any) -> None:
    settings.DATABASE_STATEMENT_SECONDS = 2.5

    database.limit_statements()

    assert configured["OPTIONS"] == {"options": "-c statement_timeout=2500"}


def test_what_the_address_says_stays(configured: dict[str, Any], settings: Any) -> None:
    settings.DATABASE_STATEMENT_SECONDS = 8.0
    configured["OPTIONS"] = {"options": "-c search_path=site"}

    database.limit_statements()

    assert configured["OPTIONS"]["options"] == "-c search_path=site -c statement_timeout=8000"


def test_zero_is_no_limit(configured: dict[str, Any], settings: Any) -> None:
    settings.DATABASE_STATEMENT_SECONDS = 0.0

    database.limit_statements()

    assert configured["OPTIONS"] == {}


def test_sqlite_has_none(configured: dict[str, Any], settings: Any) -> None:
    configured["ENGINE"] = "django_prometheus.db.backends.sqlite3"

    database.limit_statements()

    assert configured["OPTIONS"] == {}
