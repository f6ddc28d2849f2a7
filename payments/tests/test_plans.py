"""Plans: Stripe's recurring prices, as far as they make a member."""

from collections.abc import Callable
from typing import Any

import pytest

from bambisleep.tests.client import Answer
from e2e.stripe.wire import Object
from payments import plans, processing
from payments.models import Plan
from payments.tests.shop import Shop, an_event

pytestmark = pytest.mark.django_db
Deliver = Callable[..., Answer]


def product(**more: Any) -> Object:
    return {"id": "prod_1", "object": "product", "name": "Membership", "active": True, "metadata": {}, **more}


def price(**more: Any) -> Object:
    return {
        "id": "price_1", "object": "price", "product": "prod_1", "active": True, "currency": "eur", "unit_amount": 900,
        "billing_scheme": "per_unit", "livemode": False, "metadata": {}, "type": "recurring",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}, **more,
    }  # fmt: skip


def stored(of: dict[str, Any] | None = None, to: dict[str, Any] | None = None) -> Plan | None:
    return plans.store(price=price(**(of or {})), product=product(**(to or {})))


def test_a_recurring_price_is_a_plan() -> None:
    plan = stored(to={"description": "Everything."})

    assert plan is not None
    assert (str(plan), plan.description, plan.active) == ("Membership (month)", "Everything.", True)
    assert (plan.price_id, plan.product_id, plan.amount_minor, plan.currency) == ("price_1", "prod_1", 900, "eur")


def test_metadata_of_the_price_goes_before_that_of_the_product() -> None:
    plan = stored(
        of={"metadata": {"trial_days": "14", "description": "Of the price."}},
        to={"metadata": {"trial_days": "7", "position": "3", "description": "Of the product."}},
    )

    assert plan is not None
    assert (plan.trial_days, plan.position, plan.description) == (14, 3, "Of the price.")


@pytest.mark.parametrize("text", ["", "seven", "7.5", "-7", "٧", "1e3", "9" * 30])
def test_metadata_that_is_no_number_is_none(text: str) -> None:
    plan = stored(of={"metadata": {"trial_days": text}})

    assert plan is not None
    assert plan.trial_days == 0


@pytest.mark.parametrize(
    ("of", "to"),
    [
        ({"active": False}, {}),
        ({}, {"active": False}),
        ({"metadata": {"hidden": "true"}}, {}),
        ({}, {"metadata": {"hidden": "True"}}),
        ({"recurring": None, "type": "one_time"}, {}),
        ({"billing_scheme": "tiered", "unit_amount": None}, {}),
        ({"recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered"}}, {}),
    ],
)
def test_what_cannot_be_sold_as_a_plan_is_not_on_sale(of: dict[str, Any], to: dict[str, Any]) -> None:
    stored(of, to)
    assert not Plan.objects.on_sale().exists()

    stored()
    assert Plan.objects.on_sale().exists()
    stored(of, to)
    assert not Plan.objects.on_sale().exists()


@pytest.mark.parametrize(("currency", "amount"), [("jpy", 1200), ("kwd", 3500), ("isk", 90_000)])
def test_amounts_stay_in_the_minor_unit_as_they_come(currency: str, amount: int) -> None:
    plan = stored(of={"currency": currency, "unit_amount": amount})

    assert plan is not None
    assert plan.amount_minor == amount


def test_three_months_are_an_interval_as_well() -> None:
    assert str(stored(of={"recurring": {"interval": "month", "interval_count": 3}})) == "Membership (3 months)"


def test_one_event_brings_every_plan_of_the_product(shop: Shop) -> None:
    Plan.objects.all().delete()

    processing.synchronise("price", shop.plans.monthly)

    assert Plan.objects.on_sale().count() == 4
    assert set(Plan.objects.values_list("currency", flat=True)) == {"eur", "jpy", "kwd"}
    assert Plan.objects.get(price_id=shop.plans.monthly).trial_days == 7


def test_more_prices_than_a_page_holds_are_all_found(shop: Shop) -> None:
    for _ in range(110):
        shop.stripe.engine.request(
            "POST", "/v1/prices",
            {"product": shop.plans.product, "currency": "eur", "unit_amount": 1, "recurring": {"interval": "month"}},
        )  # fmt: skip

    processing.synchronise("product", shop.plans.product)

    assert Plan.objects.count() == 114


def test_a_product_that_is_renamed_renames_its_plans(shop: Shop, deliver: Deliver) -> None:
    shop.stripe.engine.request("POST", f"/v1/products/{shop.plans.product}", {"name": "Patron"})

    assert deliver(shop.event("product.updated")).status == 200

    assert set(Plan.objects.values_list("name", flat=True)) == {"Patron"}


def test_a_product_that_is_gone_takes_its_plans_off_sale(shop: Shop, deliver: Deliver) -> None:
    shop.stripe.engine.state.remove("product", shop.plans.product)

    deliver(an_event("product.deleted", {"id": shop.plans.product}))

    assert not Plan.objects.on_sale().exists()
    assert Plan.objects.count() == 4


@pytest.mark.parametrize("told_of", ["price", "product"])
def test_a_price_that_is_gone_goes_off_sale(shop: Shop, deliver: Deliver, told_of: str) -> None:
    shop.stripe.engine.state.remove("price", shop.plans.yearly)

    deliver(an_event(f"{told_of}.deleted", {"id": shop.plans.yearly if told_of == "price" else shop.plans.product}))

    assert Plan.objects.on_sale().count() == 3
    assert not Plan.objects.get(price_id=shop.plans.yearly).active
