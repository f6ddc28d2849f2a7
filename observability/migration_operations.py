"""Steps of migrations under which the site goes on serving, with the code of the last release beside the new one.

    class Migration(migrations.Migration):
        atomic = False
        operations = [AddIndexOnline("entry", models.Index(fields=["author"], name="entry_author"))]

docs/how-to/change-a-table.md says which step belongs into which release; `manage.py lint_migrations` looks after it.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import models
from django.db.migrations.operations import AddIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState


class AddIndexOnline(AddIndexConcurrently):
    """Add an index while rows are written: on PostgreSQL concurrently, in a migration with `atomic = False`.

    Where it is cut off half-way, PostgreSQL keeps an invalid index of that name: drop it by hand, and migrate again.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Add it."""
        if schema_editor.connection.vendor == "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        else:
            AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Take it away."""
        if schema_editor.connection.vendor == "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
        else:
            AddIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)


class DropColumn(Operation):
    """Drop a column that no model has any more: a release before, `RemoveField` took it from the models alone.

    Args:
        field: as the column was last, so that it can come back, empty: nullable, or with a default in the database.
    """

    reversible = True

    def __init__(self, model_name: str, name: str, field: models.Field[Any, Any]) -> None:
        self.model_name = model_name
        self.name = name
        self.field = field

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models have lost it already."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop it."""
        schema_editor.remove_field(*self._column(app_label, from_state))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Add it again, empty."""
        schema_editor.add_field(*self._column(app_label, to_state))

    def describe(self) -> str:
        """For people."""
        return f"Drop column {self.name} of {self.model_name}"

    def _column(self, app_label: str, state: Any) -> tuple[Any, models.Field[Any, Any]]:
        model = state.apps.get_model(app_label, self.model_name)
        field = self.field.clone()
        field.set_attributes_from_name(self.name)
        field.model = model
        return model, field


class DropTable(Operation):
    """Drop a table that no model has any more: a release before, `DeleteModel` took it from the models alone."""

    reversible = False

    def __init__(self, table: str) -> None:
        self.table = table

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models have lost it already."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop it."""
        state = from_state.clone()
        key: dict[str, models.Field[Any, Any]] = {"id": models.BigAutoField(primary_key=True)}
        state.add_model(ModelState(app_label, "Dropped", key, options={"db_table": self.table}))
        schema_editor.delete_model(state.apps.get_model(app_label, "Dropped"))

    def describe(self) -> str:
        """For people."""
        return f"Drop table {self.table}"
