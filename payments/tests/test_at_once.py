"""Many events at the same time, from nothing, and fetches that overtake each other."""

from functools import partial
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction
from djstripe import models as djstripe

from accounts import membership
from accounts.models import User
from accounts.tests.threads import at_once
from e2e.stripe.wire import Object
from payments import customers, locks, processing, webhooks
from payments.models import Invoice, Movement, Plan, Revision, Subscription, WebhookEvent
from payments.tests.shop import Here, Shop, body_and_signature
from payments.tests.threads import meanwhile, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def receive(event: Object) -> str:
    body, signature = body_and_signature(event)
    return webhooks.receive(body=body, signature=signature)


@pytest.fixture
def cold(shop: Shop) -> Shop:
    """A shop of which nothing is known here: no plan, no account, no key."""
    Plan.objects.all().delete()
    Revision.objects.all().delete()
    for model in (djstripe.Price, djstripe.Product, djstripe.APIKey, djstripe.Account):
        model.objects.all().delete()
    return shop


def test_twenty_copies_of_one_event_have_their_effect_once(cold: Shop, member: User) -> None:
    cold.subscribe(member)
    paid = cold.event("charge.succeeded")

    outcomes = at_once(*[partial(receive, paid)] * 20)

    assert sorted(outcomes) == ["duplicate"] * 19 + ["processed"]
    assert Movement.objects.count() == 1
    row = WebhookEvent.objects.get()
    assert (row.attempts, row.error, row.mirror_error) == (1, "", "")


def test_twenty_events_at_once_from_a_cold_start(cold: Shop, member: User) -> None:
    cold.subscribe(member)
    cold.stripe.engine.advance(days=62)
    events = [event for event in cold.news() if webhooks_mean_something(event)]
    assert len(events) >= 20

    outcomes = at_once(*[partial(receive, event) for event in events])

    assert set(outcomes) == {"processed"}
    assert list(WebhookEvent.objects.exclude(error="", mirror_error="")) == []
    assert Subscription.objects.get().status == "active"
    assert Invoice.objects.filter(status="paid").count() == 3
    assert sorted(Movement.objects.values_list("amount_minor", flat=True)) == [900, 900, 900]
    assert membership.may_see_members_content(member)
    assert djstripe.Account.objects.count() == djstripe.APIKey.objects.count() == 1
    assert djstripe.Subscription.objects.count() == djstripe.Customer.objects.count() == 1


def test_two_clicks_at_the_same_moment_make_one_customer(shop: Shop, member: User) -> None:
    shop.stripe.misbehave("slow", seconds=1, paths="/v1/customers$", times=1)

    first, second = at_once(*[partial(customers.get_or_create, member)] * 2)

    assert first == second
    assert len(shop.get("/v1/customers")["data"]) == 1
    assert 409 in [call["status"] for call in shop.stripe.seen("calls")]


def webhooks_mean_something(event: Object) -> bool:
    from payments.metrics import HANDLED

    return event["type"] in HANDLED


def test_twenty_customers_at_once_from_a_cold_start(cold: Shop, db: None) -> None:
    users = [User.objects.create_user(f"user{number}", f"user{number}@example.org") for number in range(20)]
    for user in users:
        cold.subscribe(user)
    created = [event for event in cold.stripe.events() if event["type"] == "customer.subscription.created"]

    outcomes = at_once(*[partial(receive, event) for event in created])

    assert outcomes == ["processed"] * 20
    assert list(WebhookEvent.objects.exclude(mirror_error="")) == []
    assert all(membership.may_see_members_content(user) for user in users)
    assert djstripe.Product.objects.count() == 1


def test_a_user_gets_one_customer_however_many_ask_at_once(shop: Shop, member: User) -> None:
    found = at_once(*[partial(customers.get_or_create, member)] * 8)

    assert len({customer.pk for customer in found}) == 1
    assert len(shop.stripe.engine.state.find("customer")) == 1


def test_a_slow_created_does_not_overwrite_a_deleted(cold: Shop, member: User) -> None:
    subscription_id = cold.subscribe(member)
    created = cold.event("customer.subscription.created")
    path = f"/v1/subscriptions/{subscription_id}"
    cold.stripe.misbehave("drip", seconds=1.5, paths=path, times=1)

    slow = meanwhile(partial(receive, created))
    wait_for(lambda: cold.stripe.calls(path))
    cold.stripe.engine.request("DELETE", path)
    assert receive(cold.event("customer.subscription.deleted")) == "processed"
    assert Subscription.objects.get().status == "canceled"

    assert slow.result() == "processed"
    assert len(cold.stripe.calls(f"GET {path}")) == 2
    assert Subscription.objects.get().status == "canceled"
    assert djstripe.Subscription.objects.get().stripe_data["status"] == "canceled"
    assert not membership.may_see_members_content(member)


def test_of_two_fetches_at_once_the_later_is_made_again_when_nobody_knows_which_is_newer(
    shop: Shop, member: User
) -> None:
    subscription_id = shop.subscribe(member)
    path = f"/v1/subscriptions/{subscription_id}"
    shop.stripe.misbehave("drip", seconds=0.5, paths=path, times=1)

    first = meanwhile(partial(processing.synchronise, "subscription", subscription_id))
    wait_for(lambda: len(shop.stripe.calls(path)) == 1)
    shop.stripe.misbehave("drip", seconds=2, paths=path, times=1)
    second = meanwhile(partial(processing.synchronise, "subscription", subscription_id))
    wait_for(lambda: len(shop.stripe.calls(path)) == 2)
    shop.stripe.engine.request("DELETE", path)
    first.result()
    second.result()

    assert len(shop.stripe.calls(f"GET {path}")) == 3
    assert Subscription.objects.get().status == "canceled"


def test_a_customer_that_becomes_known_while_its_subscription_is_stored_makes_a_member(
    cold: Shop, member: User, stripe_standin: Here
) -> None:
    """Of the two events each may miss what the other writes: the customer's lock has one wait for the other."""
    customer = stripe_standin.engine.request("POST", "/v1/customers", {"email": "m@example.org"})
    session = stripe_standin.engine.request(
        "POST", "/v1/checkout/sessions",
        {"mode": "subscription", "customer": customer["id"], "client_reference_id": str(member.pk),
         "line_items": [{"price": cold.plans.monthly, "quantity": 1}], "success_url": "https://example.org/"},
    )  # fmt: skip
    stripe_standin.complete_checkout(session["id"])
    kinds = ("customer.subscription.created", "checkout.session.completed", "customer.created", "invoice.paid")

    outcomes = at_once(*[partial(receive, cold.event(kind)) for kind in kinds])

    assert outcomes == ["processed"] * 4
    assert membership.may_see_members_content(member)


@pytest.mark.needs("postgresql")
def test_of_one_customer_one_thing_is_written_at_a_time(shop: Shop, member: User) -> None:
    subscription_id = shop.subscribe(member)
    customer = customers.get_or_create(member)
    held, enough = Event(), Event()

    def hold() -> None:
        with transaction.atomic():
            locks.hold_customer(customer.customer_id)
            held.set()
            enough.wait(10)

    holding = meanwhile(hold)
    held.wait(10)
    writing = meanwhile(partial(processing.synchronise, "subscription", subscription_id))
    wait_for(someone_waits_for_a_lock)
    assert not writing.done()
    enough.set()
    holding.result(10)
    writing.result(10)

    assert membership.may_see_members_content(member)


def someone_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0])


def test_an_error_in_a_thread_is_seen(db: Any) -> None:
    with pytest.raises(ValueError, match="nothing that is fetched"):
        at_once(partial(processing.synchronise, "mandate", "mandate_1"))
