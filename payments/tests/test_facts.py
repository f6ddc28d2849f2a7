"""Payment facts: what the rows add up to."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accounts.models import User
from bambisleep.tests.client import AsgiClient
from observability import refresh
from observability.facts import Sample
from payments import facts
from payments.models import Invoice, Movement, Reason, Status
from payments.tests import rows
from payments.tests.shop import Shop

pytestmark = pytest.mark.django_db


def values(fact: Callable[[], Iterator[Sample]], metric: Any) -> dict[Any, Any]:
    found = [sample for sample in fact() if sample.metric == metric.name]
    assert len({sample.labels for sample in found}) == len(found)
    return {sample.labels[0] if sample.labels else "": sample.value for sample in found}


def moved(kind: str, amount_minor: int, currency: str = "eur", **more: Any) -> None:
    number = f"{kind}_{next(rows.numbers)}"
    Movement.objects.create(
        kind=kind, stripe_id=number, amount_minor=amount_minor, currency=currency, occurred_at=rows.days_ago(1), **more
    )


def test_money_is_summed_by_currency_in_minor_units() -> None:
    for amount in (900, 900, 9000):
        moved("charge", amount)
    moved("charge", 1200, "jpy")
    moved("refund", -250)
    moved("refund_failed", 250)
    moved("dispute", -900)
    moved("dispute_won", 900)

    assert values(facts.movements, facts.VALUE) == {"eur": 10_800, "jpy": 1200}
    assert values(facts.movements, facts.REFUNDS) == {"eur": 250, "jpy": 0}
    assert values(facts.movements, facts.DISPUTES) == {"eur": 900, "jpy": 0}


def test_counters_begin_at_zero_in_the_currencies_on_sale() -> None:
    rows.plan(currency="eur")
    rows.plan(currency="kwd")
    rows.plan(currency="usd", active=False)

    for metric in (facts.VALUE, facts.REFUNDS, facts.DISPUTES):
        assert values(facts.movements, metric) == {"eur": 0, "kwd": 0}
    assert values(facts.subscriptions, facts.RECURRING) == {"eur": 0, "kwd": 0}


def test_only_the_mode_of_the_key_counts(settings: Any) -> None:
    moved("charge", 900)
    moved("charge", 5, livemode=True)
    rows.subscription(rows.customer(), rows.plan("Test"))
    live = rows.subscription(rows.customer(livemode=True), rows.plan("Live", livemode=True))
    rows.failed(live)

    assert values(facts.movements, facts.VALUE) == {"eur": 900}
    assert values(facts.subscriptions, facts.ACTIVE) == {"Test (month)": 1}
    assert sum(values(facts.invoices, facts.FAILURES).values()) == 0
    settings.STRIPE_LIVE_MODE = True
    assert values(facts.movements, facts.VALUE) == {"eur": 5}
    assert values(facts.subscriptions, facts.ACTIVE) == {"Live (month)": 1}
    assert sum(values(facts.invoices, facts.FAILURES).values()) == 1


def test_subscriptions_stand_under_their_plan_and_their_status() -> None:
    monthly, yearly = rows.plan(), rows.plan(interval="year", amount_minor=9000)
    for plan, status in ((monthly, "active"), (monthly, "trialing"), (monthly, "past_due"), (yearly, "canceled")):
        rows.subscription(rows.customer(), plan, status=status)
    rows.subscription(rows.customer(), None)

    assert values(facts.subscriptions, facts.ACTIVE) == {"Membership (month)": 2, "Membership (year)": 0, "other": 1}
    by_status = values(facts.subscriptions, facts.SUBSCRIPTIONS)
    assert set(by_status) == set(Status.values)
    assert {status: number for status, number in by_status.items() if number} == {
        "active": 2,
        "trialing": 1,
        "past_due": 1,
        "canceled": 1,
    }


def test_plans_of_one_name_are_told_apart_by_currency_and_a_new_price_is_no_new_plan() -> None:
    plans = [
        rows.plan(currency="eur", amount_minor=900, active=False),
        rows.plan(currency="eur", amount_minor=1000),
        rows.plan(currency="usd"),
        rows.plan(interval="year"),
    ]
    for plan in plans:
        rows.subscription(rows.customer(), plan)

    assert values(facts.subscriptions, facts.ACTIVE) == {
        "Membership (month) EUR": 2,
        "Membership (month) USD": 1,
        "Membership (year)": 1,
    }


def test_beyond_fifty_plans_the_rest_is_other() -> None:
    plans = [rows.plan(f"Plan {number}", position=number) for number in range(53)]
    for plan in plans:
        rows.subscription(rows.customer(), plan)

    found = values(facts.subscriptions, facts.ACTIVE)

    assert len(found) == 51
    assert found["other"] == 3


@pytest.mark.parametrize(
    ("interval", "count", "amount", "monthly"),
    [
        ("month", 1, 900, 900),
        ("month", 3, 1000, 333),
        ("year", 1, 9000, 750),
        ("year", 1, 6, 0),  # half a cent, to even
        ("year", 1, 18, 2),  # one and a half
        ("week", 1, 300, 1300),
        ("week", 2, 300, 650),
        ("day", 1, 12, 365),
    ],
)
def test_recurring_revenue_is_of_one_month(interval: str, count: int, amount: int, monthly: int) -> None:
    plan = rows.plan(interval=interval, interval_count=count, amount_minor=amount)
    rows.subscription(rows.customer(), plan, interval_count=count)

    assert values(facts.subscriptions, facts.RECURRING) == {"eur": monthly}


def test_recurring_revenue_is_rounded_once_and_not_for_each() -> None:
    plan = rows.plan(interval="year", amount_minor=6)
    for _ in range(4):
        rows.subscription(rows.customer(), plan)

    assert values(facts.subscriptions, facts.RECURRING) == {"eur": 2}


def test_a_trial_brings_nothing_yet() -> None:
    rows.subscription(rows.customer(), rows.plan(), status="trialing")

    assert values(facts.subscriptions, facts.RECURRING) == {"eur": 0}


def test_an_invoice_counts_once_as_failed_by_its_reason_and_once_as_renewed() -> None:
    subscription = rows.subscription(rows.customer(), rows.plan())
    rows.failed(subscription, attempts=3)
    rows.failed(subscription, status="paid", paid_at=rows.days_ago(0), reason="expired_card")
    rows.invoice(subscription)
    rows.invoice(subscription, billing_reason="subscription_create")
    Invoice.objects.filter(pk=rows.failed(subscription).pk).update(subscription=None)

    found = values(facts.invoices, facts.FAILURES)

    assert found == {**dict.fromkeys(Reason.values, 0), "insufficient_funds": 1, "expired_card": 1}
    assert values(facts.invoices, facts.RENEWALS) == {"": 2}


def test_the_last_event_is_absent_before_the_first(shop: Shop, member: User, asgi: AsgiClient) -> None:
    assert values(facts.last_processed, facts.LAST_PROCESSED) == {}

    shop.subscribe(member)
    shop.tell(asgi)

    (at,) = values(facts.last_processed, facts.LAST_PROCESSED).values()
    assert abs(at - rows.days_ago(0).timestamp()) < 60


def test_a_purchase_shows_once_the_facts_are_brought_up_to_date(shop: Shop, member: User, asgi: AsgiClient) -> None:
    shop.subscribe(member)
    shop.tell(asgi)

    assert values(facts.movements, facts.VALUE) == {"eur": 900, "jpy": 0, "kwd": 0}
    assert values(facts.subscriptions, facts.ACTIVE)["Membership (month) EUR"] == 1
    assert values(facts.subscriptions, facts.RECURRING)["eur"] == 900


@pytest.mark.django_db(transaction=True)
def test_the_facts_are_in_the_scrape(asgi: AsgiClient) -> None:
    rows.subscription(rows.customer(), rows.plan())
    moved("charge", 900)
    refresh.refresh(force=True)

    scrape = asgi.get("/metrics").body.decode().splitlines()

    assert 'stripe_payment_value_total{currency="eur"} 900.0' in scrape
    assert 'stripe_subscriptions_active{plan="Membership (month)"} 1.0' in scrape
    assert 'stripe_subscription_failures_total{reason="card_declined"} 0.0' in scrape


def test_each_fact_is_few_queries_however_many_rows(django_assert_max_num_queries: Any) -> None:
    plan = rows.plan()
    for _ in range(10):
        subscription = rows.subscription(rows.customer(), plan)
        rows.failed(subscription)
        moved("charge", 900)

    for fact, most in ((facts.movements, 2), (facts.subscriptions, 5), (facts.invoices, 2), (facts.last_processed, 1)):
        with django_assert_max_num_queries(most):
            list(fact())
