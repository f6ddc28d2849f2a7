"""PostgreSQL: pg_dump out of one snapshot, and back in one transaction.

pg_dump's stream has no length that is known beforehand, and a tar member has: so it goes into the archive in pieces
(`cat database/* | pg_restore …` puts them together), and needs no room on the disk. On the way back pg_restore only
makes SQL of it, without a connection; what runs it is here, because so everything old goes, everything new comes, and
is counted, in the same transaction, and no psql is there to obey a command that somebody put into the dump.
"""

import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import psycopg
from django.db import DatabaseError, connection
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .errors import BackupError, InDoubt

PIECE_BYTES = 8 * 2**20
COPY_BYTES = 2**18
COPY = re.compile(rb"COPY .+ FROM stdin;\n")
SET = re.compile(rb"SET ([a-z_]+) = .*;\n")
PASSWORD_SIGNS = re.compile(r"[\\:]")
RESTRICT = re.compile(rb"\\(un)?restrict \w+\n")  # addressed to psql
INSTALL = "install PostgreSQL's client programs (Debian: postgresql-client), of the server's version or later"

# Everything in the schema that is ours: tables with all that hangs on them, then what they used.
DROP = """
DO $$
DECLARE found record;
BEGIN
  FOR found IN
    SELECT format('DROP %s IF EXISTS %I.%I CASCADE', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN
      'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
      n.nspname, c.relname) AS statement
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.relkind = 'S'
  LOOP EXECUTE found.statement; END LOOP;
  FOR found IN
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure) AS statement
    FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
  LOOP EXECUTE found.statement; END LOOP;
  FOR found IN
    SELECT format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype) AS statement
    FROM pg_type t WHERE t.typnamespace = current_schema()::regnamespace AND t.typtype IN ('e', 'd')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
  LOOP EXECUTE found.statement; END LOOP;
END $$
"""


class Session:
    """A connection of its own, in a transaction."""

    def __init__(self, database: "psycopg.Connection[Any]") -> None:
        self.database = database
        self.schema = str(self.rows("SELECT current_schema()")[0][0])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What it answers."""
        statement = query.encode()
        return self.database.execute(statement).fetchall()

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""
        names = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
        counts = {}
        for (name,) in names:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
            counts[name] = int(self.database.execute(count).fetchall()[0][0])
        return counts


class Moment(Session):
    """A snapshot that pg_dump shares."""

    @property
    def server_version(self) -> str:
        """PostgreSQL's own."""
        return str(self.rows("SHOW server_version")[0][0])

    def dump(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """What pg_dump writes, in pieces; after the last, the snapshot is given back."""
        snapshot = self.rows("SELECT pg_export_snapshot()")[0][0]
        with tempfile.NamedTemporaryFile("w", prefix="pgpass-") as passwords:  # for its owner alone
            passwords.write(f"*:*:*:*:{PASSWORD_SIGNS.sub(_escaped, str(_parameters().get('password', '')))}\n")
            passwords.flush()
            yield from self._dump(str(snapshot), passwords.name)
        self.database.rollback()

    def _dump(self, snapshot: str, passwords: str) -> Iterator[tuple[str, int, BinaryIO]]:
        own = {"passfile": passwords} if _parameters().get("password") else {}  # else libpq's own, ~/.pgpass
        target = make_conninfo("", **{**_without_password(), **own})  # a password is never an argument
        arguments = [
            "pg_dump", "--format=custom", "--no-password", f"--snapshot={snapshot}", f"--schema={self.schema}",
            "--lock-wait-timeout=60000", f"--dbname={target}",
        ]  # fmt: skip
        with _running(arguments, source=None) as output:
            number = 0
            while piece := output.read(PIECE_BYTES):
                number += 1
                yield f"database/dump.{number:06}", len(piece), io.BytesIO(piece)


class Loaded(Session):
    """What came back, in a transaction that is not over."""

    def keep(self) -> None:
        """Commit."""
        try:
            self.database.commit()
        except psycopg.OperationalError as error:
            said = str(error).strip().splitlines()[0]
            raise InDoubt(
                f"PostgreSQL went away while it was asked to commit ({said}): the database is the archive's or the one "
                "of before, and the files of both are there. Run the same command again, with --replace."
            ) from None


@contextmanager
def moment() -> Iterator[Moment]:
    """The database as it is now."""
    with _connected() as database:
        database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        database.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield Moment(database)


@contextmanager
def loaded(dump: Path) -> Iterator[Loaded]:
    """The dump in place of everything in the schema, in a transaction that is rolled back unless it is kept."""
    with _connected() as database:
        session = Loaded(database)
        database.execute("SET LOCAL lock_timeout = '15s'")
        try:
            database.execute(DROP)
        except psycopg.errors.LockNotAvailable:
            raise BackupError("The database is in use: stop the site first. Nothing was changed.") from None
        arguments = [
            "pg_restore", "--file=-", "--no-owner", "--no-privileges", "--no-comments", "--no-publications",
            "--no-subscriptions", "--no-security-labels", "--no-tablespaces", f"--schema={session.schema}",
        ]  # fmt: skip
        with dump.open("rb") as file, _running(arguments, source=file) as script:
            _run(script, database)
        path = sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(session.schema))
        database.execute(path)
        yield session


def analyze() -> None:
    """Have the planner know what is in the tables; autovacuum would come to it."""
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def tables_now() -> dict[str, int]:
    """How many rows each table of the site's database has."""
    with _connected() as database:
        return Session(database).tables()


def _run(script: IO[bytes], database: "psycopg.Connection[Any]") -> None:
    """Run what pg_restore made: statements, and between them COPY with the rows of a table."""
    known = {name.encode() for (name,) in database.execute("SELECT name FROM pg_settings").fetchall()}
    statements: list[bytes] = []
    for line in script:
        if COPY.fullmatch(line):
            _execute(statements, database)
            with database.cursor().copy(line) as copy:
                for block in _rows_of(script):
                    copy.write(block)
        elif not RESTRICT.fullmatch(line) and not ((found := SET.fullmatch(line)) and found[1] not in known):
            statements.append(line)
    _execute(statements, database)


def _rows_of(script: IO[bytes]) -> Iterator[bytes]:
    """The rows up to the line that ends them, in blocks."""
    block = bytearray()
    for line in script:
        if line == b"\\.\n":
            break
        block += line
        if len(block) >= COPY_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def _execute(statements: list[bytes], database: "psycopg.Connection[Any]") -> None:
    text = b"".join(statements)
    statements.clear()
    if text.strip():
        database.execute(text)


@contextmanager
def _connected() -> "Iterator[psycopg.Connection[Any]]":
    """A connection of its own; what PostgreSQL says against is a BackupError, and the transaction is rolled back."""
    try:
        with psycopg.connect(make_conninfo("", **_parameters())) as database:
            try:
                yield database
            finally:
                if not database.closed:
                    database.rollback()
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[0]
        raise BackupError(f"PostgreSQL says: {said}. Nothing was changed.") from None


@contextmanager
def _running(arguments: list[str], *, source: BinaryIO | None) -> Iterator[IO[bytes]]:
    """What a program of PostgreSQL's prints; a BackupError with its own words where it fails."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=source or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        except FileNotFoundError:
            raise BackupError(f"{arguments[0]} is not here: {INSTALL}.") from None
        try:
            assert process.stdout is not None  # noqa: S101  PIPE
            yield process.stdout
            process.stdout.read()
            failed = process.wait() != 0
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
        if failed:
            errors.seek(0)
            said = errors.read(4000).decode(errors="replace").strip()
            hint = f" To mend it, {INSTALL}." if "version" in said else ""
            raise BackupError(f"{arguments[0]} failed: {said}{hint}")


def _parameters() -> dict[str, Any]:
    """How Django connects, as far as it is libpq that is told."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return {name: value for name, value in connection.get_connection_params().items() if name in known}


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _without_password() -> dict[str, Any]:
    return {name: value for name, value in _parameters().items() if name not in {"password", "sslpassword"}}
