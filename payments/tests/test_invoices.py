"""Invoices, and why the first payment of one failed."""

from typing import Any

import pytest

from accounts.models import User
from bambisleep.tests.client import AsgiClient
from e2e.stripe.wire import Object
from payments import invoices, processing
from payments.models import Customer, Invoice, Reason, Subscription
from payments.tests.shop import Shop, an_event, post

pytestmark = pytest.mark.django_db


def invoice(**more: Any) -> Object:
    return {
        "id": "in_1", "object": "invoice", "customer": "cus_1", "status": "open", "number": "A-1", "currency": "eur",
        "amount_due": 900, "amount_paid": 0, "billing_reason": "subscription_cycle", "created": 1_800_000_000,
        "attempt_count": 1, "next_payment_attempt": 1_800_259_200, "livemode": False, "payments": {"data": []},
        "hosted_invoice_url": "https://invoice.stripe.com/i/1", "invoice_pdf": "https://pay.stripe.com/1.pdf",
        "status_transitions": {"finalized_at": 1_800_003_600, "paid_at": None}, "parent": None, **more,
    }  # fmt: skip


def charge(created: int, code: str, decline_code: str | None, **more: Any) -> Object:
    outcome = {"reason": decline_code}
    return {
        "id": f"ch_{created}",
        "status": "failed",
        "created": created,
        "failure_code": code,
        "outcome": outcome,
        **more,
    }


@pytest.fixture
def customer(db: None) -> Customer:
    return Customer.objects.create(customer_id="cus_1")


def test_an_invoice_is_stored_as_members_look_for_it(customer: Customer) -> None:
    row = invoices.store(invoice=invoice())

    assert (str(row), row.status, row.customer, row.subscription) == ("A-1", "open", customer, None)
    assert (row.amount_due_minor, row.amount_paid_minor, row.currency) == (900, 0, "eur")
    assert (row.hosted_url, row.pdf_url) == ("https://invoice.stripe.com/i/1", "https://pay.stripe.com/1.pdf")
    assert row.issued_at.timestamp() == 1_800_003_600
    assert row.next_attempt_at.timestamp() == 1_800_259_200
    assert (row.paid_at, row.failed_at, row.reason) == (None, None, "")


@pytest.mark.parametrize(
    ("code", "decline_code", "reason"),
    [
        ("card_declined", "generic_decline", Reason.CARD_DECLINED),
        ("card_declined", "do_not_honor", Reason.CARD_DECLINED),
        ("card_declined", "insufficient_funds", Reason.INSUFFICIENT_FUNDS),
        ("expired_card", "expired_card", Reason.EXPIRED_CARD),
        ("expired_card", None, Reason.EXPIRED_CARD),
        ("authentication_required", "authentication_required", Reason.AUTHENTICATION_REQUIRED),
        ("processing_error", None, Reason.PROCESSING_ERROR),
        ("card_declined", "try_again_later", Reason.PROCESSING_ERROR),
        ("incorrect_cvc", "incorrect_cvc", Reason.OTHER),
        ("of_tomorrow", None, Reason.OTHER),
    ],
)
def test_a_reason_is_out_of_a_fixed_list_beside_the_banks_own_word(
    code: str, decline_code: str | None, reason: Reason
) -> None:
    failure = invoices.first_failure(invoice=invoice(), charges=[charge(1_800_003_700, code, decline_code)])

    assert (failure.reason, failure.decline_code) == (reason, decline_code or code)
    assert failure.at.timestamp() == 1_800_003_700


def test_of_several_failures_the_first_counts() -> None:
    later, first = charge(20, "expired_card", None), charge(10, "card_declined", "insufficient_funds")
    paid = charge(5, "", None, status="succeeded")

    assert invoices.first_failure(invoice=invoice(), charges=[later, first, paid]).at.timestamp() == 10


def test_without_a_charge_there_was_no_card_or_the_bank_asks() -> None:
    def intent(**of: Any) -> Object:
        return {"data": [{"payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", **of}}}]}

    def reason(**of: Any) -> Reason:
        return invoices.first_failure(invoice=invoice(payments=intent(**of)), charges=[]).reason

    assert reason(status="requires_payment_method", last_payment_error=None) == Reason.NO_PAYMENT_METHOD
    assert reason(status="requires_action", last_payment_error=None) == Reason.AUTHENTICATION_REQUIRED
    assert reason(status="canceled", last_payment_error={"code": "expired_card"}) == Reason.EXPIRED_CARD
    assert invoices.first_failure(invoice=invoice(payments=None), charges=[]).reason == Reason.NO_PAYMENT_METHOD


def test_the_first_failure_that_is_told_stays(customer: Customer) -> None:
    first = invoices.first_failure(invoice=invoice(), charges=[charge(10, "expired_card", None)])
    second = invoices.first_failure(invoice=invoice(), charges=[charge(20, "card_declined", None)])

    invoices.store(invoice=invoice(), failure=first)
    invoices.store(invoice=invoice(), failure=second)
    row = invoices.store(invoice=invoice(status="paid", amount_paid=900))

    row.refresh_from_db()
    assert (row.status, row.reason, row.failed_at) == ("paid", "expired_card", first.at)


@pytest.mark.parametrize(
    ("status", "attempts", "failed"),
    [
        ("draft", 0, False),
        ("open", 0, False),
        ("open", 1, True),
        ("paid", 1, False),
        ("paid", 2, True),
        ("paid", 0, False),
    ],
)
def test_an_invoice_tells_itself_whether_a_payment_failed(status: str, attempts: int, failed: bool) -> None:
    assert invoices.has_failed(invoice(status=status, attempt_count=attempts)) == failed


def test_what_was_bought_is_the_line_that_costs_most() -> None:
    def line(number: int, amount: int, price: str) -> Object:
        pricing = {"type": "price_details", "price_details": {"price": price, "product": "prod_1"}}
        return {"id": f"il_{number}", "amount": amount, "pricing": pricing}

    lines = [line(1, -500, "price_old"), line(2, 9000, "price_new"), {"id": "il_3", "amount": 99_999, "pricing": None}]

    assert invoices.price_id({"lines": {"data": lines}}) == "price_new"
    assert invoices.price_id({"lines": {"data": []}}) == ""


def renewal_that_fails(shop: Shop, member: User) -> str:
    """The customer of a subscription whose renewal has just failed."""
    shop.subscribe(member)
    customer_id: str = shop.event("customer.created")["data"]["object"]["id"]
    shop.stripe.card(customer_id, "insufficient_funds")
    shop.stripe.advance(days=31)
    return customer_id


def test_a_renewal_that_fails_and_recovers_counts_as_both(shop: Shop, member: User, asgi: AsgiClient) -> None:
    customer_id = renewal_that_fails(shop, member)
    shop.tell(asgi)
    failed = Invoice.objects.failed().get()
    assert (failed.status, failed.reason, failed.attempts) == ("open", "insufficient_funds", 1)
    assert failed.subscription == Subscription.objects.get()
    assert failed.next_attempt_at is not None
    assert list(Invoice.objects.renewals()) == []

    shop.stripe.card(customer_id, "good")
    shop.stripe.advance(days=4)
    shop.tell(asgi)

    failed.refresh_from_db()
    assert (failed.status, failed.reason, failed.attempts) == ("paid", "insufficient_funds", 2)
    assert list(Invoice.objects.renewals()) == [failed]


def test_a_failure_is_known_however_late_its_event_comes(shop: Shop, member: User, asgi: AsgiClient) -> None:
    """Paid by hand after the first failure, the invoice itself tells of one attempt, and of no failure."""
    customer_id = renewal_that_fails(shop, member)
    failed = shop.event("invoice.payment_failed")
    invoice_id = failed["data"]["object"]["id"]
    card = shop.stripe.engine.request("POST", "/v1/payment_methods/pm_card_visa/attach", {"customer": customer_id})
    shop.stripe.engine.request("POST", f"/v1/invoices/{invoice_id}/pay", {"payment_method": card["id"]})
    processing.synchronise("invoice", invoice_id)
    assert Invoice.objects.get().failed_at is None

    assert post(asgi, failed).status == 200

    row = Invoice.objects.get()
    assert (row.status, row.attempts, row.reason) == ("paid", 1, "insufficient_funds")


def test_the_reason_is_the_first_one_though_others_came_before_it_was_told(
    shop: Shop, member: User, asgi: AsgiClient
) -> None:
    customer_id = renewal_that_fails(shop, member)
    shop.stripe.card(customer_id, "expired_card")
    shop.stripe.advance(days=4)
    invoice_id = shop.event("invoice.payment_failed")["data"]["object"]["id"]

    post(asgi, an_event("invoice.updated", {"id": invoice_id}))

    assert Invoice.objects.get().reason == "insufficient_funds"


def test_a_discount_is_no_trouble(shop: Shop, member: User, asgi: AsgiClient) -> None:
    coupon = shop.stripe.engine.request("POST", "/v1/coupons", {"percent_off": "50", "duration": "forever"})
    customer = shop.stripe.engine.request("POST", "/v1/customers", {"metadata": {"user_id": str(member.pk)}})
    session = shop.stripe.engine.request(
        "POST", "/v1/checkout/sessions",
        {"mode": "subscription", "customer": customer["id"], "success_url": "https://example.org/",
         "discounts": [{"coupon": coupon["id"]}], "line_items": [{"price": shop.plans.monthly, "quantity": 1}]},
    )  # fmt: skip
    shop.stripe.complete_checkout(session["id"])

    assert {answer.status for answer in shop.tell(asgi)} == {200}

    assert Invoice.objects.get().amount_paid_minor == 450
    from payments.models import WebhookEvent

    assert list(WebhookEvent.objects.exclude(mirror_error="").values_list("mirror_error", flat=True)) == []
