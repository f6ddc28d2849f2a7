"""Doing things at the same time, as the threads of a server do."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def at_once(*acts: Callable[[], Any], seconds: float = 30) -> list[Any]:
    """What each returned, within `seconds`; all begin together, each with a connection to the database of its own."""
    barrier = Barrier(len(acts))

    def begin(act: Callable[[], Any]) -> Any:
        barrier.wait(10)
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(begin, acts, timeout=seconds))
