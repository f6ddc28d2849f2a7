"""How the stand-in's events reach a webhook endpoint: signed, again and again, late, doubled, and in any order."""

from collections import Counter

import pytest
import stripe

from e2e.stripe import Plans
from e2e.stripe.conftest import Receiver, subscribe
from e2e.stripe.standin import SECRET, Handle


def verified(body: str, signature: str, secret: str) -> bool:
    verify = stripe.WebhookSignature.verify_header
    return bool(verify(body, signature, secret, 300))


def test_every_event_is_signed_as_stripe_signs(
    fake: Handle, client: stripe.StripeClient, plans: Plans, receiver: Receiver
) -> None:
    fake.send_events_to(receiver.url)
    fake.advance(days=400)  # the signature's time is the real one, or it would be refused as too old

    subscribe(fake, client, plans.monthly)
    fake.wait()

    assert receiver.types[0] == "customer.created"
    assert receiver.types[-1] == "checkout.session.completed"
    assert all(verified(*pair, SECRET) for pair in zip(receiver.bodies, receiver.signatures, strict=True))
    with pytest.raises(stripe.SignatureVerificationError):
        verified(receiver.bodies[0], receiver.signatures[0], "whsec_other")
    assert verified("{}", fake.sign(b"{}"), SECRET)


def test_an_endpoint_made_by_a_call_shows_its_secret_once_and_gets_what_it_asked_for(
    fake: Handle, client: stripe.StripeClient, plans: Plans, receiver: Receiver
) -> None:
    made = client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["invoice.paid"]})
    assert made.secret is not None
    assert "secret" not in client.v1.webhook_endpoints.retrieve(made.id).to_dict()

    subscribe(fake, client, plans.monthly)
    fake.wait()
    client.v1.webhook_endpoints.update(made.id, {"disabled": True})
    subscribe(fake, client, plans.monthly)
    fake.wait()

    assert receiver.types == ["invoice.paid"]
    assert verified(receiver.bodies[0], receiver.signatures[0], made.secret)


def test_held_events_come_in_the_order_that_a_seed_gives(
    fake: Handle, client: stripe.StripeClient, plans: Plans, receiver: Receiver
) -> None:
    fake.send_events_to(receiver.url)
    fake.hold()
    subscribe(fake, client, plans.monthly)
    assert fake.wait()["held"] == len(fake.deliveries()) > 10
    assert receiver.bodies == []

    fake.release(order="shuffled", seed=3)
    fake.wait()

    happened = [event["id"] for event in fake.events() if event["pending_webhooks"]]
    came = [event["id"] for event in receiver.events]
    assert Counter(came) == Counter(happened)
    assert came != happened


def test_reversed_delivery_ends_with_what_happened_first(
    fake: Handle, client: stripe.StripeClient, plans: Plans, receiver: Receiver
) -> None:
    fake.send_events_to(receiver.url)
    fake.hold()
    subscribe(fake, client, plans.monthly)

    fake.release(order="reversed")
    fake.wait()

    happened = [event["id"] for event in fake.events() if event["pending_webhooks"]]
    assert [event["id"] for event in receiver.events] == happened[::-1]


def test_some_types_can_be_let_go_before_the_rest(
    fake: Handle, client: stripe.StripeClient, plans: Plans, receiver: Receiver
) -> None:
    fake.send_events_to(receiver.url)
    fake.hold()
    member = subscribe(fake, client, plans.monthly)
    client.v1.subscriptions.cancel(member.subscription)

    assert fake.release(only="customer.subscription.deleted") == 1
    fake.wait()
    assert receiver.types == ["customer.subscription.deleted"]
    fake.release()
    fake.wait()

    assert receiver.types.count("customer.subscription.created") == 1


def test_each_event_can_come_several_times_at_once(
    fake: Handle, client: stripe.StripeClient, plans: Plans, receiver: Receiver
) -> None:
    fake.send_events_to(receiver.url)
    fake.deliver(repeat=3, workers=8, order="shuffled", seed=1)

    subscribe(fake, client, plans.monthly)
    fake.wait()

    assert set(Counter(event["id"] for event in receiver.events).values()) == {3}


def test_an_event_that_is_not_taken_comes_again_by_the_clock_for_three_days(
    fake: Handle, client: stripe.StripeClient, receiver: Receiver
) -> None:
    receiver.status = 500
    fake.send_events_to(receiver.url)
    client.v1.customers.create()
    fake.wait()
    assert len(receiver.bodies) == 1

    for attempts, seconds in enumerate((300, 1_800, 7_200), start=2):
        fake.advance(seconds=seconds - 60)
        fake.wait()
        assert len(receiver.bodies) == attempts - 1
        fake.advance(seconds=61)
        fake.wait()
        assert len(receiver.bodies) == attempts
    for _ in range(20):
        fake.advance(hours=13)
        fake.wait()

    assert fake.deliveries()[0]["state"] == "given_up"
    assert len(receiver.bodies) == 9
    receiver.status = 200
    assert fake.redeliver() == 1
    fake.wait()
    assert fake.deliveries()[0]["state"] == "delivered"
    assert len({str(event["id"]) for event in receiver.events}) == 1


def test_nobody_at_home_is_a_failed_attempt(fake: Handle, client: stripe.StripeClient) -> None:
    fake.send_events_to("http://127.0.0.1:9/hook")

    client.v1.customers.create()
    fake.wait()

    attempts = fake.deliveries()[0]["attempts"]
    assert [(attempt["status"], "refused" in attempt["error"]) for attempt in attempts] == [(None, True)]
