"""Going through all that Stripe has of a kind, for commands: page by page, and patient where a visitor cannot wait."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import stripe

from . import stripe_api
from .shapes import Object

PAGE = 100  # as many as Stripe gives at once
PAUSES_SECONDS = (1.0, 4.0, 15.0)  # before another attempt
FINAL = (stripe.AuthenticationError, stripe.PermissionError)  # what no waiting mends

Found = TypeVar("Found")


def pages(name: str, **filters: Any) -> Iterator[list[Object]]:
    """The pages of a list, such as pages("charges", created={"gte": 1767225600}); the newest first.

    Raises:
        Unavailable: where Stripe does not answer, after some attempts.
    """
    after: dict[str, Any] = {}
    while True:
        page = patiently(partial(_page, name, {**filters, **after, "limit": PAGE}))
        data = page["data"]
        yield data
        if not data or not page.get("has_more"):
            return
        after = {"starting_after": data[-1]["id"]}


def one(name: str, object_id: str) -> Object | None:
    """One object, such as one("charges", "ch_123"); None where Stripe does not know it.

    Raises:
        Unavailable: likewise.
    """
    try:
        return patiently(partial(_get, f"/v1/{name}/{object_id}", {}))
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


def _page(name: str, params: dict[str, Any]) -> Object:
    found = _get(f"/v1/{name}", params)
    if found.get("object") != "list" or not isinstance(found.get("data"), list):
        raise stripe_api.Unavailable(f"Stripe answered something else than a list of {name}.")
    return found


def _get(path: str, params: dict[str, Any]) -> Object:
    with stripe_api.reaching():
        try:
            found = stripe_api.client().raw_request("get", path, **params).data
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise stripe_api.Unavailable("Stripe's answer makes no sense.") from error
    if not isinstance(found, dict):
        raise stripe_api.Unavailable("Stripe's answer makes no sense.")
    return found
