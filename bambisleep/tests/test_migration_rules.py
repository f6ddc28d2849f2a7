"""manage.py lint_migrations: each step that would break the last release, or lock a table, is found and named."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import migrations, models
from django.db.migrations.state import ModelState, ProjectState

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
    "a removal in a part": STATE_ONLY(database_operations=[migrations.RemoveField("film", "note")]),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_a_step_that_the_last_release_would_not_live_through_is_found(what: str) -> None:
    assert len(_found(UNSAFE[what])) == 1


SAFE = {
    "a nullable column": [migrations.AddField("film", "year", models.IntegerField(null=True))],
    "a column with the database's default": [
        migrations.AddField("film", "year", models.IntegerField(default=0, db_default=0))
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
