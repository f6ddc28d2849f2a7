"""The database: its version and settings, what its user may do, connections, replicas, migrations."""

import sqlite3
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from .clocks import compared
from .findings import Finding, check, error, note, ok, warning

OLDEST_POSTGRESQL, OLDEST_SQLITE = 14, (3, 31, 0)  # that Django 5.2 works with
LAG_SECONDS = 30
WRAPAROUND = 1_500_000_000  # transactions; at 2 thousand millions PostgreSQL takes no more
LARGEST_QUICK_CHECK_BYTES = 200_000_000


@check("database", seconds=10)
def database_is_good() -> Iterator[Finding]:
    """PostgreSQL, or SQLite."""
    asked_at = timezone.now()
    try:
        connection.ensure_connection()
    except DatabaseError as problem:
        said = (str(problem).strip().splitlines() or [""])[0]
        yield error(
            f"It does not answer: {said}", "Is it started, and is DATABASE_URL right? Runbook DatabaseNotReady."
        )
        return
    yield from _postgresql(asked_at) if connection.vendor == "postgresql" else _sqlite()


def _one(query: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return tuple(cursor.fetchone())


def _postgresql(asked_at: datetime) -> Iterator[Finding]:
    version, encoding, zone, now = _one(
        "SELECT current_setting('server_version'), current_setting('server_encoding'), current_setting('TimeZone'),"
        " clock_timestamp()"
    )
    if int(version.split(".")[0]) < OLDEST_POSTGRESQL:
        yield error(
            f"PostgreSQL {version} is too old.", f"Use version {OLDEST_POSTGRESQL} or newer (pg_upgradecluster)."
        )
    else:
        yield ok(f"PostgreSQL {version}, {encoding}, {zone}.")
    if encoding != "UTF8":
        yield error(f"Its encoding is {encoding}: not every text can be stored.", "Make a database with -E UTF8.")
    yield compared("The database's", now, asked_at=asked_at)
    yield from _durability()
    yield from _privileges()
    yield from _connections()
    yield from _replicas()
    yield from _age()


def _durability() -> Iterator[Finding]:
    fsync, full_pages, commit, recovering = _one(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'),"
        " current_setting('synchronous_commit'), pg_is_in_recovery()"
    )
    if fsync == "off" or full_pages == "off":
        yield error(
            "fsync or full_page_writes is off: a power cut may destroy it.", "Switch on both in postgresql.conf"
        )
    if commit == "off":
        yield warning(
            "synchronous_commit is off: a crash loses what was acknowledged a moment before.",
            "Switch it on in postgresql.conf.",
        )
    if recovering:
        yield error("This is a replica, which takes no writes.", "Let DATABASE_URL lead to the primary.")


def _privileges() -> Iterator[Finding]:
    is_superuser, may_create, name = _one(
        "SELECT rolsuper, COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false), current_user"
        " FROM pg_roles WHERE rolname = current_user"
    )
    if is_superuser:
        yield warning(
            f"The site's user, {name}, is a superuser: a hole in the site would be one in the whole server.",
            f"ALTER ROLE {name} NOSUPERUSER, and let it own its database.",
        )
    if not may_create:
        yield note(
            f"The user {name} may make no tables: migrations need another one.",
            "Run manage.py migrate with the DATABASE_URL of the database's owner.",
        )
    (missing,) = _one(
        "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND NOT (SELECT bool_and("
        "has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), needed))"
        " FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed)"
    )
    if missing:
        yield error(
            f"The user {name} may not read and write {missing} of the tables.",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}.",
        )


def _connections() -> Iterator[Finding]:
    most, reserved, used = map(
        int,
        _one(
            "SELECT current_setting('max_connections'), current_setting('superuser_reserved_connections'),"
            " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
        ),
    )
    pool = settings.DATABASE["OPTIONS"]["pool"]["max_size"]
    fit = (most - reserved) // pool
    sizes = f"{used} of {most} connections are in use; {fit} processes fit with DATABASE_POOL_SIZE {pool} each."
    remedy = "Raise max_connections, lower DATABASE_POOL_SIZE, or put a pooler (pgbouncer) between."
    if not fit:
        yield error(f"One process may want more connections than there are. {sizes}", remedy)
    elif most - reserved - used < most // 10:
        yield warning(f"Few connections are left. {sizes}", remedy)
    else:
        yield ok(sizes)
    (idle,) = _one(
        "SELECT count(*) FROM pg_stat_activity WHERE starts_with(state, 'idle in transaction')"
        " AND state_change < now() - interval '5 minutes'"
    )
    if idle:
        yield warning(
            f"{idle} connections have left a transaction open for minutes: it holds locks, and keeps dead rows.",
            "Look at pg_stat_activity for whose they are, and end them: SELECT pg_terminate_backend(pid).",
        )


def _replicas() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COALESCE(NULLIF(application_name, ''), client_addr::text, 'unnamed'), state,"
            " EXTRACT(epoch FROM replay_lag) FROM pg_stat_replication"
        )
        rows = cursor.fetchall()
        cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE NOT active")
        forgotten = [name for (name,) in cursor.fetchall()]
    if forgotten:
        yield warning(
            f"Nobody reads from the replication slot {forgotten[0]}: its log is kept until the disk is full.",
            f"Start the replica, or SELECT pg_drop_replication_slot('{forgotten[0]}').",
        )
    for name, state, lag in rows:
        if state is not None and state != "streaming":
            yield warning(f"The replica {name} is not up to date: {state}.", "Look at its log, and at both disks.")
        elif lag is not None and lag > LAG_SECONDS:
            yield warning(f"The replica {name} is {lag:.0f} seconds behind.", "Look at its load, and at the network.")
        else:
            yield ok(f"The replica {name} follows.")


def _age() -> Iterator[Finding]:
    (age,) = _one("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
    if age > WRAPAROUND:
        yield error(
            f"No vacuum has frozen its rows for {age:,} transactions: it will stop taking writes.",
            "Run vacuumdb --freeze now, and find out what holds autovacuum up (old transactions, unused slots).",
        )


def _sqlite() -> Iterator[Finding]:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        yield error(f"SQLite {sqlite3.sqlite_version} is too old.", "Use a Python that is built with a newer one.")
    else:
        yield ok(f"SQLite {sqlite3.sqlite_version}.")
    if not settings.DEBUG:
        yield note("SQLite serves one machine, and one writer at a time.", "Use PostgreSQL where more is wanted.")
    (mode,) = _one("PRAGMA journal_mode")
    if mode != "wal":
        yield warning(
            f"Its journal is {mode}: readers wait for writers.", "Is it on a network drive? Use a local disk."
        )
    path = Path(str(settings.DATABASE["NAME"]))
    if not path.exists():
        return
    if not settings.DEBUG and path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        yield warning(f"Everybody on this machine may read {path}.", f"chmod o= {path}")
    if path.stat().st_size < LARGEST_QUICK_CHECK_BYTES:
        (verdict,) = _one("PRAGMA quick_check(1)")
        if verdict != "ok":
            yield error(f"The file is damaged: {verdict}.", "Stop the site, then manage.py restore the last backup.")


@check("migrations", seconds=10)
def migrations_are_applied() -> Iterator[Finding]:
    """Each one of the code's, and none of a later version's."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        names = ", ".join(f"{migration.app_label} {migration.name}" for migration, _ in plan[:3])
        yield error(f"{len(plan)} migrations are not applied: {names}.", "Run manage.py migrate.")
    known = set(executor.loader.disk_migrations) | set(executor.loader.replacements)
    apps = {app for app, _ in known}
    applied = MigrationRecorder(connection).applied_migrations()
    later = sorted(f"{app} {name}" for app, name in applied if app in apps and (app, name) not in known)
    if later:
        yield note(
            f"The database is ahead of this code by {len(later)} migrations, such as {later[0]}.",
            "That is so after going back to an older version, and while a newer one is rolled out.",
        )
    if not plan and not later:
        yield ok(f"All {len(known)} are applied.")
