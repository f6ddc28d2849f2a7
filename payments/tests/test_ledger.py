"""The ledger: what moved, once, in minor units, and never changed."""

from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts.models import User
from bambisleep.tests.client import AsgiClient
from e2e.stripe.wire import Object
from payments import ledger, processing
from payments.models import Movement
from payments.tests.rows import balance
from payments.tests.shop import Shop

pytestmark = pytest.mark.django_db


def rows() -> list[tuple[str, int, str]]:
    return sorted(Movement.objects.values_list("kind", "amount_minor", "currency"))


def charge(**more: Any) -> Object:
    return {
        "id": "ch_1", "object": "charge", "amount": 900, "amount_captured": 900, "captured": True, "currency": "eur",
        "created": 1_800_000_000, "customer": "cus_1", "livemode": False, "status": "succeeded", **more,
    }  # fmt: skip


def refund(**more: Any) -> Object:
    return {
        "id": "re_1", "object": "refund", "amount": 400, "currency": "eur", "created": 1_800_000_100, "charge": "ch_1",
        "status": "succeeded", "balance_transaction": "txn_1", "failure_balance_transaction": None, **more,
    }  # fmt: skip


def dispute(**more: Any) -> Object:
    return {
        "id": "du_1", "object": "dispute", "amount": 900, "currency": "eur", "created": 1_800_000_200, "charge": "ch_1",
        "status": "needs_response", "livemode": False, "balance_transactions": [], **more,
    }  # fmt: skip


def test_a_charge_is_recorded_once(db: None) -> None:
    for _ in range(3):
        ledger.record_charge(charge=charge(), price_id="price_1")

    row = Movement.objects.get()
    assert (row.kind, row.stripe_id, row.charge_id, row.customer_id) == ("charge", "ch_1", "ch_1", "cus_1")
    assert (row.price_id, row.amount_minor, row.currency, row.livemode) == ("price_1", 900, "eur", False)
    assert row.occurred_at.timestamp() == 1_800_000_000


@pytest.mark.parametrize("wrong", [{"status": "failed"}, {"status": "pending"}, {"captured": False}])
def test_a_charge_that_brought_nothing_is_none(wrong: dict[str, Any]) -> None:
    ledger.record_charge(charge=charge(**wrong))

    assert not Movement.objects.exists()


def test_of_a_charge_that_was_captured_in_part_that_part_counts() -> None:
    ledger.record_charge(charge=charge(amount_captured=300))

    assert rows() == [("charge", 300, "eur")]


def test_a_refund_is_negative() -> None:
    ledger.record_refund(refund=refund(), charge=charge())

    row = Movement.objects.get()
    assert (row.kind, row.amount_minor, row.charge_id, row.customer_id) == ("refund", -400, "ch_1", "cus_1")


@pytest.mark.parametrize("status", ["pending", "requires_action"])
def test_a_refund_on_its_way_is_not_recorded_yet(status: str) -> None:
    ledger.record_refund(refund=refund(status=status), charge=charge())

    assert not Movement.objects.exists()


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_refund_that_came_back_leaves_two_rows_however_late_it_is_seen(seen_before: bool) -> None:
    if seen_before:
        ledger.record_refund(refund=refund(), charge=charge())
    failed = refund(status="failed", failure_balance_transaction={"id": "txn_2", "created": 1_800_000_300})
    for _ in range(2):
        ledger.record_refund(refund=failed, charge=charge())

    assert rows() == [("refund", -400, "eur"), ("refund_failed", 400, "eur")]
    assert Movement.objects.get(kind="refund_failed").occurred_at.timestamp() == 1_800_000_300
    assert balance("eur") == 0


def test_a_refund_that_failed_before_any_money_moved_is_none() -> None:
    ledger.record_refund(refund=refund(status="failed", balance_transaction=None), charge=charge())

    assert not Movement.objects.exists()


@pytest.mark.parametrize("status", ["needs_response", "under_review", "lost"])
def test_a_dispute_takes_the_money(status: str) -> None:
    ledger.record_dispute(dispute=dispute(status=status), charge=charge())

    assert rows() == [("dispute", -900, "eur")]


@pytest.mark.parametrize("status", ledger.NOT_WITHDRAWN)
def test_an_inquiry_takes_nothing(status: str) -> None:
    ledger.record_dispute(dispute=dispute(status=status), charge=charge())

    assert not Movement.objects.exists()


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_dispute_that_was_won_leaves_two_rows_however_late_it_is_seen(seen_before: bool) -> None:
    if seen_before:
        ledger.record_dispute(dispute=dispute(), charge=charge())
    moved = [{"amount": -900, "created": 1_800_000_200}, {"amount": 900, "created": 1_800_000_500}]
    for _ in range(2):
        ledger.record_dispute(dispute=dispute(status="won", balance_transactions=moved), charge=charge())

    assert rows() == [("dispute", -900, "eur"), ("dispute_won", 900, "eur")]
    assert Movement.objects.get(kind="dispute_won").occurred_at.timestamp() == 1_800_000_500


@pytest.mark.parametrize("currency", ["jpy", "krw", "eur", "usd", "kwd", "bhd"])
def test_amounts_are_kept_in_the_minor_unit_of_their_currency_as_they_come(currency: str) -> None:
    ledger.record_charge(charge=charge(amount_captured=12_345, currency=currency))
    ledger.record_refund(refund=refund(amount=5, currency=currency), charge=charge())

    assert balance(currency) == 12_340


def test_a_purchase_in_yen_and_one_in_dinars_are_recorded_whole(
    shop: Shop, member: User, staff: User, asgi: AsgiClient
) -> None:
    shop.subscribe(member, price=shop.plans.yen)
    shop.subscribe(staff, price=shop.plans.dinar)
    shop.tell(asgi)

    assert rows() == [("charge", 1200, "jpy"), ("charge", 3500, "kwd")]
    assert set(Movement.objects.values_list("price_id", flat=True)) == {shop.plans.yen, shop.plans.dinar}


def test_refunds_and_disputes_of_a_real_purchase(shop: Shop, member: User, asgi: AsgiClient) -> None:
    shop.subscribe(member)
    shop.tell(asgi)
    charge_id = Movement.objects.get().charge_id
    given_back = shop.stripe.engine.request("POST", "/v1/refunds", {"charge": charge_id, "amount": 250})
    shop.tell(asgi)
    shop.stripe.fail_refund(given_back["id"])
    shop.tell(asgi)
    disputed = shop.stripe.dispute(charge_id)
    shop.tell(asgi)
    shop.stripe.close_dispute(disputed["id"], won=True)
    shop.tell(asgi)

    assert rows() == [
        ("charge", 900, "eur"),
        ("dispute", -900, "eur"),
        ("dispute_won", 900, "eur"),
        ("refund", -250, "eur"),
        ("refund_failed", 250, "eur"),
    ]
    assert set(Movement.objects.values_list("charge_id", flat=True)) == {charge_id}


@pytest.mark.parametrize("kind", ["refund", "dispute"])
def test_what_is_seen_first_brings_its_charge_along(shop: Shop, member: User, kind: str) -> None:
    shop.subscribe(member)
    charge_id = shop.event("charge.succeeded")["data"]["object"]["id"]
    made = (
        shop.stripe.engine.request("POST", "/v1/refunds", {"charge": charge_id})
        if kind == "refund"
        else shop.stripe.dispute(charge_id)
    )

    processing.synchronise(kind, made["id"])

    assert rows() == [("charge", 900, "eur"), (kind, -900, "eur")]


def test_what_a_change_of_plan_was_paid_for_is_the_new_plan(shop: Shop, member: User, asgi: AsgiClient) -> None:
    subscription_id = shop.subscribe(member)
    item = shop.get("/v1/subscription_items", subscription=subscription_id)["data"][0]["id"]
    shop.stripe.engine.request(
        "POST", f"/v1/subscriptions/{subscription_id}",
        {"items": [{"id": item, "price": shop.plans.yearly}], "proration_behavior": "always_invoice"},
    )  # fmt: skip

    shop.tell(asgi)

    assert set(Movement.objects.values_list("price_id", flat=True)) == {shop.plans.monthly, shop.plans.yearly}


def test_the_database_refuses_to_change_a_row() -> None:
    ledger.record_charge(charge=charge())

    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Movement.objects.update(amount_minor=1)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE payments_movement SET currency = 'usd'")
    with pytest.raises(TypeError, match="never changed"):
        Movement.objects.get().save()

    assert rows() == [("charge", 900, "eur")]


def test_the_database_refuses_a_second_row_and_a_wrong_sign() -> None:
    ledger.record_charge(charge=charge())
    row = Movement.objects.get()

    for wrong in ({}, {"kind": "refund"}, {"stripe_id": "ch_2", "amount_minor": -1}):
        values = {"kind": row.kind, "stripe_id": row.stripe_id, "amount_minor": 1, "currency": "eur", **wrong}
        with pytest.raises(IntegrityError), transaction.atomic():
            Movement.objects.create(occurred_at=row.occurred_at, **values)
