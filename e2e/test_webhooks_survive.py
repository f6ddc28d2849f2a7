"""Stripe's events through kills: twenty at once on a cold start, every one repeated, an application process and the
database killed in the middle. What was not answered comes again, as Stripe sends it: nothing is lost, nothing twice."""

import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from bambisleep.tests.environment import LONG
from e2e.postgresql import Database, postgresql
from e2e.servers import PRODUCTION, Installation, Server, wait_for
from e2e.stripe.standin import KEY, SECRET, Handle, standin

pytestmark = pytest.mark.needs("postgresql")

REQUESTS = 2000 if LONG else 500
AT_ONCE = 20


@dataclass(slots=True)
class Sender:
    """Sends events as Stripe does: signed anew each time, to whichever process answers, until it is told 2xx."""

    stripe: Handle
    servers: list[Server]
    statuses: Counter[int] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)

    def send(self, event: dict[str, Any]) -> None:
        """Once."""
        body = json.dumps(event).encode()
        headers = {"Stripe-Signature": self.stripe.sign(body), "Content-Type": "application/json"}
        url = f"{random.choice(self.servers).url}/stripe/webhook/"
        try:
            status = httpx.post(url, content=body, headers=headers, timeout=30, trust_env=False).status_code
        except httpx.TransportError:
            status = 0  # killed in mid-air
        self.statuses[status] += 1
        if status == 200:
            self.answered.add(event["id"])


@dataclass(frozen=True, slots=True)
class Result:
    """What is there when all has been answered."""

    installation: Installation
    stripe: Handle
    events: list[dict[str, Any]]
    sender: Sender

    def all(self, kind: str) -> list[Any]:
        """What Stripe has of a kind."""
        asked = {"limit": 100, "status": "all"} if kind == "subscriptions" else {"limit": 100}
        return list(getattr(self.stripe.api().v1, kind).list(asked).auto_paging_iter())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    directory = tmp_path_factory.mktemp("survive")
    with postgresql() as database, standin(directory) as stripe:
        events = _lives(stripe)
        installation = Installation(directory, database.url)
        assert installation.manage("migrate", "-v0").returncode == 0
        settings = {
            **PRODUCTION,
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_WEBHOOK_SECRETS": SECRET,
        }
        installation.collect_static()
        with ExitStack() as stack:
            servers = [stack.enter_context(installation.serving("uvicorn", **settings)) for _ in range(2)]
            sender = Sender(stripe, servers)
            _send_all_and_kill(sender, events, database)
            servers[:] = [servers[1], stack.enter_context(installation.serving("uvicorn", **settings))]
            _send_again_what_was_not_answered(sender, events)
            yield Result(installation, stripe, events, sender)


def _lives(stripe: Handle) -> list[dict[str, Any]]:
    """The events of many subscriptions: on trial, paid, failed and recovered, canceled, refunded."""
    price, api = stripe.plans().monthly, stripe.api().v1
    made = []
    for number in range(REQUESTS // 40):
        customer = api.customers.create({"email": f"member-{number}@example.org"}).id
        session = api.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customer,
                "line_items": [{"price": price, "quantity": 1}],
                "success_url": "http://127.0.0.1/done",
            }
        )
        made.append((customer, stripe.complete_checkout(session.id)["subscription"]))
    for number, (customer, subscription) in enumerate(made):
        if number % 3 == 0:
            api.subscriptions.cancel(subscription)
        if number % 4 == 0:
            api.refunds.create({"charge": api.charges.list({"customer": customer}).data[0].id})
        if number % 5 == 1:
            stripe.card(customer, "insufficient_funds")
    stripe.advance(days=31)
    for number, (customer, _) in enumerate(made):
        if number % 10 == 1:
            stripe.card(customer, "good")
    stripe.advance(days=4)
    events = stripe.events()
    assert len(events) >= REQUESTS // 4
    return events


def _send_all_and_kill(sender: Sender, events: list[dict[str, Any]], database: Database) -> None:
    chance = random.Random(8)
    sent = [*events] * 2
    while len(sent) < REQUESTS:
        sent += chance.sample(events, min(len(events), REQUESTS - len(sent)))
    chance.shuffle(sent)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        done = [threads.submit(sender.send, event) for event in sent]
        wait_for(lambda: sum(sender.statuses.values()) > len(sent) // 4, "a quarter was sent", seconds=300)
        os.kill(sender.servers[0].process.pid, signal.SIGKILL)
        wait_for(lambda: sum(sender.statuses.values()) > len(sent) // 2, "half was sent", seconds=300)
        database.kill()
        time.sleep(1)  # requests meet a database that is not there
        database.start()
        for future in done:
            future.result(600)


def _send_again_what_was_not_answered(sender: Sender, events: list[dict[str, Any]]) -> None:
    for _ in range(10):
        left = [event for event in events if event["id"] not in sender.answered]
        if not left:
            return
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(sender.send, left))
    said = re.findall(r'"exception": "(.+?)(?<!\\\\)"', sender.servers[1].output)[-1:]
    pytest.fail(f"{len(left)} events are never taken, such as {left[0]['type']}: {sender.statuses}\n{said}")


def test_the_kills_were_felt(result: Result) -> None:
    assert result.sender.statuses[0] > 0  # connections that broke
    assert result.sender.statuses[200] >= len(result.events)
    assert set(result.sender.statuses) <= {0, 200, 500, 503}


def test_each_event_stands_in_the_log_once_and_processed(result: Result) -> None:
    rows = result.installation.rows("SELECT event_id, processed_at IS NOT NULL FROM payments_webhookevent")

    assert Counter(rows) == Counter((event["id"], True) for event in result.events)


def test_each_subscription_is_as_stripe_has_it(result: Result) -> None:
    rows = result.installation.rows("SELECT subscription_id, status FROM payments_subscription")

    assert Counter(rows) == Counter((found["id"], found["status"]) for found in result.all("subscriptions"))


def test_the_ledger_has_each_movement_once(result: Result) -> None:
    rows = result.installation.rows("SELECT kind, stripe_id, amount_minor, currency FROM payments_movement")
    charges = [found for found in result.all("charges") if found["status"] == "succeeded"]
    refunds = result.all("refunds")

    assert charges
    assert refunds
    assert Counter(rows) == Counter(
        [("charge", found["id"], found["amount"], found["currency"]) for found in charges]
        + [("refund", found["id"], -found["amount"], found["currency"]) for found in refunds]
    )


def test_each_invoice_is_as_stripe_has_it(result: Result) -> None:
    rows = result.installation.rows("SELECT invoice_id, status, amount_paid_minor FROM payments_invoice")

    assert Counter(rows) == Counter(
        (found["id"], found["status"], found["amount_paid"]) for found in result.all("invoices")
    )


def test_the_mirror_could_store_everything(result: Result) -> None:
    assert (
        result.installation.rows("SELECT type, mirror_error FROM payments_webhookevent WHERE mirror_error <> ''") == []
    )
