"""How the stand-in speaks Stripe's API: keys, errors, pages, idempotency, expansion, today's shapes, and its faults."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import stripe

from e2e.servers import ROOT, free_port, running
from e2e.stripe import Plans, Refused, Stripe
from e2e.stripe.conftest import subscribe
from e2e.stripe.standin import KEY, Handle
from e2e.stripe.wire import parse_form


def test_it_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "e2e.stripe", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 0, done.stderr
    assert "--webhook" in done.stdout


def test_a_form_with_brackets_is_read_as_lists_and_objects() -> None:
    assert parse_form("items[0][price]=p&items[1][price]=q&expand[]=a&expand[]=b&metadata[1]=x&name=") == {
        "items": [{"price": "p"}, {"price": "q"}],
        "expand": ["a", "b"],
        "metadata": {"1": "x"},
        "name": "",
    }


@pytest.mark.parametrize("key", ["sk_test_refused" + "0" * 20, "sk_live_" + "a" * 24, "pk_test_" + "a" * 24])
def test_another_key_is_refused_without_being_told_back(fake: Handle, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as refused:
        fake.api(key).v1.customers.list()

    assert refused.value.http_status == 401
    assert key not in str(refused.value)


def test_a_restricted_key_is_as_good_as_a_secret_one(fake: Handle) -> None:
    assert fake.api("rk_test_" + "a" * 24).v1.accounts.retrieve_current().id.startswith("acct_")


def test_what_is_missing_or_unknown_or_wrong_is_named(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such customer: 'cus_none'") as gone:
        client.v1.customers.retrieve("cus_none")
    assert (gone.value.http_status, gone.value.code, gone.value.param) == (404, "resource_missing", "id")
    with pytest.raises(stripe.InvalidRequestError) as named:
        client.v1.subscriptions.create({"customer": "cus_none", "items": [{"price": "price_none"}]})
    assert (named.value.http_status, named.value.code, named.value.param) == (400, "resource_missing", "customer")
    nick: Any = {"nick": "x"}
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        client.v1.customers.create(nick)
    assert (unknown.value.code, unknown.value.param) == ("parameter_unknown", "nick")
    with pytest.raises(stripe.InvalidRequestError) as left_out:
        client.v1.products.create({})  # type: ignore[typeddict-item]
    assert (left_out.value.code, left_out.value.param) == ("parameter_missing", "name")


def test_the_portal_s_features_are_kept_as_they_are_given(client: stripe.StripeClient) -> None:
    asked: Any = {"features": {"invoice_history": {"enabled": True}, "customer_update": {"enabled": False}}}
    made = client.v1.billing_portal.configurations.create(asked)
    client.v1.billing_portal.configurations.update(made.id, {"features": {"invoice_history": {"enabled": False}}})

    found = client.v1.billing_portal.configurations.retrieve(made.id).to_dict()["features"]
    assert found == {"invoice_history": {"enabled": False}, "customer_update": {"enabled": False}}


def test_lists_that_it_does_not_keep_are_empty_and_their_objects_missing(client: stripe.StripeClient) -> None:
    assert client.v1.tax_rates.list().data == []
    assert client.v1.payouts.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payouts.retrieve("po_1")


def test_a_list_is_read_page_by_page_the_newest_first(fake: Handle, client: stripe.StripeClient) -> None:
    made = [client.v1.customers.create({"name": str(number)}).id for number in range(25)]
    fake.advance(days=1)
    last = client.v1.customers.create({"name": "last"})
    fake.forget_calls()

    found = [customer.id for customer in client.v1.customers.list({"limit": 10}).auto_paging_iter()]

    assert found == [last.id, *reversed(made)]
    assert len(fake.calls("GET /v1/customers")) == 3
    back = client.v1.customers.list({"ending_before": made[0], "limit": 2})
    assert [customer.id for customer in back.data] == [made[2], made[1]]
    since = client.v1.customers.list({"created": {"gte": last.created}})
    assert [customer.id for customer in since.data] == [last.id]


def test_the_same_key_gets_the_same_answer_and_another_call_under_it_is_refused(client: stripe.StripeClient) -> None:
    options: stripe.RequestOptions = {"idempotency_key": "one"}
    first = client.v1.customers.create({"name": "Ann"}, options)
    again = client.v1.customers.create({"name": "Ann"}, options)

    assert again.id == first.id
    assert len(client.v1.customers.list().data) == 1
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Bob"}, options)


def test_a_decline_is_kept_under_its_key_and_a_wrong_call_is_not() -> None:
    fake = Stripe(seed=1)
    plans = fake.plans()
    customer = fake.request("POST", "/v1/customers")["id"]
    asked = {"customer": customer, "items": [{"price": plans.monthly}], "payment_behavior": "error_if_incomplete"}
    fake.request("POST", "/v1/payment_methods/pm_card_chargeCustomerFail/attach", {"customer": customer})
    card = fake.request("GET", "/v1/payment_methods", {"customer": customer})["data"][0]["id"]
    asked["default_payment_method"] = card
    for behaviour in ("declined", "good"):
        fake.card(customer, behaviour)
        with pytest.raises(Refused, match="declined"):
            fake.request("POST", "/v1/subscriptions", asked, idempotency_key="k")
    assert fake.request("GET", "/v1/subscriptions", {"status": "all"})["data"] == []

    with pytest.raises(Refused, match="Missing required param"):
        fake.request("POST", "/v1/products", {}, idempotency_key="p")
    assert fake.request("POST", "/v1/products", {"name": "x"}, idempotency_key="p")["name"] == "x"


def test_objects_have_the_shapes_of_today(fake: Handle, client: stripe.StripeClient, plans: Plans) -> None:
    member = subscribe(fake, client, plans.monthly)
    subscription = client.v1.subscriptions.retrieve(member.subscription).to_dict()
    invoice = client.v1.invoices.list({"customer": member.customer}).data[0].to_dict()
    charge = client.v1.charges.list({"customer": member.customer}).data[0].to_dict()

    assert "current_period_end" not in subscription
    assert subscription["items"]["data"][0]["current_period_end"] > subscription["start_date"]
    assert not {"subscription", "charge", "payment_intent", "paid", "payments"} & invoice.keys()
    assert invoice["parent"]["subscription_details"]["subscription"] == member.subscription
    assert invoice["lines"]["data"][0]["pricing"]["price_details"]["price"] == plans.monthly
    assert not {"invoice", "refunds"} & charge.keys()
    payment = client.v1.invoice_payments.list({"invoice": invoice["id"]}).data[0]
    assert payment.payment.payment_intent == charge["payment_intent"]
    event = fake.events()[-1]
    assert (event["api_version"], event["livemode"], event["data"]["object"]["object"]) == (
        "2026-05-27.dahlia",
        False,
        "checkout.session",
    )


def test_expansion_goes_four_levels_deep_and_only_where_there_is_something(
    fake: Handle, client: stripe.StripeClient, plans: Plans
) -> None:
    member = subscribe(fake, client, plans.monthly)
    paths = ["latest_invoice.payments", "customer", "items.data.price.product", "default_payment_method"]
    found = client.v1.subscriptions.retrieve(member.subscription, {"expand": paths}).to_dict()

    assert found["latest_invoice"]["payments"]["data"][0]["status"] == "paid"
    assert found["customer"]["email"] == "ann@example.org"
    assert found["items"]["data"][0]["price"]["product"]["name"] == "Membership"
    assert found["default_payment_method"]["card"]["last4"] == "4242"
    listed = client.v1.charges.list({"expand": ["data.customer", "data.balance_transaction"]}).data[0].to_dict()
    assert listed["balance_transaction"]["net"] == 900 - 37
    for wrong in ("latest_invoice.payment_intent", "latest_invoice.payments.data.payment.payment_intent"):
        with pytest.raises(stripe.InvalidRequestError, match="expand"):
            client.v1.subscriptions.retrieve(member.subscription, {"expand": [wrong]})


def test_an_event_says_what_was_different_before(fake: Handle, client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({"email": "a@example.org", "metadata": {"x": "1"}})
    client.v1.customers.update(customer.id, {"email": "b@example.org", "metadata": {"y": "2"}})
    client.v1.customers.update(customer.id, {"email": "b@example.org"})

    events = client.v1.events.list({"type": "customer.updated"}).data
    assert len(events) == 1
    told = events[0].to_dict()
    assert told["data"]["previous_attributes"] == {"email": "a@example.org", "metadata": {"y": None}}
    assert told["request"]["id"].startswith("req_")


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("down", stripe.APIConnectionError),
        ("slow", stripe.APIConnectionError),
        ("nonsense", stripe.APIError),
        ("error_500", stripe.APIError),
        ("rate_limited", stripe.RateLimitError),
    ],
)
def test_it_misbehaves_on_demand_where_it_is_told_to(fake: Handle, mode: str, error: type[stripe.StripeError]) -> None:
    client = fake.api(seconds=0.3)
    fake.misbehave(mode, seconds=1, paths="^/v1/customers$", times=1)

    with pytest.raises(error):
        client.v1.customers.list()

    assert client.v1.customers.list().data == []


def test_dripping_keeps_a_limit_on_single_reads_from_ever_being_met(fake: Handle) -> None:
    client = fake.api(seconds=0.5)
    fake.misbehave("drip", seconds=1.5, times=1)
    begun = time.monotonic()

    assert client.v1.products.list().data == []
    assert time.monotonic() - begun > 1.4


def test_an_answer_that_was_lost_was_carried_out_and_its_key_finds_it(
    fake: Handle, client: stripe.StripeClient
) -> None:
    fake.misbehave("lost", times=1)
    options: stripe.RequestOptions = {"idempotency_key": "once"}
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.create({"name": "Ann"}, options)

    again = client.v1.customers.create({"name": "Ann"}, options)

    assert [customer.id for customer in client.v1.customers.list().data] == [again.id]


def test_while_a_call_is_under_way_its_key_is_in_use(fake: Handle, client: stripe.StripeClient) -> None:
    options: stripe.RequestOptions = {"idempotency_key": "twice"}
    fake.misbehave("slow", seconds=1, times=1)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.v1.customers.create, {"name": "Ann"}, options)
        while not fake.calls("POST /v1/customers"):
            time.sleep(0.01)
        with pytest.raises(stripe.APIError, match="in-progress request") as refused:
            client.v1.customers.create({"name": "Ann"}, options)
        assert refused.value.http_status == 409
        assert client.v1.customers.create({"name": "Ann"}, options | {"idempotency_key": "another"}).id
    assert client.v1.customers.create({"name": "Ann"}, options).id == first.result().id


def test_a_failure_of_its_own_is_told_again_for_the_same_key(fake: Handle, client: stripe.StripeClient) -> None:
    options: stripe.RequestOptions = {"idempotency_key": "spoilt"}
    fake.misbehave("error_500_kept", times=1)
    told = []
    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            client.v1.customers.create({"name": "Ann"}, options)
        told.append((failed.value.http_status, "Idempotent-Replayed" in (failed.value.headers or {})))
    assert told == [(500, False), (500, True)]
    assert client.v1.customers.create({"name": "Ann"}, options | {"idempotency_key": "fresh"}).id


def test_what_it_knows_outlives_it_in_a_file(tmp_path: Path) -> None:
    first = Stripe(now=lambda: 1_800_000_000)
    plans = first.plans()
    customer = first.request("POST", "/v1/customers")["id"]
    asked = {"customer": customer, "items": [{"price": plans.monthly}], "default_payment_method": "pm_card_visa"}
    subscription = first.request("POST", "/v1/subscriptions", asked)["id"]
    first.keep(tmp_path / "kept")

    second = Stripe(now=lambda: 1_800_000_000)
    second.recall(tmp_path / "kept")
    second.advance(days=32)

    invoices = second.request("GET", "/v1/invoices", {"subscription": subscription})["data"]
    assert [invoice["amount_paid"] for invoice in invoices] == [900, 900]


def test_the_process_ends_when_it_is_told_to_and_knows_the_same_when_it_is_back(tmp_path: Path) -> None:
    def run(log: str) -> list[str]:
        port = free_port()
        command = [sys.executable, "-m", "e2e.stripe", "--port", str(port), "--plans", "--keep", str(tmp_path / "kept")]
        with running(command, environment={}, port=port, log=tmp_path / log, ready="/_standin/health") as server:
            found = [price.id for price in Handle(server.url).api().v1.prices.list().data]
        assert server.process.returncode == 0, server.output
        return found

    assert run("first.log") == run("second.log") != []


def test_the_key_that_tests_use_looks_like_one_of_stripes() -> None:
    assert KEY.startswith("sk_test_")
    assert len(KEY) == len("sk_test_") + 24
