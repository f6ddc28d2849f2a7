"""What happens at Stripe in a test: purchases, renewals, refunds; and its events, as they are posted."""

import json
import time
from dataclasses import dataclass
from itertools import count
from typing import Any

from accounts.models import User
from bambisleep.tests.client import Answer, AsgiClient
from e2e.stripe.engine import Stripe
from e2e.stripe.standin import SECRET, Handle
from e2e.stripe.wire import Object
from payments import customers, processing, stripe_api

URL = "/stripe/webhook/"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Here(Handle):
    """A stand-in that runs in this process, so that what it knows can be reached, and bent, without a call."""

    engine: Stripe


def an_event(type: str, about: Object, **more: Any) -> Object:
    """An event that the stand-in knows nothing of."""
    event = {"id": f"evt_test{next(_numbers)}", "object": "event", "type": type, "created": int(time.time())}
    return {**event, "livemode": False, "api_version": "2026-05-27.dahlia", "data": {"object": about}, **more}


def post(asgi: AsgiClient, event: Object | bytes, *, secret: str = SECRET, at: int | None = None) -> Answer:
    """Post an event as Stripe does."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signature = Handle.sign(body, secret, at=at)
    return asgi.post(URL, body=body, headers={"Stripe-Signature": signature, "Content-Type": "application/json"})


def body_and_signature(event: Object) -> tuple[bytes, str]:
    """An event as Stripe sends it."""
    body = json.dumps(event).encode()
    return body, Handle.sign(body)


class Shop:
    """A product with its plans at the stand-in, known here too.

    shop.subscribe(member)
    shop.tell(asgi)
    """

    def __init__(self, stripe: Here) -> None:
        self.stripe = stripe
        self.plans = stripe.plans()
        processing.synchronise("product", self.plans.product)
        self._told = len(stripe.events())

    def subscribe(self, user: User, *, price: str = "", trial_days: int = 0, card: str = "good") -> str:
        """Buy a plan at Checkout; the subscription's id. Nothing is told of it yet."""
        session = stripe_api.client().v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customers.get_or_create(user).customer_id,
                "client_reference_id": str(user.pk),
                "line_items": [{"price": price or self.plans.monthly, "quantity": 1}],
                "subscription_data": {"trial_period_days": trial_days} if trial_days else {},
                "success_url": "https://example.org/ok",
            }
        )
        return str(self.stripe.complete_checkout(session.id, card)["subscription"])

    def news(self) -> list[Object]:
        """The events since they were asked for last."""
        events = self.stripe.events()
        new, self._told = events[self._told :], len(events)
        return new

    def event(self, type: str) -> Object:
        """The latest event of that type."""
        return next(event for event in reversed(self.stripe.events()) if event["type"] == type)

    def tell(self, asgi: AsgiClient) -> list[Answer]:
        """Post the news, in order."""
        return [post(asgi, event) for event in self.news()]

    def get(self, path: str, **params: Any) -> Any:
        """Ask the stand-in's API."""
        return stripe_api.client().raw_request("get", path, **params).data
