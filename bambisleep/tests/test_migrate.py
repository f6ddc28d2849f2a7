"""manage.py migrate: which steps may wait for a lock, and for how long."""

from typing import Any

import pytest
from django.db import connection, migrations

from bambisleep.management.commands.migrate import Command

pytestmark = [pytest.mark.django_db, pytest.mark.needs("postgresql")]


def _limit() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize(("atomic", "limit"), [(True, "5s"), (False, "0")])
def test_a_transaction_has_the_limit_and_an_index_online_waits(atomic: bool, limit: str) -> None:
    command = Command()
    command.connection, command.lock_seconds, command.verbosity = connection, 5.0, 0
    migration: Any = migrations.Migration("0002_change", "content")
    migration.atomic = atomic

    command.migration_progress_callback("apply_start", migration)
    assert _limit() == limit

    command.migration_progress_callback("apply_success", migration)
    assert _limit() == "0"
