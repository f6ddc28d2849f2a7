"""POST /stripe/webhook/: what is let in, what it is answered, and what stands in the log afterwards."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client
from djstripe.models import WebhookEndpoint

from accounts import membership
from accounts.models import User
from bambisleep.tests.client import Answer, AsgiClient
from e2e.stripe.standin import SECRET, Handle
from payments import processing, webhooks
from payments.models import Movement, Subscription, WebhookEvent
from payments.tests.shop import URL, Here, Shop, an_event, post

pytestmark = pytest.mark.django_db
Deliver = Callable[..., Answer]


def test_a_purchase_makes_a_member_within_one_event(shop: Shop, member: User, deliver: Deliver) -> None:
    shop.subscribe(member)
    created = shop.event("customer.subscription.created")
    assert not membership.may_see_members_content(member)

    answer = deliver(created)

    assert (answer.status, answer.json) == (200, {"outcome": "processed"})
    assert membership.may_see_members_content(member)


def test_an_event_that_comes_again_is_a_duplicate(
    shop: Shop, member: User, deliver: Deliver, metric: Callable[..., float]
) -> None:
    shop.subscribe(member)
    paid = shop.event("charge.succeeded")
    series = {"type": "charge.succeeded"}
    before = [metric("stripe_webhook_events_total", **series, outcome=of) for of in ("processed", "duplicate")]
    seconds = metric("stripe_webhook_duration_seconds_count")

    answers = [deliver(paid) for _ in range(3)]

    assert [answer.json["outcome"] for answer in answers] == ["processed", "duplicate", "duplicate"]
    assert Movement.objects.count() == 1
    assert WebhookEvent.objects.get().attempts == 1
    after = [metric("stripe_webhook_events_total", **series, outcome=of) for of in ("processed", "duplicate")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 2]
    assert metric("stripe_webhook_duration_seconds_count") - seconds == 3


def test_an_event_of_an_unknown_type_is_taken_and_noted(
    stripe_standin: Here, deliver: Deliver, metric: Callable[..., float]
) -> None:
    before = metric("stripe_webhook_events_total", type="other", outcome="processed")

    answer = deliver(
        an_event("radar.early_fraud_warning.created", {"id": "issfr_1", "object": "radar.early_fraud_warning"})
    )

    row = WebhookEvent.objects.get()
    assert answer.status == 200
    assert row.processed_at is not None
    assert not row.handled
    assert metric("stripe_webhook_events_total", type="other", outcome="processed") - before == 1
    assert stripe_standin.calls() == []


def test_the_row_says_what_the_event_was_about(shop: Shop, member: User, deliver: Deliver) -> None:
    subscription_id = shop.subscribe(member)
    event = shop.event("customer.subscription.created")

    deliver(event)

    row = WebhookEvent.objects.get()
    assert (row.event_id, row.object_id) == (event["id"], subscription_id)
    assert row.customer_id == member.stripe_customer.customer_id
    assert row.api_version == event["api_version"]
    assert row.created_at.timestamp() == event["created"]
    assert (row.handled, row.error, row.mirror_error) == (True, "", "")


def test_while_a_secret_is_replaced_both_are_good(stripe_standin: Here, asgi: AsgiClient, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_former", "whsec_new"]

    for secret in ("whsec_former", "whsec_new"):
        assert post(asgi, an_event("a.b", {"id": "x"}), secret=secret).status == 200


def test_secrets_of_our_own_endpoints_are_good(stripe_standin: Here, asgi: AsgiClient, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []
    endpoint = WebhookEndpoint.objects.create(
        id="we_1", secret="whsec_in_the_database", url="https://example.org/stripe/webhook/", enabled_events=["*"],
        status="enabled", livemode=False, api_version="",
    )  # fmt: skip
    event = an_event("a.b", {"id": "x"})
    assert post(asgi, event, secret=endpoint.secret).status == 200

    WebhookEndpoint.objects.update(status="disabled")
    assert post(asgi, event, secret=endpoint.secret).status == 400
    WebhookEndpoint.objects.update(status="enabled", livemode=True)
    assert post(asgi, event, secret=endpoint.secret).status == 400


def test_a_header_with_several_signatures_is_good_if_one_is(stripe_standin: Here, asgi: AsgiClient) -> None:
    body = json.dumps(an_event("a.b", {"id": "x"})).encode()
    good = Handle.sign(body)
    header = f"{good.partition(',')[0]},v0={'0' * 64},v1={'0' * 64},{good.partition(',')[2]}"

    assert asgi.post(URL, body=body, headers={"Stripe-Signature": header}).status == 200


@pytest.mark.parametrize("seconds", [-290, 290])
def test_clocks_may_differ_a_little(stripe_standin: Here, asgi: AsgiClient, seconds: int) -> None:
    assert post(asgi, an_event("a.b", {"id": "x"}), at=int(time.time()) + seconds).status == 200


def test_events_need_no_csrf_token(stripe_standin: Here) -> None:
    body = json.dumps(an_event("a.b", {"id": "x"})).encode()
    client = Client(enforce_csrf_checks=True, headers={"Stripe-Signature": Handle.sign(body)})

    assert client.post(URL, body, content_type="application/json").status_code == 200


def test_events_are_posted(asgi: AsgiClient) -> None:
    answer = asgi.get(URL)

    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_event_without_an_object_id_is_noted(stripe_standin: Here, deliver: Deliver) -> None:
    assert deliver(an_event("invoice.updated", {"object": "invoice"})).status == 200
    assert not WebhookEvent.objects.get().handled


def test_stripe_being_down_is_503_and_the_next_delivery_repairs_it(
    shop: Shop, member: User, deliver: Deliver, metric: Callable[..., float]
) -> None:
    shop.subscribe(member)
    created = shop.event("customer.subscription.created")
    shop.stripe.misbehave("error_500")
    failed = metric("stripe_webhook_events_total", type=created["type"], outcome="failed")

    answer = deliver(created)

    assert (answer.status, answer.json["code"]) == (503, "stripe_unavailable")
    assert answer.headers["retry-after"] == "30"
    row = WebhookEvent.objects.waiting().get()
    assert (row.attempts, row.processed_at) == (1, None)
    assert "Stripe does not answer as it should" in row.error
    assert not Subscription.objects.exists()
    assert metric("stripe_webhook_events_total", type=created["type"], outcome="failed") - failed == 1

    shop.stripe.misbehave(None)
    assert deliver(created).json["outcome"] == "processed"
    row.refresh_from_db()
    assert (row.attempts, row.error) == (2, "")
    assert membership.may_see_members_content(member)


def test_a_failed_event_can_be_processed_again_from_its_row(shop: Shop, member: User, deliver: Deliver) -> None:
    shop.subscribe(member)
    shop.stripe.misbehave("nonsense")
    deliver(shop.event("customer.subscription.created"))
    shop.stripe.misbehave(None)

    assert processing.process(WebhookEvent.objects.waiting().get())

    assert not WebhookEvent.objects.waiting().exists()
    assert membership.may_see_members_content(member)
    assert not processing.process(WebhookEvent.objects.get())


def test_what_fails_for_another_reason_is_500_and_tells_no_secret(shop: Shop, member: User, deliver: Deliver) -> None:
    shop.subscribe(member)
    created = shop.event("customer.subscription.created")
    shop.stripe.engine.state.get("subscription", created["data"]["object"]["id"])["items"]["data"].clear()

    answer = deliver(created)

    assert (answer.status, answer.json["code"]) == (500, "webhook_failed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "has no items" in WebhookEvent.objects.waiting().get().error
    assert "has no items" not in answer.body.decode()


def test_a_refused_key_is_not_shown(shop: Shop, member: User, deliver: Deliver, settings: Any) -> None:
    shop.subscribe(member)
    settings.STRIPE_SECRET_KEY = "sk_test_refused0000000000000000"

    answer = deliver(shop.event("customer.subscription.created"))

    assert answer.status == 503
    error = WebhookEvent.objects.get().error
    assert "AuthenticationError" in error
    assert settings.STRIPE_SECRET_KEY not in error + answer.body.decode()


def test_without_a_key_events_wait(shop: Shop, member: User, deliver: Deliver, settings: Any) -> None:
    shop.subscribe(member)
    settings.STRIPE_SECRET_KEY = ""

    answer = deliver(shop.event("customer.subscription.created"))

    assert (answer.status, answer.json["code"]) == (503, "payments_not_configured")


def test_an_event_has_one_row(db: None) -> None:
    values = {"event_id": "evt_1", "type": "a.b", "created_at": "2026-01-01T00:00:00Z"}
    WebhookEvent.objects.create(**values)
    with pytest.raises(IntegrityError):
        WebhookEvent.objects.create(**values)


def test_the_secret_of_the_settings_is_asked_first(settings: Any, django_assert_num_queries: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    body = json.dumps(an_event("a.b", {"id": "x"})).encode()

    with django_assert_num_queries(0):
        assert webhooks.verify(body=body, signature=Handle.sign(body)).type == "a.b"
