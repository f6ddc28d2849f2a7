"""Doing things at the same time, as the threads of a server do."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection

PATIENCE_SECONDS = 30


def meanwhile(act: Callable[[], Any]) -> "Future[Any]":
    """Begin something in a thread, with a connection to the database of its own; its `result()` is waited for."""

    def run() -> Any:
        try:
            return act()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    found = pool.submit(run)
    pool.shutdown(wait=False)
    return found


def wait_for(condition: Callable[[], Any]) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"It did not come true within {PATIENCE_SECONDS} s."
        time.sleep(0.005)
