"""Fetching outside and writing inside: what is fetched, what a failing API costs, what the mirror costs."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from djstripe import models as djstripe

from accounts import membership
from accounts.models import User
from bambisleep.tests.client import Answer
from payments import customers, fetching, mirror, processing, stripe_api
from payments.models import Customer, Invoice, Movement, Plan, Subscription, WebhookEvent
from payments.tests.shop import Shop, an_event

pytestmark = pytest.mark.django_db
Deliver = Callable[..., Answer]


def test_what_counts_is_what_stripe_says_now_and_not_what_the_event_said(
    shop: Shop, member: User, deliver: Deliver
) -> None:
    subscription_id = shop.subscribe(member)
    created = shop.event("customer.subscription.created")
    shop.stripe.engine.request("DELETE", f"/v1/subscriptions/{subscription_id}")

    deliver(created)

    assert Subscription.objects.get().status == "canceled"
    assert not membership.may_see_members_content(member)


def test_one_event_of_what_is_known_costs_one_call(shop: Shop, member: User, deliver: Deliver) -> None:
    shop.subscribe(member)
    for event in shop.news():
        deliver(event)
    shop.stripe.forget_calls()

    deliver(an_event("customer.subscription.updated", {"id": Subscription.objects.get().subscription_id}))

    assert len(shop.stripe.calls()) == 1


def test_an_event_of_a_stranger_brings_the_customer_and_the_plan_along(
    shop: Shop, member: User, deliver: Deliver
) -> None:
    shop.subscribe(member)
    Customer.objects.all().delete()
    Plan.objects.all().delete()

    assert deliver(shop.event("customer.subscription.created")).status == 200

    assert Customer.objects.get().user == member
    assert Subscription.objects.get().plan == Plan.objects.get(price_id=shop.plans.monthly)
    assert membership.may_see_members_content(member)


@pytest.mark.parametrize("mode", ["down", "lost", "nonsense", "error_500", "rate_limited", "slow", "drip"])
def test_however_the_api_fails_it_is_503_in_time_and_repaired_later(
    shop: Shop, member: User, deliver: Deliver, settings: Any, mode: str
) -> None:
    shop.subscribe(member)
    created = shop.event("customer.subscription.created")
    settings.STRIPE_TIMEOUT_SECONDS = 0.5
    stripe_api.install()
    shop.stripe.misbehave(mode, seconds=3)
    started = time.monotonic()

    answer = deliver(created)

    assert time.monotonic() - started < 2
    assert (answer.status, answer.json["code"]) == (503, "stripe_unavailable")
    assert not Subscription.objects.exists()
    assert not membership.may_see_members_content(member)

    shop.stripe.misbehave(None)
    settings.STRIPE_TIMEOUT_SECONDS = 5
    stripe_api.install()
    assert deliver(created).json == {"outcome": "processed"}
    assert membership.may_see_members_content(member)


def test_an_answer_about_something_else_is_nonsense(shop: Shop, member: User, deliver: Deliver) -> None:
    subscription_id = shop.subscribe(member)
    shop.stripe.engine.state.get("subscription", subscription_id)["object"] = "invoice"

    assert deliver(shop.event("customer.subscription.created")).status == 503


def test_all_calls_together_have_a_limit_as_well(
    shop: Shop, member: User, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.subscribe(member)
    monkeypatch.setattr(processing, "SECONDS", 0.6)
    shop.stripe.misbehave("drip", seconds=0.4)
    started = time.monotonic()

    assert deliver(shop.event("invoice.paid")).status == 503
    assert time.monotonic() - started < 2


def test_what_the_mirror_cannot_store_is_noted_and_costs_nothing(shop: Shop, member: User, deliver: Deliver) -> None:
    subscription_id = shop.subscribe(member)
    shop.stripe.engine.state.get("subscription", subscription_id)["default_tax_rates"] = [{"object": "tax_rate"}]

    assert deliver(shop.event("customer.subscription.created")).status == 200

    row = WebhookEvent.objects.get()
    assert row.processed_at is not None
    assert row.mirror_error.startswith(f"subscription {subscription_id}: ")
    assert membership.may_see_members_content(member)
    assert not djstripe.Subscription.objects.exists()


def test_what_the_mirror_asks_for_besides_may_fail(shop: Shop, member: User, deliver: Deliver, settings: Any) -> None:
    shop.subscribe(member)
    settings.STRIPE_TIMEOUT_SECONDS = 0.3
    stripe_api.install()
    shop.stripe.misbehave("slow", seconds=2, paths="/v1/customers/")

    assert deliver(shop.event("customer.subscription.created")).status == 200

    assert "APIConnectionError" in WebhookEvent.objects.get().mirror_error
    assert membership.may_see_members_content(member)


def test_no_transaction_is_open_while_the_mirror_asks(shop: Shop, member: User) -> None:
    shop.subscribe(member)
    subscription = shop.get("/v1/subscriptions", customer=customers.get_or_create(member).customer_id)["data"][0]

    with pytest.raises(stripe_api.NotFetched, match=r"/v1/customers/"), stripe_api.answering({}):
        mirror.store("subscription", subscription)


def test_the_mirror_holds_everything_that_was_bought(shop: Shop, member: User, deliver: Deliver) -> None:
    shop.subscribe(member)

    for event in shop.news():
        assert deliver(event).status == 200

    assert list(WebhookEvent.objects.exclude(mirror_error="")) == []
    one_each = ("Customer", "Subscription", "SubscriptionItem", "Invoice", "LineItem", "Charge", "PaymentIntent")
    for name in (*one_each, "PaymentMethod", "BalanceTransaction", "Session", "Account", "APIKey"):
        assert getattr(djstripe, name).objects.count() == 1, name


def test_a_restricted_key_may_not_ask_for_the_account(
    shop: Shop, member: User, deliver: Deliver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> None:
        raise stripe.PermissionError("The key does not have the required permissions.")

    shop.subscribe(member)
    settings.STRIPE_SECRET_KEY = "rk_test_" + "r" * 24
    monkeypatch.setattr(stripe.Account, "retrieve", refused)

    assert deliver(shop.event("customer.subscription.created")).status == 200

    assert WebhookEvent.objects.get().mirror_error == ""
    assert djstripe.Subscription.objects.get().djstripe_owner_account.id == mirror.UNKNOWN_ACCOUNT


def test_a_customer_who_was_deleted_is_forgotten_by_the_mirror(shop: Shop, member: User, deliver: Deliver) -> None:
    subscription_id = shop.subscribe(member)
    for event in shop.news():
        deliver(event)
    customer = customers.get_or_create(member)
    charge_id = Movement.objects.get().charge_id

    shop.stripe.engine.request("DELETE", f"/v1/customers/{customer.customer_id}")
    for event in shop.news():
        assert deliver(event).status == 200
    deliver(an_event("charge.updated", {"id": charge_id}))

    customer.refresh_from_db()
    assert customer.deleted_at is not None
    for name in ("Customer", "Subscription", "Invoice", "Charge", "PaymentIntent", "PaymentMethod", "Session"):
        assert not getattr(djstripe, name).objects.exists(), name
    assert Subscription.objects.get(subscription_id=subscription_id).status == "canceled"
    assert Movement.objects.exists()
    assert not membership.may_see_members_content(member)


def test_what_stripe_no_longer_knows_is_noted_and_ends_no_membership(
    shop: Shop, member: User, deliver: Deliver
) -> None:
    subscription_id = shop.subscribe(member)
    deliver(shop.event("customer.subscription.created"))
    shop.stripe.engine.state.remove("subscription", subscription_id)

    assert deliver(an_event("customer.subscription.updated", {"id": subscription_id})).status == 200

    assert WebhookEvent.objects.first().error == f"Stripe no longer knows {subscription_id}."
    assert not WebhookEvent.objects.waiting().exists()
    assert membership.may_see_members_content(member)


def test_a_draft_that_was_deleted_goes_here_too(shop: Shop, member: User, deliver: Deliver) -> None:
    shop.subscribe(member)
    for event in shop.news():
        deliver(event)
    paid = Invoice.objects.get()
    Invoice.objects.create(
        invoice_id="in_draft", customer=paid.customer, status="draft", currency="eur", amount_due_minor=1,
        amount_paid_minor=0, issued_at=paid.issued_at,
    )  # fmt: skip

    assert deliver(an_event("invoice.updated", {"id": "in_draft"})).status == 200
    assert list(Invoice.objects.all()) == [paid]


@pytest.mark.parametrize("kind", sorted(fetching.KINDS))
def test_whatever_is_unknown_to_stripe_is_taken(shop: Shop, deliver: Deliver, kind: str) -> None:
    beginning = next(beginning for beginning, of in processing.KINDS.items() if of == kind)
    event_type = f"{beginning}{'completed' if kind == 'checkout.session' else 'updated'}"

    assert deliver(an_event(event_type, {"id": "xx_gone"})).status == 200

    assert WebhookEvent.objects.get().handled
    processing.synchronise(kind, "xx_gone")


def test_every_type_that_is_handled_has_a_kind() -> None:
    from payments.metrics import HANDLED

    assert {processing.kind_of(event_type) for event_type in HANDLED} == set(processing.KINDS.values())
    with pytest.raises(ValueError, match="mean nothing here"):
        processing.kind_of("radar.early_fraud_warning.created")


def test_a_purchase_can_be_brought_in_without_an_event(shop: Shop, member: User) -> None:
    shop.subscribe(member)
    (session,) = shop.get("/v1/checkout/sessions")["data"]

    processing.synchronise("checkout.session", session["id"])

    assert membership.may_see_members_content(member)


def test_who_began_a_purchase_is_whose_customer_it_becomes(shop: Shop, member: User, deliver: Deliver) -> None:
    """As with a session for which no customer was named, where Stripe makes one."""
    session = shop.stripe.engine.request(
        "POST", "/v1/checkout/sessions",
        {"mode": "subscription", "client_reference_id": str(member.pk), "success_url": "https://example.org/",
         "line_items": [{"price": shop.plans.monthly, "quantity": 1}]},
    )  # fmt: skip
    shop.stripe.complete_checkout(session["id"])
    deliver(shop.event("customer.subscription.created"))
    assert not membership.may_see_members_content(member)

    deliver(shop.event("checkout.session.completed"))

    assert Customer.objects.get().user == member
    assert membership.may_see_members_content(member)


@pytest.mark.parametrize("reference", ["", "0", "-1", "999999", "x", "9" * 40, "１"])
def test_a_reference_to_nobody_links_nothing(shop: Shop, member: User, reference: str) -> None:
    session = shop.stripe.engine.request(
        "POST", "/v1/checkout/sessions",
        {"mode": "subscription", "client_reference_id": reference, "success_url": "https://example.org/",
         "line_items": [{"price": shop.plans.monthly, "quantity": 1}]},
    )  # fmt: skip
    shop.stripe.complete_checkout(session["id"])

    processing.synchronise("checkout.session", session["id"])

    assert Customer.objects.get().user is None
