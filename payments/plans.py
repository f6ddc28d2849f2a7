"""Plans: Stripe's recurring prices, as far as they make a member."""

from collections.abc import Collection
from typing import Any

from django.utils import timezone

from .models import Interval, Plan
from .shapes import Object, id_of, number, unit_amount

LARGEST_NUMBER = 32_767  # of days of a trial, or of a position


def store(*, price: Object, product: Object) -> Plan | None:
    """Bring the plan of `price` up to date; one that is hidden, archived or no plan at all goes off sale.

    Returns:
        The plan; None where there is none.
    """
    metadata = {**_metadata(product), **_metadata(price)}
    recurring = price.get("recurring") or {}
    hidden = "true" in {_metadata(of).get("hidden", "").lower() for of in (product, price)}
    if hidden or recurring.get("interval") not in Interval.values:
        retire(price_ids=[price["id"]])
        return Plan.objects.filter(price_id=price["id"]).first()
    fixed = recurring.get("usage_type", "licensed") == "licensed" and price.get("billing_scheme") != "tiered"
    values: dict[str, Any] = {
        "product_id": id_of(product),
        "name": str(product.get("name") or product["id"])[:250],
        "description": str(metadata.get("description") or product.get("description") or ""),
        "currency": price["currency"],
        "amount_minor": unit_amount(price),
        "interval": recurring["interval"],
        "interval_count": recurring.get("interval_count") or 1,
        "trial_days": max(_number(metadata.get("trial_days")), 0),
        "position": _number(metadata.get("position")),
        "active": bool(price.get("active") and product.get("active") and fixed),
        "livemode": price["livemode"],
    }
    plan, _ = Plan.objects.update_or_create(price_id=price["id"], defaults=values)
    return plan


def store_product(*, product: Object, prices: Collection[Object]) -> None:
    """Bring every plan of a product up to date; one whose price is no more goes off sale."""
    for price in prices:
        store(price=price, product=product)
    known = Plan.objects.filter(product_id=product["id"]).values_list("price_id", flat=True)
    retire(price_ids=set(known) - {price["id"] for price in prices})


def retire(*, price_ids: Collection[str]) -> None:
    """Take plans off sale; who has one keeps it."""
    if price_ids:
        Plan.objects.filter(price_id__in=price_ids, active=True).update(active=False, updated_at=timezone.now())


def retire_product(*, product_id: str) -> None:
    """Take what belonged to a product off sale that Stripe no longer knows."""
    retire(price_ids=list(Plan.objects.filter(product_id=product_id).values_list("price_id", flat=True)))


def _metadata(of: Object) -> dict[str, str]:
    return of.get("metadata") or {}


def _number(text: str | None) -> int:
    return max(-LARGEST_NUMBER, min(number(text), LARGEST_NUMBER))
