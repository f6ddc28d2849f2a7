"""The database itself refuses to change a row of the ledger."""

from typing import Any

from django.db import migrations

POSTGRESQL = """
CREATE FUNCTION payments_movement_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'A movement of the ledger is never changed.' USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER payments_movement_is_final BEFORE UPDATE ON payments_movement
FOR EACH ROW EXECUTE FUNCTION payments_movement_is_final();
"""
SQLITE = """
CREATE TRIGGER payments_movement_is_final BEFORE UPDATE ON payments_movement
BEGIN SELECT RAISE(ABORT, 'A movement of the ledger is never changed.'); END;
"""


def forbid(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE)


def allow(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER payments_movement_is_final ON payments_movement")
        schema_editor.execute("DROP FUNCTION payments_movement_is_final()")
    else:
        schema_editor.execute("DROP TRIGGER payments_movement_is_final")


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]
    operations = [migrations.RunPython(forbid, allow)]
