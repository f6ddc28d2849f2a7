"""Doing things at the same time, as the threads of a server do."""

import threading
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


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each returned; all begin at the same moment."""
    barrier = threading.Barrier(len(acts))

    def begin(act: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return act()

    doing = [meanwhile(lambda act=act: begin(act)) for act in acts]  # type: ignore[misc]
    return [one.result(PATIENCE_SECONDS) for one in doing]


def wait_for(condition: Callable[[], Any]) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"It did not come true within {PATIENCE_SECONDS} s."
        time.sleep(0.005)
