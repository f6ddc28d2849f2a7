"""Going through all that Stripe has of a kind, for commands: page by page, and patient where a visitor cannot wait."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import stripe

from observability.logs import redacted

from . import processing, stripe_api
from .shapes import Object

PAUSES_SECONDS = (1.0, 4.0, 15.0)  # before another attempt
FINAL = (stripe.AuthenticationError, stripe.PermissionError)  # what no waiting mends

Found = TypeVar("Found")


def pages(name: str, **filters: Any) -> Iterator[list[Object]]:
    """The pages of a list, such as pages("charges", created={"gte": 1767225600}); the newest first.

    Raises:
        Unavailable: where Stripe does not answer, after some attempts.
    """
    return stripe_api.pages(name, filters, ask=lambda path, params: patiently(partial(stripe_api.get, path, params)))


def one(name: str, object_id: str) -> Object | None:
    """One object, such as one("charges", "ch_123"); None where Stripe does not know it.

    Raises:
        Unavailable: likewise.
    """
    try:
        return patiently(partial(stripe_api.get, f"/v1/{name}/{object_id}", {}))
    except stripe.InvalidRequestError as error:
        if error.code != "resource_missing":
            raise
        return None


def patiently(call: Callable[[], Found]) -> Found:
    """What `call` returns; it is tried again, after a while, when Stripe is away or asks for fewer calls.

    Raises:
        Unavailable: of the last attempt, or of the first where the key is refused.
    """
    for pause in PAUSES_SECONDS:
        try:
            return call()
        except stripe_api.Unavailable as error:
            if isinstance(error.__cause__, FINAL):
                raise
            time.sleep(pause)
    return call()


def bring_in(kind: str, object_id: str) -> str:
    """Have one of Stripe's objects brought in; one that cannot be stored does not keep the others.

    Returns:
        Why that failed; "" where it did not.

    Raises:
        Unavailable: where Stripe does not answer, after some attempts.
    """
    try:
        patiently(partial(processing.synchronise, kind, object_id))
    except stripe_api.Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - told, and the next one's turn
        return redacted(f"{type(error).__name__}: {error}")
    return ""
