"""What serving processes ask of the database beyond what commands do: no statement of theirs may hold anybody up."""

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections


def limit_statements() -> None:
    """Have PostgreSQL give up each statement of this process after DATABASE_STATEMENT_SECONDS, whoever waits for a lock
    included: it is answered 503, and its connection serves others. Before the first connection is made.

    Commands go without: a migration or a backup takes as long as it takes. So does SQLite, whose locks time out.
    """
    seconds: float = settings.DATABASE_STATEMENT_SECONDS
    database = connections.settings[DEFAULT_DB_ALIAS]
    if seconds and database["ENGINE"].endswith("postgresql"):
        options = database["OPTIONS"]
        limit = f"-c statement_timeout={seconds * 1000:.0f}"
        options["options"] = f"{options.get('options', '')} {limit}".strip()
