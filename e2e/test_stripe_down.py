"""Stripe's API down, slow, dripping, or answering nonsense: a clear word to the member and to Stripe, nobody held
longer than the limit, and what was missed made good by the next delivery."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from e2e.servers import PRODUCTION, Installation, Server
from e2e.stripe.standin import KEY, SECRET, Handle, standin

LIMIT = 2.0  # seconds, of one call to Stripe
HELD = 2 * LIMIT + 4  # what a page or an event may take at most: its limit, and a busy machine
MODES = ("down", "slow", "nonsense", "drip", "error_500", "rate_limited")
PHRASE = "a long enough phrase"


@dataclass(frozen=True, slots=True)
class Site:
    """The site with a plan on sale and a member signed in by browser, before a Stripe that can be made to fail."""

    server: Server
    installation: Installation
    stripe: Handle
    price: str

    def deliver(self, event: dict[str, Any]) -> httpx.Response:
        """Send an event as Stripe does."""
        body = json.dumps(event).encode()
        return self.server.http.post(
            "/stripe/webhook/", content=body, headers={"Stripe-Signature": self.stripe.sign(body)}
        )

    def press(self, page: str, action: str) -> httpx.Response:
        """Send the form of `page` that leads to `action`, with what it holds."""
        found = re.search(rf'<form[^>]*action="{action}".*?</form>', self.server.http.get(page).text, re.DOTALL)
        assert found, f"{page} has no form that leads to {action}"
        fields = dict(re.findall(r'name="([^"]+)"[^>]*value="([^"]*)"', found[0]))
        return self.server.http.post(action, data=fields, headers={"Referer": self.server.url + page})


@pytest.fixture(scope="module")
def site(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    installation.collect_static()
    with standin(tmp_path_factory.mktemp("stripe")) as stripe:
        settings = {
            **PRODUCTION,
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_WEBHOOK_SECRETS": SECRET,
            "STRIPE_TIMEOUT_SECONDS": str(LIMIT),
        }
        price = stripe.plans().monthly
        with installation.serving("daphne", **settings) as server:
            found = Site(server, installation, stripe, price)
            for event in stripe.events():
                assert found.deliver(event).status_code == 200
            _sign_up(server, "ann")
            yield found


@pytest.fixture(autouse=True)
def _all_is_well(site: Site) -> Iterator[None]:
    yield
    site.stripe.misbehave(None)


def _sign_up(server: Server, name: str) -> None:
    fields = {"username": name, "email": f"{name}@example.org", "password": PHRASE}
    server.http.post("/auth/register", json=fields).raise_for_status()
    server.sign_in_to_admin(name, PHRASE)


def _timed(act: Any, *arguments: Any) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    answer: httpx.Response = act(*arguments)
    return answer, time.monotonic() - started


@pytest.mark.parametrize("mode", MODES)
def test_an_event_is_refused_in_time_and_made_good_by_the_next_delivery(site: Site, mode: str) -> None:
    name = f"customer-{mode}"
    customer = site.stripe.api().v1.customers.create({"email": f"{name}@example.org"})
    event = next(event for event in reversed(site.stripe.events()) if event["type"] == "customer.created")
    known = f"SELECT count(*) FROM payments_customer WHERE customer_id = '{customer.id}'"
    site.stripe.misbehave(mode, seconds=60)

    answer, seconds = _timed(site.deliver, event)

    assert answer.status_code in {500, 503}
    assert answer.headers["content-type"] == "application/problem+json"
    assert seconds < HELD
    assert site.installation.rows(known) == [(0,)]
    failed = f"SELECT error <> '', processed_at IS NULL FROM payments_webhookevent WHERE event_id = '{event['id']}'"
    assert [tuple(map(bool, row)) for row in site.installation.rows(failed)] == [(True, True)]

    site.stripe.misbehave(None)
    assert site.deliver(event).status_code == 200
    assert site.installation.rows(known) == [(1,)]


@pytest.mark.parametrize("mode", MODES)
def test_checkout_says_so_in_time(site: Site, mode: str) -> None:
    site.server.http.get("/billing/plans/").raise_for_status()
    site.stripe.misbehave(mode, seconds=60)

    answer, seconds = _timed(site.press, "/billing/plans/", "/billing/checkout/")

    assert answer.status_code == 503
    assert "Nothing was charged" in answer.text
    assert seconds < HELD


@pytest.mark.parametrize("mode", MODES)
def test_the_portal_says_so_in_time(site: Site, mode: str) -> None:
    _subscribed(site)
    site.stripe.misbehave(mode, seconds=60)

    answer, seconds = _timed(site.press, "/billing/", "/billing/portal/")

    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert seconds < HELD


def test_meanwhile_who_may_see_what_does_not_hang_on_stripe(site: Site) -> None:
    _subscribed(site)
    site.stripe.misbehave("slow", seconds=60)
    site.stripe.forget_calls()

    answer = site.server.http.get("/billing/")

    assert answer.status_code == 200
    assert "Your trial lasts until" in answer.text
    assert site.stripe.calls() == []


def _subscribed(site: Site) -> None:
    """Ann pays, once."""
    if site.installation.count("payments_subscription"):
        return
    page = site.press("/billing/plans/", "/billing/checkout/")
    assert page.status_code == 303, page.text
    session = site.stripe.api().v1.checkout.sessions.list({"status": "open"}).data[0].id
    site.stripe.complete_checkout(session)
    site.server.http.get("/billing/done/", params={"session_id": session}).raise_for_status()
    assert site.installation.count("payments_subscription") == 1
