"""The life of a subscription at the stand-in, seen through Stripe's own client."""

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from e2e.stripe import Plans, Stripe
from e2e.stripe.conftest import charges, first_item, latest_invoice, subscribe
from e2e.stripe.standin import Handle
from e2e.stripe.state import DAY, HOUR


def test_a_trial_costs_nothing_and_the_first_period_is_paid_at_its_end(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly, trial_days=7)
    assert client.v1.subscriptions.retrieve(member.subscription).status == "trialing"
    assert latest_invoice(client, member.subscription).amount_paid == 0
    assert charges(client, member.customer) == []

    fake.advance(days=8)

    assert client.v1.subscriptions.retrieve(member.subscription).status == "active"
    assert latest_invoice(client, member.subscription).billing_reason == "subscription_cycle"
    assert [(charge.amount, charge.currency, charge.status) for charge in charges(client, member.customer)] == [
        (900, "eur", "succeeded")
    ]
    assert "customer.subscription.trial_will_end" in [event["type"] for event in fake.events()]


def test_a_payment_that_fails_is_past_due_until_another_card_pays_the_invoice(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    fake.card(member.customer, "insufficient_funds")
    fake.advance(days=32)
    failed = latest_invoice(client, member.subscription)
    assert client.v1.subscriptions.retrieve(member.subscription).status == "past_due"
    assert (failed.status, failed.attempt_count) == ("open", 1)
    assert charges(client, member.customer)[0].failure_code == "card_declined"

    with pytest.raises(stripe.CardError) as refused:
        client.v1.invoices.pay(failed.id)
    assert refused.value.error is not None
    assert refused.value.error.decline_code == "insufficient_funds"
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": member.customer})
    client.v1.invoices.pay(failed.id, {"payment_method": card.id})

    assert latest_invoice(client, member.subscription).status == "paid"
    assert client.v1.subscriptions.retrieve(member.subscription).status == "active"


@pytest.mark.parametrize(
    ("setting", "status"), [("cancel", "canceled"), ("unpaid", "unpaid"), ("past_due", "past_due")]
)
def test_three_retries_follow_a_failure_and_then_the_subscription_ends_as_set(
    fake: Handle, client: stripe.StripeClient, plans: Plans, setting: str, status: str
) -> None:
    fake.configure(dunning_end=setting)
    member = subscribe(fake, client, plans.yearly)
    fake.card(member.customer, "declined")
    fake.advance(days=366)
    begun = latest_invoice(client, member.subscription).created

    fake.advance(days=16)

    failures = [charge for charge in charges(client, member.customer) if charge.status == "failed"]
    assert [(charge.created - begun) // DAY for charge in reversed(failures)] == [0, 3, 8, 15]
    assert client.v1.subscriptions.retrieve(member.subscription).status == status
    assert latest_invoice(client, member.subscription).next_payment_attempt is None


def test_a_first_payment_that_is_declined_leaves_the_session_open_and_no_subscription(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    with pytest.raises(AssertionError, match="Your card has expired"):
        subscribe(fake, client, plans.monthly, card="expired_card")

    assert client.v1.subscriptions.list({"status": "all"}).data == []
    assert client.v1.checkout.sessions.list().data[0].status == "open"
    assert client.v1.charges.list().data[0].status == "failed"


def test_changing_to_a_yearly_price_starts_a_new_period_and_bills_it_less_what_was_not_used(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    before = first_item(client, member.subscription)
    length = before.current_period_end - before.current_period_start
    fake.advance(seconds=length // 2)

    client.v1.subscriptions.update(member.subscription, {"items": [{"id": before.id, "price": plans.yearly}]})

    invoice = latest_invoice(client, member.subscription)
    assert invoice.billing_reason == "subscription_update"
    assert invoice.total == pytest.approx(9_000 - 450, abs=1)  # the stand-in's clock has moved on by a second at most
    after = first_item(client, member.subscription)
    assert after.id == before.id
    assert after.price.id == plans.yearly
    assert after.current_period_end - after.current_period_start >= 365 * DAY


def test_changing_to_a_dearer_price_of_the_same_interval_goes_on_the_next_invoice(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    asked: Any = {"product": plans.product, "currency": "eur", "unit_amount": 1_900, "recurring": {"interval": "month"}}
    dearer = client.v1.prices.create(asked)
    item = first_item(client, member.subscription)

    client.v1.subscriptions.update(member.subscription, {"items": [{"id": item.id, "price": dearer.id}]})
    assert latest_invoice(client, member.subscription).billing_reason == "subscription_create"
    fake.advance(days=32)

    invoice = latest_invoice(client, member.subscription)
    assert [line.amount for line in invoice.lines.data] == [-900, 1_900, 1_900]
    assert invoice.amount_paid == 2_900


def test_a_change_that_the_card_would_not_pay_for_is_refused_only_if_something_is_due_now(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    before = first_item(client, member.subscription)
    fake.card(member.customer, "declined")
    events = len(fake.events())

    with pytest.raises(stripe.CardError):
        client.v1.subscriptions.update(
            member.subscription,
            {"items": [{"id": before.id, "price": plans.yearly}], "payment_behavior": "error_if_incomplete"},
        )
    assert first_item(client, member.subscription).to_dict() == before.to_dict()
    assert len(fake.events()) == events
    client.v1.subscriptions.update(
        member.subscription, {"items": [{"id": before.id, "quantity": 2}], "payment_behavior": "error_if_incomplete"}
    )

    assert first_item(client, member.subscription).quantity == 2


def test_a_subscription_can_have_several_parts_and_lose_one(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    asked: Any = {"product": plans.product, "currency": "eur", "unit_amount": 100, "recurring": {"interval": "month"}}
    extra = client.v1.prices.create(asked)
    client.v1.subscriptions.update(member.subscription, {"items": [{"price": extra.id}]})
    fake.advance(days=32)
    assert [line.amount for line in latest_invoice(client, member.subscription).lines.data] == [100, 900, 100]

    added = client.v1.subscription_items.list({"subscription": member.subscription}).data[0]
    client.v1.subscriptions.update(member.subscription, {"items": [{"id": added.id, "deleted": True}]})

    left = client.v1.subscription_items.list({"subscription": member.subscription}).data
    assert [item.price.id for item in left] == [plans.monthly]


def test_changing_to_a_cheaper_plan_leaves_a_balance_that_pays_what_comes(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.yearly)
    item = first_item(client, member.subscription)

    client.v1.subscriptions.update(member.subscription, {"items": [{"id": item.id, "price": plans.monthly}]})

    assert client.v1.customers.retrieve(member.customer).balance == -8_100
    fake.advance(days=32)
    assert client.v1.customers.retrieve(member.customer).balance == -7_200
    assert len(charges(client, member.customer)) == 1


def test_a_subscription_ends_at_the_end_of_its_period_unless_it_is_resumed(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    client.v1.subscriptions.update(member.subscription, {"cancel_at_period_end": True})
    client.v1.subscriptions.update(member.subscription, {"cancel_at_period_end": False})
    fake.advance(days=32)
    assert client.v1.subscriptions.retrieve(member.subscription).status == "active"

    client.v1.subscriptions.update(member.subscription, {"cancel_at_period_end": True})
    assert client.v1.subscriptions.retrieve(member.subscription).status == "active"
    fake.advance(days=32)

    ended = client.v1.subscriptions.retrieve(member.subscription)
    assert (ended.status, ended.ended_at) == ("canceled", first_item(client, member.subscription).current_period_end)
    assert fake.events()[-1]["type"] == "customer.subscription.deleted"
    assert len(charges(client, member.customer)) == 2


def test_each_way_to_end_a_subscription_takes_back_itself_alone(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    end = first_item(client, member.subscription).current_period_end
    client.v1.subscriptions.update(member.subscription, {"cancel_at": end})

    kept = client.v1.subscriptions.update(member.subscription, {"cancel_at_period_end": False})
    assert (kept.cancel_at, kept.cancel_at_period_end) == (end, False)

    assert client.v1.subscriptions.update(member.subscription, {"cancel_at": ""}).cancel_at is None


def test_a_subscription_can_be_ended_at_once_and_not_twice(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)

    assert client.v1.subscriptions.cancel(member.subscription).status == "canceled"

    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        client.v1.subscriptions.cancel(member.subscription)
    assert client.v1.subscriptions.list().data == []
    assert len(client.v1.subscriptions.list({"status": "canceled"}).data) == 1


def test_deleting_a_customer_ends_its_subscriptions_and_leaves_a_stub(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)

    client.v1.customers.delete(member.customer)
    fake.advance(days=60)

    assert client.v1.customers.retrieve(member.customer).deleted
    assert client.v1.subscriptions.retrieve(member.subscription).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        client.v1.billing_portal.sessions.create({"customer": member.customer})


def test_a_first_payment_that_never_comes_expires_within_a_day(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    customer = client.v1.customers.create()
    found = client.v1.subscriptions.create({"customer": customer.id, "items": [{"price": plans.monthly}]})
    assert found.status == "incomplete"

    fake.advance(hours=24)

    assert client.v1.subscriptions.retrieve(found.id).status == "incomplete_expired"
    assert latest_invoice(client, found.id).status == "void"


def test_a_month_that_is_too_short_ends_on_its_last_day_and_the_next_one_does_not() -> None:
    fake = Stripe(now=lambda: datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp(), seed=1)
    plans = fake.plans()
    customer = fake.request("POST", "/v1/customers")["id"]
    asked = {"customer": customer, "items": [{"price": plans.monthly}], "default_payment_method": "pm_card_visa"}
    found = fake.request("POST", "/v1/subscriptions", asked)["id"]

    ends = []
    for _ in range(3):
        end = fake.request("GET", f"/v1/subscriptions/{found}")["items"]["data"][0]["current_period_end"]
        ends.append(datetime.fromtimestamp(end, UTC).strftime("%m-%d"))
        fake.advance(seconds=end - fake.now)

    assert ends == ["02-28", "03-31", "04-30"]


def test_a_renewal_may_wait_as_a_draft_for_an_hour_as_it_does_at_stripe() -> None:
    fake = Stripe(now=lambda: 1_800_000_000, seed=1)
    fake.configure(draft_seconds=HOUR)
    plans = fake.plans()
    customer = fake.request("POST", "/v1/customers")["id"]
    asked = {"customer": customer, "items": [{"price": plans.monthly}], "default_payment_method": "pm_card_visa"}
    item = fake.request("POST", "/v1/subscriptions", asked)["items"]["data"][0]

    fake.advance(seconds=item["current_period_end"] - fake.now)
    assert fake.request("GET", "/v1/invoices")["data"][0]["status"] == "draft"
    fake.advance(hours=1)

    assert fake.request("GET", "/v1/invoices")["data"][0]["status"] == "paid"
