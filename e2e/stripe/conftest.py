"""What the tests of the stand-in start from: a process of it, Stripe's own client, and somebody who receives events."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe

from e2e.stripe import Plans
from e2e.stripe.standin import Handle, standin


@pytest.fixture(scope="session")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handle]:
    with standin(tmp_path_factory.mktemp("stripe")) as handle:
        yield handle


@pytest.fixture
def fake(_process: Handle) -> Handle:
    """The stand-in, as just started."""
    _process.reset()
    return _process


@pytest.fixture
def client(fake: Handle) -> stripe.StripeClient:
    """Stripe's own client, which repeats nothing by itself."""
    return fake.api()


@pytest.fixture
def plans(fake: Handle) -> Plans:
    """A product and its prices."""
    return fake.plans()


@dataclass(slots=True)
class Receiver:
    """A webhook endpoint at `url` that answers `status`, and keeps what came."""

    url: str = ""
    status: int = 200
    bodies: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """As they came."""
        return [json.loads(body) for body in self.bodies]

    @property
    def types(self) -> list[str]:
        """Of the events, as they came."""
        return [event["type"] for event in self.events]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Nobody sends to it until a test says so."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            kept.signatures.append(self.headers["Stripe-Signature"])
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(frozen=True, slots=True)
class Member:
    """A customer with a subscription."""

    customer: str
    subscription: str


def subscribe(
    fake: Handle, client: stripe.StripeClient, price: str, *, trial_days: int = 0, card: str = "good", code: str = ""
) -> Member:
    """Go through Checkout, without its page."""
    customer = client.v1.customers.create({"email": "ann@example.org"})
    asked: Any = {
        "mode": "subscription",
        "customer": customer.id,
        "line_items": [{"price": price, "quantity": 1}],
        "success_url": "https://site.test/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://site.test/plans",
        "allow_promotion_codes": True,
    }
    if trial_days:
        asked["subscription_data"] = {"trial_period_days": trial_days}
    session = client.v1.checkout.sessions.create(asked)
    done = fake.complete_checkout(session.id, card, code)
    return Member(customer.id, done["subscription"])


def latest_invoice(client: stripe.StripeClient, subscription: str) -> stripe.Invoice:
    """The one of its current period, or of its last change."""
    found = client.v1.subscriptions.retrieve(subscription, {"expand": ["latest_invoice"]}).latest_invoice
    assert isinstance(found, stripe.Invoice)
    return found


def first_item(client: stripe.StripeClient, subscription: str) -> stripe.SubscriptionItem:
    """The newest part of it."""
    found: stripe.SubscriptionItem = client.v1.subscription_items.list({"subscription": subscription}).data[0]
    return found


def charges(client: stripe.StripeClient, customer: str) -> list[stripe.Charge]:
    """A customer's, failed ones too, the newest first."""
    return client.v1.charges.list({"customer": customer}).data
