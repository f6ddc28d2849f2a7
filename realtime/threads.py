"""Database work of the chat, in threads of its own: never the one that Django's sync code shares.

`database_sync_to_async` by default runs everything in one thread: a query that waits would hold everybody up. These
are as many as the connections that the chat may take of the database's pool.
"""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")

_threads = ThreadPoolExecutor(settings.CHAT_DATABASE_THREADS, thread_name_prefix="chat")


def in_database(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """An awaitable form of `function`, which uses the database."""
    return database_sync_to_async(_keeping(function), thread_sensitive=False, executor=_threads)


def _keeping(function: Callable[P, R]) -> Callable[P, R]:
    """On SQLite each of these few threads keeps its connection: opening one costs more than what it is opened for, and
    closing the last one folds the log back into the file. PostgreSQL's go back into the pool."""

    @wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        finally:
            if connection.vendor == "sqlite":
                connection.close_at = None

    return call
