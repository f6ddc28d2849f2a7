"""Payments against the stand-in for Stripe's API, over real HTTP, by the real client."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bambisleep.tests.client import Answer
from e2e.stripe.server import StandIn
from e2e.stripe.standin import KEY, SECRET
from payments import stripe_api
from payments.tests import shop as shops
from payments.tests.shop import Here, Shop


@pytest.fixture
def stripe_standin(settings: Any) -> Iterator[Here]:
    """The stand-in, which the settings name as Stripe's API; nothing is delivered by itself."""
    before = settings.STRIPE_API_BASE
    settings.STRIPE_SECRET_KEY = settings.STRIPE_TEST_SECRET_KEY = KEY
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    server = StandIn(0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    settings.STRIPE_API_BASE = server.url
    stripe_api.install()
    yield Here(server.url, server.stripe)
    server.shutdown()
    server.server_close()
    thread.join(5)
    settings.STRIPE_API_BASE = before
    stripe_api.install()


@pytest.fixture
def shop(stripe_standin: Here, db: None) -> Shop:
    """A product with its plans at Stripe, known here too, and whoever buys there."""
    return Shop(stripe_standin)


@pytest.fixture
def deliver(stripe_standin: Here, asgi: Any) -> Callable[..., Answer]:
    """Post an event, signed: deliver(event)."""
    return lambda event: shops.post(asgi, event)
