"""manage.py lint_migrations: each step that would break the last release, or lock a table, is found and named."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.core.management import CommandError, call_command
from django.db import migrations, models
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Now, Random

from bambisleep.migration_rules import findings
from observability.migration_operations import AddIndexOnline, DropColumn, DropTable

pytestmark = pytest.mark.once

INDEX = models.Index(fields=["title"], name="film_title")
NOT_EMPTY = models.CheckConstraint(condition=~models.Q(title=""), name="film_title_not_empty")
STATE_ONLY = migrations.SeparateDatabaseAndState


def _released(*more: ModelState) -> ProjectState:
    """One table, of the last release."""
    fields: list[tuple[str, Any]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=100)),
        ("note", models.TextField(null=True)),
        ("length", models.IntegerField()),
        ("kind", models.IntegerField(db_default=0)),
    ]
    state = ProjectState()
    for model in (ModelState("content", "Film", fields), *more):
        state.add_model(model)
    return state


def _found(*operations: Any, atomic: bool = True, **attributes: Any) -> list[str]:
    migration: Any = type("Migration", (migrations.Migration,), {"operations": list(operations), **attributes})
    migration.atomic = atomic
    state = _released()
    return findings(migration("0002_change", "content"), before=state, released=state)


def nothing(apps: Any, schema_editor: Any) -> None:
    """A step in Python."""


UNSAFE = {
    "a column removed": migrations.RemoveField("film", "note"),
    "a table removed": migrations.DeleteModel("Film"),
    "a column renamed": migrations.RenameField("film", "note", "remark"),
    "a table renamed": migrations.RenameModel("Film", "Movie"),
    "a table renamed by its name": migrations.AlterModelTable("film", "movies"),
    "a column that must be filled": migrations.AddField("film", "year", models.IntegerField(default=0)),
    "a column with an index": migrations.AddField("film", "year", models.IntegerField(null=True, db_index=True)),
    "a unique column": migrations.AddField("film", "slug", models.CharField(max_length=9, null=True, unique=True)),
    "another type": migrations.AlterField("film", "length", models.TextField()),
    "a narrower type": migrations.AlterField("film", "title", models.CharField(max_length=50)),
    "no NULL any more": migrations.AlterField("film", "note", models.TextField()),
    "an index by a field": migrations.AlterField("film", "length", models.IntegerField(db_index=True)),
    "another name of a column": migrations.AlterField("film", "length", models.IntegerField(db_column="seconds")),
    "an index under a lock": migrations.AddIndex("film", INDEX),
    "an index online in a transaction": AddIndexOnline("film", INDEX),
    "a constraint": migrations.AddConstraint("film", NOT_EMPTY),
    "unique together": migrations.AlterUniqueTogether("film", {("title", "length")}),
    "no way back from Python": migrations.RunPython(nothing),
    "no way back from SQL": migrations.RunSQL("SELECT 1"),
    "dangerous SQL": migrations.RunSQL("ALTER TABLE content_film ALTER COLUMN note SET NOT NULL", "SELECT 1"),
    "a column dropped too soon": DropColumn("film", "note", models.TextField(null=True)),
    "a table dropped too soon": DropTable("content_film"),
    "a generated column": migrations.AddField(
        "film",
        "twice",
        models.GeneratedField(expression=models.F("length") * 2, output_field=models.IntegerField(), db_persist=True),
    ),
    "a default of each row's own": migrations.AddField("film", "key", models.UUIDField(db_default=RandomUUID())),
    "a default that holds one": migrations.AddField("film", "chance", models.FloatField(db_default=1 + Random())),
    "a default in SQL": migrations.AddField("film", "key", models.UUIDField(db_default=RawSQL("made()", ()))),
    "a default less": migrations.AlterField("film", "kind", models.IntegerField()),
    "a default less, and NULL instead": migrations.AlterField("film", "kind", models.IntegerField(null=True)),
    "a removal in a part": STATE_ONLY(database_operations=[migrations.RemoveField("film", "note")]),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_a_step_that_the_last_release_would_not_live_through_is_found(what: str) -> None:
    assert len(_found(UNSAFE[what])) == 1


UNSAFE_SQL = [
    "ALTER TABLE content_film ALTER COLUMN note SET NOT NULL",
    "ALTER TABLE content_film ALTER length TYPE text",
    "alter table content_film alter column length set data type text",
    "ALTER TABLE content_film DROP note",
    "ALTER TABLE content_film DROP COLUMN note",
    "ALTER TABLE ONLY content_film ADD seen integer, DROP IF EXISTS note",
    "ALTER TABLE content_film ALTER COLUMN kind DROP DEFAULT",
    "ALTER TABLE content_film ALTER kind\n  DROP DEFAULT",
    "ALTER TABLE content_film ADD CHECK (length > 0)",
    "ALTER TABLE content_film ADD FOREIGN KEY (kind) REFERENCES content_kind",
    "ALTER TABLE content_film ADD UNIQUE (title)",
    "ALTER TABLE content_film ADD PRIMARY KEY (title)",
    "ALTER TABLE content_film ADD CONSTRAINT long CHECK (length > 0)",
    "ALTER TABLE content_film ADD twice integer GENERATED ALWAYS AS (length * 2) STORED",
    "ALTER TABLE content_film RENAME note TO remark",
    "DROP TABLE content_film",
    "CREATE INDEX film_title ON content_film (title)",
    "LOCK TABLE content_film",
    "TRUNCATE content_film",
]


@pytest.mark.parametrize("sql", UNSAFE_SQL)
def test_sql_that_the_last_release_would_not_live_through_is_found(sql: str) -> None:
    assert len(_found(migrations.RunSQL(sql, migrations.RunSQL.noop))) == 1


SAFE_SQL = [
    "ALTER TABLE content_film ADD seen integer",
    "ALTER TABLE content_film ADD COLUMN seen integer NOT NULL DEFAULT 0",
    "ALTER TABLE content_film ALTER COLUMN note DROP NOT NULL",
    "ALTER TABLE content_film ALTER COLUMN kind SET DEFAULT 1",
    "ALTER TABLE content_film DROP CONSTRAINT film_title_not_empty",
    "ALTER TABLE content_film VALIDATE CONSTRAINT long",
    "CREATE INDEX CONCURRENTLY film_title ON content_film (title)",
    "DROP INDEX CONCURRENTLY film_title",
    "CREATE TABLE content_poster (id bigint PRIMARY KEY, film bigint UNIQUE); ALTER TABLE content_film ADD a int",
    "ALTER TABLE content_film ADD a int; DROP FUNCTION made()",
    "UPDATE content_film SET note = 'nothing to check or drop' WHERE note IS NULL",
]


@pytest.mark.parametrize("sql", SAFE_SQL)
def test_sql_that_the_last_release_does_not_notice_is_good(sql: str) -> None:
    assert _found(migrations.RunSQL(sql, migrations.RunSQL.noop)) == []


SAFE = {
    "a nullable column": [migrations.AddField("film", "year", models.IntegerField(null=True))],
    "a column with the database's default": [
        migrations.AddField("film", "year", models.IntegerField(default=0, db_default=0))
    ],
    "the moment as a default": [
        migrations.AddField("film", "added_at", models.DateTimeField(db_default=Now())),
        migrations.AddField("film", "day", models.DateField(db_default=Cast(Now(), models.DateField()))),
    ],
    "another default": [migrations.AlterField("film", "kind", models.IntegerField(db_default=1))],
    "a default less, where it may be empty and nobody knows it": [
        migrations.AddField("film", "year", models.IntegerField(null=True, db_default=0)),
        migrations.AlterField("film", "year", models.IntegerField(null=True)),
    ],
    "a column generated when it is read": [
        migrations.AddField(
            "film",
            "twice",
            models.GeneratedField(
                expression=models.F("length") * 2, output_field=models.IntegerField(), db_persist=False
            ),
        )
    ],
    "a wider type": [migrations.AlterField("film", "title", models.CharField(max_length=200))],
    "NULL from now on": [migrations.AlterField("film", "length", models.IntegerField(null=True))],
    "taken from the models alone": [STATE_ONLY(state_operations=[migrations.RemoveField("film", "note")])],
    "a way back": [migrations.RunPython(nothing, nothing), migrations.RunSQL("SELECT 1", migrations.RunSQL.noop)],
    "an index less": [migrations.RemoveIndex("film", "film_title")],
    "whatever it is, with a table of this release": [
        migrations.CreateModel("Poster", [("id", models.BigAutoField(primary_key=True)), ("a", models.IntegerField())]),
        migrations.AddField("poster", "year", models.IntegerField()),
        migrations.RenameField("poster", "a", "b"),
        migrations.AddIndex("poster", models.Index(fields=["b"], name="poster_b")),
        migrations.RemoveField("poster", "year"),
    ],
}


@pytest.mark.parametrize("what", SAFE)
def test_a_step_that_the_last_release_does_not_notice_is_good(what: str) -> None:
    state = _released()
    if what == "an index less":
        state.models["content", "film"].options["indexes"] = [INDEX]
    migration: Any = type("Migration", (migrations.Migration,), {"operations": SAFE[what]})
    assert findings(migration("0002_change", "content"), before=state, released=_released()) == []


def test_a_default_of_this_release_stays_until_the_next() -> None:
    """The last one leaves out a column that it does not know."""
    add = migrations.AddField("film", "year", models.IntegerField(db_default=0))
    assert len(_found(add, migrations.AlterField("film", "year", models.IntegerField()))) == 1


def test_a_default_that_the_last_release_had_no_use_for_may_go() -> None:
    """It writes a value of its own."""
    set_default = migrations.AlterField("film", "length", models.IntegerField(db_default=0))
    assert _found(set_default, migrations.AlterField("film", "length", models.IntegerField())) == []


def test_an_index_online_wants_no_transaction() -> None:
    assert _found(AddIndexOnline("film", INDEX), atomic=False) == []


def test_what_the_models_have_lost_a_release_ago_may_be_dropped() -> None:
    drops = [DropColumn("film", "subtitle", models.TextField(null=True)), DropTable("content_poster")]
    assert _found(*drops) == []


def test_a_reason_makes_a_step_good_but_never_a_new_name_for_an_old_one() -> None:
    reason = {"AddConstraint": "Since 1.4 no code writes an empty title, and there are few films."}
    assert _found(migrations.AddConstraint("film", NOT_EMPTY), safe_because=reason) == []
    assert len(_found(migrations.AddConstraint("film", NOT_EMPTY), safe_because={"AddConstraint": " "})) == 1
    assert len(_found(migrations.RenameField("film", "note", "x"), safe_because={"RenameField": "Really."})) == 1
    assert len(_found(safe_because={"RunSQL": "There is none."})) == 1


def test_the_command_looks_at_what_is_not_released(tmp_path: Path) -> None:
    """The very first migrations are as if of this release, so that what follows on their tables is theirs too."""
    none = tmp_path / "released.txt"
    none.write_text("# nothing yet\n")
    told = StringIO()
    call_command("lint_migrations", "--released", str(none), stdout=told)
    assert "it would live through all of them" in told.getvalue()

    call_command("lint_migrations", "--released", str(none), "--release", stdout=StringIO())
    released = none.read_text().splitlines()[1:]
    assert "accounts 0001_initial" in released
    assert not [line for line in released if line.startswith(("auth ", "djstripe "))], "those of packages are theirs"


def test_the_command_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("lint_migrations", "--released", str(tmp_path / "none"))
    (tmp_path / "odd").write_text("accounts\n")
    with pytest.raises(CommandError, match="each line"):
        call_command("lint_migrations", "--released", str(tmp_path / "odd"))
