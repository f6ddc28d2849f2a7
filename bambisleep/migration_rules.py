"""Which migrations the last release's code would not live through: expand first, contract a release later.

While a release is rolled out, processes of the one before serve from the tables as they are already. So each migration
since then is held against the models that the last release has (`released`): what those read and write must go on
working, and nothing may lock a table for as long as it takes to read it. docs/how-to/change-a-table.md has the ways.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import migrations
from django.db.migrations import operations as steps
from django.db.migrations.state import ProjectState
from django.db.models import Func
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Now

from observability.migration_operations import AddIndexOnline, DropColumn, DropTable

HOW = "docs/how-to/change-a-table.md"
DECLARED = "safe_because"  # a migration's attribute: name of the step to the reason why it is safe here
NEVER_SAFE = (steps.RenameField, steps.RenameModel, steps.AlterModelTable)
CONSTRAINTS = (steps.AddConstraint, steps.AlterUniqueTogether)
NEVER_VOLATILE = (Cast, Now)  # of what a default in the database may be computed by; Now is the statement's
DANGEROUS_SQL = re.compile(
    r"""\b(
        drop\s+table | rename\b | lock\s+table | truncate
      | alter\s+table\b[^;]*?\bdrop\s+(?!constraint\b|not\s+null\b|expression\b)\S+   # a column, or its default
      | alter\s+(column\s+)?\S+\s+((set\s+data\s+)?type | set\s+not\s+null)\b
      | create\s+(unique\s+)?index\s+(?!concurrently)
      | add\s+(constraint | check | foreign | unique | primary | exclude)\b
      | generated\s+(always | by\s+default)\s+as                                         # all rows are written anew
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def findings(migration: migrations.Migration, *, before: ProjectState, released: ProjectState) -> list[str]:
    """What is wrong with a migration, each a sentence that says what to do instead.

    Args:
        before: the models as they are just before it.
        released: as the last release has them.
    """
    declared: dict[str, str] = getattr(migration, DECLARED, {})
    state = before.clone()
    found = []
    for operation in migration.operations:
        found += list(_of_step(operation, migration, state, released, set(declared)))
        operation.state_forwards(migration.app_label, state)
    used = {type(step).__name__ for step in _on_the_database(migration.operations)}
    found += [f"{DECLARED} speaks of {name}, and there is none." for name in declared if name not in used]
    found += [f"{DECLARED} does not say why {name} is safe." for name in declared if not declared[name].strip()]
    return found


def _on_the_database(operations: Iterable[Any]) -> Iterator[Any]:
    for operation in operations:
        if isinstance(operation, steps.SeparateDatabaseAndState):
            yield from _on_the_database(operation.database_operations)
        else:
            yield operation


def _of_step(
    operation: Any, migration: Any, state: ProjectState, released: ProjectState, declared: set[str]
) -> Iterator[str]:
    for step in _on_the_database([operation]):
        problem = _problem(step, migration, state, released)
        name = type(step).__name__
        if problem and (name not in declared or isinstance(step, NEVER_SAFE)):
            yield f"{step.describe()}: {problem}"


def _problem(step: Any, migration: Any, state: ProjectState, released: ProjectState) -> str:
    if isinstance(step, steps.RunPython):
        return "" if step.reversible else "there is no way back: give it a reverse_code, if only RunPython.noop."
    if isinstance(step, steps.RunSQL):
        return _problem_of_sql(step)
    if isinstance(step, DropTable):
        tables = {model.options.get("db_table") or f"{app}_{name}" for (app, name), model in released.models.items()}
        return f"the last release still has it: drop it a release later ({HOW})." if step.table in tables else ""
    key = (migration.app_label, _model_of(step))
    known = released.models.get(key)
    if known is None:
        return ""  # a table of this very release: nobody else knows it
    if isinstance(step, DropColumn):
        return f"the last release still has it: drop it a release later ({HOW})." if step.name in known.fields else ""
    return _problem_of_known(step, migration, state.models.get(key), known)


def _model_of(step: Any) -> str:
    name = getattr(step, "model_name", None) or getattr(step, "old_name", None) or getattr(step, "name", "")
    return str(name).lower()


def _problem_of_known(step: Any, migration: Any, model: Any, known: Any) -> str:
    """Of a step on a table that the last release reads and writes."""
    if isinstance(step, NEVER_SAFE):
        return f"the last release knows the old name: add the new one, copy, and take the old away later ({HOW})."
    if isinstance(step, steps.RemoveField | steps.DeleteModel):
        return (
            "the last release still reads it: take it from the models alone (SeparateDatabaseAndState), and drop it in "
            f"the release after ({HOW})."
        )
    if isinstance(step, AddIndexOnline):
        return "" if not migration.atomic else "give the migration `atomic = False`, which CONCURRENTLY wants."
    if isinstance(step, steps.AddIndex | steps.AlterIndexTogether):
        return f"it locks the table for as long as it takes: use AddIndexOnline ({HOW})."
    if isinstance(step, CONSTRAINTS):
        return (
            "the last release may write rows that break it, and the table is locked while it is checked: have the code "
            f"keep to it first, and add it a release later, with {DECLARED} ({HOW})."
        )
    if isinstance(step, steps.AddField):
        return _problem_of_added(step.field)
    if isinstance(step, steps.AlterField) and model is not None:
        return _problem_of_altered(model.fields[step.name], step.field, known.fields.get(step.name))
    return ""


def _problem_of_added(field: Any) -> str:
    if field.many_to_many:
        return ""  # a table of its own
    if field.generated and field.db_persist:
        return f"all rows are written anew under a lock: add a plain column, and fill it in batches ({HOW})."
    if field.has_db_default() and _may_be_volatile(field.db_default):
        return (
            "a default that may differ from row to row has all of them written anew under a lock: make it nullable, "
            f"and fill it in batches ({HOW})."
        )
    if not field.null and not field.has_db_default() and not field.generated:
        return "the last release inserts rows without it: make it nullable, or give it a db_default."
    if field.unique or field.db_index or (field.remote_field and field.db_index):
        return f"its index locks the table for as long as it takes: db_index=False, then AddIndexOnline ({HOW})."
    return ""


def _may_be_volatile(default: Any) -> bool:
    """Whether PostgreSQL may have to compute it for each row that is there."""
    parts = list(default.flatten()) if hasattr(default, "flatten") else []
    return any(isinstance(part, RawSQL | Func) and not isinstance(part, NEVER_VOLATILE) for part in parts)


def _problem_of_altered(old: Any, new: Any, released: Any) -> str:
    """`released`: the field as the last release has it; None where it does not know it."""
    if old.get_internal_type() != new.get_internal_type() or _size(old) > _size(new):
        return f"another type, or a narrower one: add a new column beside it ({HOW})."
    if old.null and not new.null:
        return (
            f"the last release may write NULL, and all rows are read under a lock: a release later, with {DECLARED} "
            f"({HOW})."
        )
    if (new.unique and not old.unique) or (new.db_index and not old.db_index):
        return f"its index locks the table for as long as it takes: use AddIndexOnline ({HOW})."
    if old.has_db_default() and not new.has_db_default():
        # Who does not know the column leaves it out, which does where it may be empty.
        is_needed = not new.null if released is None else released.has_db_default()
        if is_needed:
            return f"the last release inserts rows by that default: take it away a release later ({HOW})."
    if old.db_column != new.db_column:
        return f"the last release knows the old name: add the new one, copy, and take the old away later ({HOW})."
    return ""


def _size(field: Any) -> tuple[float, float]:
    whole = getattr(field, "max_length", None) or getattr(field, "max_digits", None)
    return (float("inf") if whole is None else whole, getattr(field, "decimal_places", None) or 0)


def _problem_of_sql(step: Any) -> str:
    if not step.reversible:
        return "there is no way back: give it a reverse_sql, if only RunSQL.noop."
    parts = (
        [step.sql] if isinstance(step.sql, str) else [part[0] if isinstance(part, tuple) else part for part in step.sql]
    )
    match = next(filter(None, map(DANGEROUS_SQL.search, parts)), None)
    if match:
        return f"`{match[0]}` may break the last release, or lock a table: say why not in {DECLARED} ({HOW})."
    return ""
