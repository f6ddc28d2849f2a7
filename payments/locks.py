"""Waiting for one another without standing in anybody's way.

Webhooks come in bursts, often for one customer. Whoever waits, for Stripe or for a turn, holds no connection to the
database, so that a burst leaves some for everybody else.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.db import connection

from .stripe_api import Unavailable

WRITERS = 6  # of one process at once; more would only wait for each other
TURN_SECONDS = 10.0
LOCK_TIMEOUT = "5s"  # then an OperationalError, and Stripe tries again

_turns = BoundedSemaphore(WRITERS)


def give_back_connection() -> None:
    """Put this thread's connection into the pool, unless a transaction is open on it."""
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()


@contextmanager
def turn() -> Iterator[None]:
    """Write in the block, when it is this thread's turn.

    Raises:
        Unavailable: where that takes too long.
    """
    give_back_connection()
    if not _turns.acquire(timeout=TURN_SECONDS):
        raise Unavailable("Too much happens at once. Try again in a moment.")
    try:
        yield
    finally:
        _turns.release()


def hold_customer(customer_id: str) -> None:
    """Let nobody else write what belongs to a customer of Stripe's, until the transaction ends."""
    hold(f"stripe customer {customer_id}")


def hold(name: str) -> None:
    """Wait until nobody else holds the lock of that name, and hold it until the transaction ends.

    On SQLite the transaction itself is one: it lets no other write (`transaction_mode` in the settings).
    """
    if connection.vendor == "postgresql":
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
