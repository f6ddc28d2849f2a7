"""Money that moves at the stand-in: refunds, disputes, promotion codes, currencies, and the sum of it all."""

from collections.abc import Callable
from contextlib import suppress

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.stripe import Plans, Refused, Stripe
from e2e.stripe.conftest import charges, subscribe
from e2e.stripe.standin import Handle
from e2e.stripe.wire import Object


def test_refunds_add_up_and_never_exceed_the_charge(fake: Handle, client: stripe.StripeClient, plans: Plans) -> None:
    member = subscribe(fake, client, plans.monthly)
    charge = charges(client, member.customer)[0].id
    client.v1.refunds.create({"charge": charge, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        client.v1.refunds.create({"charge": charge, "amount": 501})
    client.v1.refunds.create({"charge": charge})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": charge})

    assert refused.value.code == "charge_already_refunded"
    assert [refund.amount for refund in client.v1.refunds.list({"charge": charge}).data] == [500, 400]
    assert client.v1.charges.retrieve(charge).refunded
    assert client.v1.charges.retrieve(charge, {"expand": ["refunds"]}).refunds.data[0].amount == 500  # type: ignore[union-attr]


def test_a_refund_that_comes_back_gives_the_money_back(fake: Handle, client: stripe.StripeClient, plans: Plans) -> None:
    member = subscribe(fake, client, plans.monthly)
    charge = charges(client, member.customer)[0].id
    refund = client.v1.refunds.create({"charge": charge, "amount": 400})

    fake.fail_refund(refund.id)

    assert client.v1.refunds.retrieve(refund.id).status == "failed"
    assert client.v1.charges.retrieve(charge).amount_refunded == 0
    assert [event["type"] for event in fake.events()[-3:]] == ["refund.updated", "refund.failed", "charge.updated"]


@pytest.mark.parametrize(
    ("won", "last", "sum_minor"),
    [
        (True, ["charge.dispute.funds_reinstated", "charge.dispute.closed"], 0),
        (False, ["charge.dispute.funds_withdrawn", "charge.dispute.closed"], -900),
    ],
)
def test_a_dispute_takes_the_money_and_gives_it_back_only_if_it_is_won(
    fake: Handle, client: stripe.StripeClient, plans: Plans, won: bool, last: list[str], sum_minor: int
) -> None:
    member = subscribe(fake, client, plans.monthly)
    charge = charges(client, member.customer)[0].id
    dispute = fake.dispute(charge)["id"]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": charge})
    assert refused.value.code == "charge_disputed"

    fake.close_dispute(dispute, won=won)

    assert client.v1.disputes.retrieve(dispute).status == ("won" if won else "lost")
    moved = client.v1.balance_transactions.list({"source": dispute}).data
    assert sum(transaction.amount for transaction in moved) == sum_minor
    assert [event["type"] for event in fake.events()[-2:]] == last


def test_a_promotion_code_takes_its_part_off_the_first_invoice_and_can_be_used_up(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    coupon = client.v1.coupons.create({"percent_off": 12.5, "duration": "once"})
    promotion: stripe.params.PromotionCodeCreateParamsPromotion = {"type": "coupon", "coupon": coupon.id}
    client.v1.promotion_codes.create({"promotion": promotion, "code": "SLEEP", "max_redemptions": 1})

    member = subscribe(fake, client, plans.monthly, code="sleep")
    fake.advance(days=32)

    paid = [invoice.amount_paid for invoice in client.v1.invoices.list({"customer": member.customer}).data]
    assert paid == [900, 787]  # 112.5 off, rounded half up
    with pytest.raises(AssertionError, match="No such promotion code"):
        subscribe(fake, client, plans.monthly, code="SLEEP")


def test_a_coupon_for_three_months_ends_after_them(fake: Handle, client: stripe.StripeClient, plans: Plans) -> None:
    coupon = client.v1.coupons.create(
        {"amount_off": 1_000, "currency": "eur", "duration": "repeating", "duration_in_months": 3}
    )
    customer = client.v1.customers.create()
    client.v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": plans.monthly}],
            "default_payment_method": "pm_card_visa",
            "discounts": [{"coupon": coupon.id}],
        }
    )

    fake.advance(days=125)

    invoices = client.v1.invoices.list({"customer": customer.id}).data
    assert [invoice.amount_paid for invoice in reversed(invoices)] == [0, 0, 0, 900, 900]


def test_amounts_are_in_the_currency_s_own_minor_unit_and_one_customer_has_one_currency(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    for price, amount in ((plans.yen, 1_200), (plans.dinar, 3_500)):
        member = subscribe(fake, client, price)
        assert charges(client, member.customer)[0].amount == amount

    with pytest.raises(stripe.InvalidRequestError, match="combine currencies"):
        client.v1.subscriptions.create({"customer": member.customer, "items": [{"price": plans.monthly}]})


class Life:
    """A subscription of one customer's, to which anything may happen."""

    def __init__(self) -> None:
        self.fake = Stripe(now=lambda: 1_800_000_000, seed=1)
        self.plans = self.fake.plans()
        self.customer = self.fake.request("POST", "/v1/customers")["id"]
        asked = {"customer": self.customer, "items": [{"price": self.plans.monthly}]}
        asked["default_payment_method"] = "pm_card_visa"
        self.item = self.fake.request("POST", "/v1/subscriptions", asked)["items"]["data"][0]

    def every(self, path: str) -> list[Object]:
        return list(self.fake.request("GET", f"/v1/{path}", {"limit": 100})["data"])

    def newest(self, path: str) -> str:
        return next((str(found["id"]) for found in self.every(path)), "none")

    def change(self) -> None:
        asked = {"items": [{"id": self.item["id"], "price": self.plans.yearly}], "proration_behavior": "always_invoice"}
        self.fake.request("POST", f"/v1/subscriptions/{self.item['subscription']}", asked)

    def steps(self) -> dict[str, Callable[[], object]]:
        charge = self.newest("charges")
        refund = {"charge": charge, "amount": 300}
        return {
            "month": lambda: self.fake.advance(days=31),
            "bad": lambda: self.fake.card(self.customer, "declined"),
            "good": lambda: self.fake.card(self.customer, "good"),
            "refund": lambda: self.fake.request("POST", "/v1/refunds", refund),
            "dispute": lambda: self.fake.dispute(charge),
            "won": lambda: self.fake.close_dispute(self.newest("disputes"), won=True),
            "return": lambda: self.fake.fail_refund(self.newest("refunds")),
            "change": self.change,
        }


def total(found: list[Object], **equal: object) -> int:
    return sum(one["amount"] for one in found if all(one[key] == value for key, value in equal.items()))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(sorted(Life().steps())), max_size=12))
def test_every_movement_of_money_has_its_balance_transaction(steps: list[str]) -> None:
    life = Life()
    for step in steps:
        with suppress(Refused):  # a step that makes no sense where it stands
            life.steps()[step]()

    disputes, refunds, charges = life.every("disputes"), life.every("refunds"), life.every("charges")
    expected = total(charges, paid=True) - total(refunds, status="succeeded")
    expected -= total(disputes) - total(disputes, status="won")
    assert total(life.every("balance_transactions")) == expected
    for charge in charges:
        assert total(refunds, charge=charge["id"], status="succeeded") == charge["amount_refunded"]
