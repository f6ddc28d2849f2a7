"""The search's words, and the database's own full-text index on them.

PostgreSQL: two generated columns, whose indexes keep no list of what is to be indexed later: items are seldom saved.
SQLite: two FTS5 tables without a content of their own, which triggers keep up to date; a later migration that makes
Django rebuild `content_searchentry` on SQLite must make the triggers again.
"""

import django.db.models.deletion
from django.db import migrations, models

POSTGRESQL = [
    """
    ALTER TABLE content_searchentry
    ADD COLUMN for_everyone tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', tags), 'B')
        || setweight(to_tsvector('english', summary), 'C') || setweight(to_tsvector('english', body), 'D')
    ) STORED,
    ADD COLUMN for_members tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', tags), 'B')
        || setweight(to_tsvector('english', summary), 'C') || setweight(to_tsvector('english', body), 'D')
        || setweight(to_tsvector('english', members_body), 'D')
    ) STORED
    """,
    "CREATE INDEX search_for_everyone ON content_searchentry USING gin (for_everyone) WITH (fastupdate = off)",
    "CREATE INDEX search_for_members ON content_searchentry USING gin (for_members) WITH (fastupdate = off)",
]
POSTGRESQL_BACK = ["ALTER TABLE content_searchentry DROP COLUMN for_everyone, DROP COLUMN for_members"]

OPTIONS = """
    content='content_searchentry', content_rowid='item_id', tokenize='porter unicode61 remove_diacritics 1'
"""
EVERYONE, MEMBERS = "title, summary, tags, body", "title, summary, tags, body, members_body"


def triggers() -> list[str]:
    """The three ways in which a row changes, for both tables."""
    add, remove = "", ""
    for table, columns in (("content_search_for_everyone", EVERYONE), ("content_search_for_members", MEMBERS)):
        new, old = (", ".join(f"{row}.{one}" for one in columns.split(", ")) for row in ("new", "old"))
        add += f"INSERT INTO {table}(rowid, {columns}) VALUES (new.item_id, {new});"
        remove += f"INSERT INTO {table}({table}, rowid, {columns}) VALUES ('delete', old.item_id, {old});"
    return [
        f"CREATE TRIGGER content_search_insert AFTER INSERT ON content_searchentry BEGIN {add} END",
        f"CREATE TRIGGER content_search_delete AFTER DELETE ON content_searchentry BEGIN {remove} END",
        f"CREATE TRIGGER content_search_update AFTER UPDATE ON content_searchentry BEGIN {remove} {add} END",
    ]


SQLITE = [
    f"CREATE VIRTUAL TABLE content_search_for_everyone USING fts5({EVERYONE}, {OPTIONS})",
    f"CREATE VIRTUAL TABLE content_search_for_members USING fts5({MEMBERS}, {OPTIONS})",
    *triggers(),
]
SQLITE_BACK = [
    *(f"DROP TRIGGER content_search_{event}" for event in ("insert", "delete", "update")),
    "DROP TABLE content_search_for_everyone",
    "DROP TABLE content_search_for_members",
]


def make(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def unmake(apps, schema_editor):
    for statement in POSTGRESQL_BACK if schema_editor.connection.vendor == "postgresql" else SQLITE_BACK:
        schema_editor.execute(statement)


class Migration(migrations.Migration):

    dependencies = [("content", "0002_watch_time")]

    operations = [
        migrations.CreateModel(
            name="SearchEntry",
            fields=[
                (
                    "item",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="content.item",
                    ),
                ),
                ("title", models.TextField()),
                ("summary", models.TextField(blank=True)),
                ("tags", models.TextField(blank=True)),
                ("body", models.TextField(blank=True)),
                ("members_body", models.TextField(blank=True)),
            ],
            options={"verbose_name_plural": "search entries"},
        ),
        migrations.RunPython(make, unmake),
    ]
