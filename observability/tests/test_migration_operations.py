"""Steps of migrations beside which the site goes on serving."""

from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations.state import ModelState, ProjectState

from observability.migration_operations import AddIndexOnline, DropColumn, DropTable


@pytest.mark.django_db(transaction=True)
def test_the_steps_of_ours_go_and_come_back() -> None:
    """On a table of the test's own: a column dropped and added again, an index online, a table dropped."""
    before = ProjectState()
    fields: list[tuple[str, Any]] = [("id", models.BigAutoField(primary_key=True)), ("title", models.TextField())]
    before.add_model(ModelState("content", "Passing", fields))
    model = before.apps.get_model("content", "Passing")
    column = models.TextField(null=True)
    drop = DropColumn("passing", "note", column)
    index = models.Index(fields=["title"], name="passing_title")
    add = AddIndexOnline("passing", index)
    after = before.clone()
    add.state_forwards("content", after)

    def columns() -> set[str]:
        with connection.cursor() as cursor:
            return {row.name for row in connection.introspection.get_table_description(cursor, "content_passing")}

    def indexes() -> set[str]:
        with connection.cursor() as cursor:
            return set(connection.introspection.get_constraints(cursor, "content_passing"))

    with connection.schema_editor() as editor:
        editor.create_model(model)
    try:
        with connection.schema_editor() as editor:
            drop.database_backwards("content", editor, before, before)
        assert "note" in columns()
        with connection.schema_editor() as editor:
            drop.database_forwards("content", editor, before, before)
        assert "note" not in columns()
        with connection.schema_editor(atomic=False) as editor:
            add.database_forwards("content", editor, before, after)
        assert "passing_title" in indexes()
        with connection.schema_editor(atomic=False) as editor:
            add.database_backwards("content", editor, after, before)
        assert "passing_title" not in indexes()
    finally:
        with connection.schema_editor() as editor:
            DropTable("content_passing").database_forwards("content", editor, before, before)
    assert "content_passing" not in connection.introspection.table_names()
