"""Bringing in what Stripe knows: products, prices, customers and subscriptions, all of them or the newer ones.

What is here already as Stripe has it is left alone, so that a run which was interrupted is simply done again. Money is
brought in by `payments.reconcile`.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.conf import settings
from django.db.models import Model

from . import demo, listing, mirror
from .models import Customer, Plan, Subscription
from .shapes import Object

KINDS = ("product", "price", "customer", "subscription")
OURS: dict[str, tuple[type[Model], str]] = {
    "product": (Plan, "product_id"),
    "price": (Plan, "price_id"),
    "customer": (Customer, "customer_id"),
    "subscription": (Subscription, "subscription_id"),
}
Outcome = Literal["brought in", "unchanged", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one of Stripe's objects; `error` says why it failed. "gone": it is here, and no longer there."""

    kind: str
    object_id: str
    outcome: Outcome
    error: str = ""


def sync(*, kinds: Collection[str] = KINDS, since: datetime | None = None, again: bool = False) -> Iterator[Synced]:
    """Bring in what Stripe has of each kind, in the order in which they depend on each other.

    Args:
        since: only what was made at Stripe since then; what is gone there is not looked for.
        again: bring in what is here unchanged, too, such as after a change of settings.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
    """
    for kind in (kind for kind in KINDS if kind in kinds):
        seen: set[str] = set()
        for page in listing.pages(f"{kind}s", **_filters(kind, since)):
            unchanged = set() if again else _unchanged(kind, page)
            for found in page:
                seen.add(found["id"])
                if found["id"] in unchanged:
                    yield Synced(kind, found["id"], "unchanged")
                else:
                    yield _bring_in(kind, found["id"], "brought in")
        if since is None:
            for object_id in sorted(_standing_here(kind) - seen):
                yield _bring_in(kind, object_id, "gone")


def _filters(kind: str, since: datetime | None) -> dict[str, Any]:
    created: dict[str, Any] = {"created": {"gte": int(since.timestamp())}} if since else {}
    return created | ({"status": "all"} if kind == "subscription" else {})


def _bring_in(kind: str, object_id: str, outcome: Outcome) -> Synced:
    error = listing.bring_in(kind, object_id)
    return Synced(kind, object_id, "failed" if error else outcome, error)


def _unchanged(kind: str, page: list[Object]) -> set[str]:
    """Those that the mirror has just so, and that our own rows know: both are always written together."""
    ids = [found["id"] for found in page]
    mirrored = mirror.MODELS[kind].objects.filter(id__in=ids)
    copies = dict(mirrored.values_list("id", "stripe_data"))
    # All that Stripe says; to some dj-stripe adds a key of its own.
    there = {found["id"] for found in page if {**copies.get(found["id"], {}), **found} == copies.get(found["id"])}
    if kind == "customer":  # of whom nothing is to be mirrored
        there |= set(Customer.objects.forgotten().filter(customer_id__in=ids).values_list("customer_id", flat=True))
    model, field = OURS[kind]
    return set(model._default_manager.filter(**{f"{field}__in": there}).values_list(field, flat=True))


def _standing_here(kind: str) -> set[str]:
    """What Stripe has to have, for all that is known here."""
    of_mode = {"livemode": settings.STRIPE_LIVE_MODE}
    if kind == "customer":
        return set(Customer.objects.filter(deleted_at=None, **of_mode).values_list("customer_id", flat=True))
    if kind == "price":
        plans = Plan.objects.filter(active=True, **of_mode).exclude(price_id__startswith=demo.PREFIX)
        return set(plans.values_list("price_id", flat=True))
    return set()
