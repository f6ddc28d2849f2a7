"""How many of Stripe's events a second our endpoint deals with beside dj-stripe's own view with empty receivers, and
what a scrape costs with a million rows in the ledger beside one with none.

On SQLite, or on PostgreSQL where DATABASE_URL names a server of it: in a database that this makes and drops. The API is
the stand-in, a process of its own. Every side is sent whole lives of subscriptions that it has not seen before (paid,
renewed, canceled), in their order, by turns; only types that both sides act on. A bare check of the signature
with one insert stands beside them. It prints ratios to put into a decision; it is no test, and fails only where
something does not run.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from e2e.stripe.standin import KEY, Handle, standin

SERVER_URL = os.environ.get("DATABASE_URL", "")
ON_POSTGRESQL = SERVER_URL.startswith("postgres")
DATABASE_NAME = f"bambisleep_benchmark_{os.getpid()}"
SECRET = "whsec_benchmark"
DATA_DIR = tempfile.TemporaryDirectory(prefix="benchmark-")
(Path(DATA_DIR.name) / "static").mkdir()
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "bambisleep.settings",
    "DEBUG": "false",
    "HTTPS": "false",
    "SECRET_KEY": os.urandom(40).hex(),
    "ALLOWED_HOSTS": "testserver",
    "DATA_DIR": DATA_DIR.name,
    "DATABASE_URL": urlsplit(SERVER_URL)._replace(path=f"/{DATABASE_NAME}").geturl() if ON_POSTGRESQL else "",
    "REDIS_URL": "",
    "METRICS_TOKEN": "",
    "LOG_LEVEL": "ERROR",
    "STRIPE_SECRET_KEY": KEY,
    "STRIPE_WEBHOOK_SECRETS": SECRET,
}

import django  # noqa: E402

django.setup()

import psycopg  # noqa: E402
import stripe  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from djstripe import models as djstripe  # noqa: E402
from djstripe.signals import WEBHOOK_SIGNALS  # noqa: E402
from djstripe.views import ProcessWebhookView  # noqa: E402
from psycopg import sql  # noqa: E402

from bambisleep import urls  # noqa: E402
from benchmarks.sides import Side, by_turns, ratio, spread  # noqa: E402
from observability.http.edge import Edge  # noqa: E402
from observability.http.handler import Handler  # noqa: E402
from observability.http.routes import expect_known_routes  # noqa: E402
from observability.refresh import refresh  # noqa: E402
from payments import mirror, stripe_api  # noqa: E402
from payments.metrics import HANDLED  # noqa: E402
from payments.models import Movement, WebhookEvent  # noqa: E402

Life = list[dict[str, Any]]  # its events, in their order

# --- The sides --------------------------------------------------------------------------------------------------------

ENDPOINT = uuid.uuid4()
ADDRESSES = {"ours": "/stripe/webhook/", "dj-stripe": f"/dj-stripe/{ENDPOINT}/", "bare": "/bare/"}
BOTH_ACT_ON = frozenset(HANDLED) & {name for name, signal in WEBHOOK_SIGNALS.items() if signal.receivers}


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    """The least that an endpoint can do."""
    stripe.WebhookSignature.verify_header(request.body.decode(), request.headers["Stripe-Signature"], SECRET, 300)
    event = json.loads(request.body)
    WebhookEvent.objects.create(event_id=event["id"], type=event["type"], created_at=timezone.now())
    return HttpResponse()


def set_up(standing: Handle) -> None:
    """Both sides know the key, its account, and the endpoint's secret; dj-stripe's has a receiver that does nothing."""
    settings.STRIPE_API_BASE = standing.url
    stripe_api.install()
    mirror.prepare()
    djstripe.WebhookEndpoint.objects.create(
        id="we_benchmark", djstripe_uuid=ENDPOINT, secret=SECRET, url="https://members.example/", status="enabled",
        enabled_events=["*"], livemode=False, api_version=settings.STRIPE_API_VERSION,
        djstripe_owner_account=djstripe.Account.objects.get(),
    )  # fmt: skip
    for signal in WEBHOOK_SIGNALS.values():
        signal.connect(nothing)
    urls.urlpatterns[:0] = [path("dj-stripe/<uuid:uuid>/", ProcessWebhookView.as_view()), path("bare/", bare)]
    expect_known_routes()


def nothing(**_: Any) -> None:
    """An empty receiver."""


# --- The events -------------------------------------------------------------------------------------------------------


def lives(standing: Handle, number: int) -> tuple[Life, list[Life]]:
    """The events of products and prices, and those of so many subscriptions."""
    plans = standing.plans()
    api = standing.api()
    customers = []
    for index in range(number):
        customer = api.v1.customers.create({"email": f"member-{index}@example.org"}).id
        card = {"default_payment_method": "pm_card_visa"}
        api.v1.customers.update(customer, {"invoice_settings": card})  # type: ignore[typeddict-item]
        api.v1.subscriptions.create({"customer": customer, "items": [{"price": plans.monthly}]})
        customers.append(customer)
    standing.advance(days=32)
    for customer in customers:
        api.v1.subscriptions.cancel(api.v1.subscriptions.list({"customer": customer}).data[0].id)
    catalogue: Life = []
    found: dict[str, Life] = {customer: [] for customer in customers}
    for event in standing.events():
        if event["type"] in BOTH_ACT_ON:
            told = event["data"]["object"]
            customer = told["id"] if told["object"] == "customer" else told.get("customer")
            found.get(customer, catalogue).append(event)
    return catalogue, list(found.values())


# --- A second ---------------------------------------------------------------------------------------------------------


async def send(application: Any, address: str, event: dict[str, Any]) -> None:
    """One event, signed now; it must be answered 200."""
    body = json.dumps(event).encode()
    signature = Handle.sign(body, SECRET).encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": address, "raw_path": address.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"testserver"), (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()), (b"stripe-signature", signature)],
        "client": ("203.0.113.7", 50_000), "server": ("testserver", 80),
    }  # fmt: skip
    await call(application, scope, body)


async def scrape(application: Any) -> None:
    """As Prometheus asks."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/metrics", "raw_path": b"/metrics", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"testserver")], "client": ("127.0.0.1", 50_000), "server": ("testserver", 80),
    }  # fmt: skip
    await call(application, scope, b"")


async def call(application: Any, scope: dict[str, Any], body: bytes) -> None:
    """One request, and its answer, which must be 200."""
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop() if incoming else await asyncio.get_running_loop().create_future()

    async def answer(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await application(scope, receive, answer)
    if statuses != [200]:
        raise RuntimeError(f"{scope['path']} was answered {statuses}.")


async def a_second(application: Any, address: str, found: Sequence[Life], at_once: int) -> float:
    """How many events are dealt with in a second: so many lives at once, each in its order."""
    gate = asyncio.Semaphore(at_once)

    async def live(events: Life) -> None:
        async with gate:
            for event in events:
                await send(application, address, event)

    started = perf_counter()
    await asyncio.gather(*(live(events) for events in found))
    return sum(map(len, found)) / (perf_counter() - started)


def print_webhooks(loop: asyncio.AbstractEventLoop, application: Any, rounds: int) -> None:
    """Events a second by turns, one at a time and four."""
    batch = 4
    with standin(Path(DATA_DIR.name)) as standing:
        set_up(standing)
        catalogue, unseen = lives(standing, (rounds + 1) * batch * len(ADDRESSES) * 2)
        for address in (ADDRESSES["ours"], ADDRESSES["dj-stripe"]):
            loop.run_until_complete(a_second(application, address, [catalogue], 1))
        types = sorted({event["type"] for event in unseen[0]})
        print(f"\nA life: {len(unseen[0])} events ({', '.join(types)})")
        chance = random.Random(1)
        for at_once in (1, 4):
            speeds: dict[str, list[float]] = {name: [] for name in ADDRESSES}
            for number in range(rounds + 1):
                for name in chance.sample(list(ADDRESSES), len(ADDRESSES)):
                    taken, unseen = unseen[:batch], unseen[batch:]
                    speed = loop.run_until_complete(a_second(application, ADDRESSES[name], taken, at_once))
                    if number:  # the first round warms up
                        speeds[name].append(speed)
            print(f"\nEvents a second, {at_once} at a time")
            for name, values in speeds.items():
                print(f"  {name:10} {spread(values).text(1)}")
            goal("ours ÷ dj-stripe", ratio(speeds["ours"], speeds["dj-stripe"]), 0.8, at_least=True)
            print(f"  ours ÷ bare  {spread(ratio(speeds['ours'], speeds['bare'])).text(3)}   (for information)")
    failed = list(WebhookEvent.objects.exclude(mirror_error="").values_list("mirror_error", flat=True)[:3])
    print(f"  What the mirror could not store: {failed or 'nothing'}")


# --- A ledger ---------------------------------------------------------------------------------------------------------

ROWS = 1_000_000
COUNTED = {
    "postgresql": "generate_series(1, %(rows)s) AS number",
    "sqlite": "(WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < %(rows)s) "
    "SELECT number FROM n) AS counted",
}
# One of twenty is a refund, in four currencies, over three years.
LEDGER = """
INSERT INTO payments_movement (kind, stripe_id, charge_id, customer_id, price_id, amount_minor, currency, occurred_at,
    livemode, recorded_at, updated_at)
SELECT CASE WHEN number %% 20 = 0 THEN 'refund' ELSE 'charge' END, 'bench_' || number, 'ch_' || number,
    'cus_' || number %% 50000, 'price_' || number %% 4, CASE WHEN number %% 20 = 0 THEN -900 ELSE 900 END,
    CASE number %% 4 WHEN 0 THEN 'eur' WHEN 1 THEN 'usd' WHEN 2 THEN 'jpy' ELSE 'kwd' END, %(now)s, %(no)s, %(now)s,
    %(now)s
FROM {counted}
"""


def print_scrapes(loop: asyncio.AbstractEventLoop, application: Any, rounds: int) -> None:
    """A scrape with no ledger, with a million rows, and with none again."""
    costs: dict[str, list[float]] = {}
    for name in ("none", "a million", "none again"):
        if name == "a million":
            fill()
        else:
            empty()
        started = perf_counter()
        refresh(force=True)
        seconds = perf_counter() - started
        print(f"  {name:11} {Movement.objects.count():>9} rows: a refresh of all facts takes {seconds:.2f} s")
        costs |= by_turns(loop, {name: Side(lambda: scrape(application), 20)}, rounds, passes=3)
    print("\nCPU of one scrape (milliseconds)")
    for name, values in costs.items():
        print(f"  {name:11} {spread([value / 1000 for value in values]).text(2)}")
    both = [(before + after) / 2 for before, after in zip(costs["none"], costs["none again"], strict=True)]
    goal("a million ÷ none", ratio(costs["a million"], both), 1.5, at_least=False)


def fill() -> None:
    """A million movements, by one statement."""
    with connection.cursor() as cursor:
        values = {"rows": ROWS, "now": timezone.now(), "no": False}
        cursor.execute(LEDGER.format(counted=COUNTED[connection.vendor]), values)
        if ON_POSTGRESQL:
            cursor.execute("VACUUM (ANALYZE) payments_movement")


def empty() -> None:
    """No movement at all."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE payments_movement" if ON_POSTGRESQL else "DELETE FROM payments_movement")


def goal(sentence: str, ratios: list[float], limit: float, *, at_least: bool) -> None:
    """Whether a goal is met, by the median."""
    found = spread(ratios)
    met = found.median >= limit if at_least else found.median <= limit
    word = "at least" if at_least else "at most"
    print(f"  {'met   ' if met else 'MISSED'} {sentence}: {found.text(2)}   (goal: {word} {limit})")


@contextmanager
def own_database() -> Iterator[str]:
    """A database that was migrated, until the end of the block; which it is."""
    if not ON_POSTGRESQL:
        call_command("migrate", verbosity=0)
        yield "SQLite"
        connections.close_all()
        return
    name = sql.Identifier(DATABASE_NAME)
    with psycopg.connect(SERVER_URL, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            call_command("migrate", verbosity=0)
            yield f"PostgreSQL {server.info.parameter_status('server_version')}"
        finally:
            connections.close_all()
            connection.close_pool()
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds: int = parser.parse_args().rounds
    loop = asyncio.new_event_loop()
    application = Edge(Handler())
    with own_database() as database:
        print(f"Python {platform.python_version()}, Django {django.get_version()}, {database}, {os.cpu_count()} cores")
        print_webhooks(loop, application, rounds)
        print()
        print_scrapes(loop, application, rounds)
    loop.close()


if __name__ == "__main__":
    main()
