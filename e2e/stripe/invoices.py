"""Invoices: what a subscription bills, how it is paid, and what happens when it is not (dunning)."""

from copy import deepcopy
from typing import Any

from e2e.stripe import money
from e2e.stripe.discounts import amount_off
from e2e.stripe.shapes import SHAPES
from e2e.stripe.state import DAY, HOUR, State
from e2e.stripe.wire import Object, Refused, listed

INCOMPLETE_FOR = 23 * HOUR  # how long a first payment may take
LIVING = {"incomplete", "trialing", "active", "past_due", "unpaid", "paused"}  # a subscription that has not ended


def line(
    subscription: Object, item: Object, amount: int, text: str, start: int, end: int, *, proration: bool = False
) -> Object:
    """One line of an invoice, before it has an id."""
    price = item["price"]
    details = {"invoice_item": None, "proration": proration, "subscription": subscription["id"]}
    details |= {"subscription_item": item["id"], "proration_details": {"credited_items": None}}
    pricing = {"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"]}
    parent = {"type": "subscription_item_details", "subscription_item_details": details, "invoice_item_details": None}
    return deepcopy(SHAPES["line_item"]) | {
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": text,
        "discountable": not proration,
        "parent": parent,
        "period": {"start": start, "end": end},
        "pricing": pricing | {"price_details": {"price": price["id"], "product": price["product"]}},
        "quantity": item["quantity"],
        "subtotal": amount,
    }


def period_lines(state: State, subscription: Object) -> list[Object]:
    """A line for each item's current period, which costs nothing on trial."""
    lines = []
    for item in subscription["items"]["data"]:
        price, quantity = item["price"], item["quantity"]
        name = state.get("product", price["product"])["name"]
        trial = subscription["status"] == "trialing"
        text = f"Trial period for {name}" if trial else f"{quantity} × {name} (per {price['recurring']['interval']})"
        amount = 0 if trial else price["unit_amount"] * quantity
        lines.append(line(subscription, item, amount, text, item["current_period_start"], item["current_period_end"]))
    return lines


def draft(state: State, subscription: Object, *, reason: str, lines: list[Object]) -> Object:
    """An invoice that may still change; the subscription's pending lines go on it."""
    customer = state.get("customer", subscription["customer"])
    lines = state.pending_lines.pop(subscription["id"], []) + lines
    subtotal = sum(entry["amount"] for entry in lines)
    off = _discount(state, subscription, lines)
    total = subtotal - sum(entry["amount"] for entry in off)
    item = subscription["items"]["data"][0]
    parent = {"subscription": subscription["id"], "metadata": dict(subscription["metadata"])}
    invoice = state.add(
        "invoice",
        "in_",
        amount_due=max(total, 0),
        amount_remaining=max(total, 0),
        billing_reason=reason,
        currency=subscription["currency"],
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        discounts=[entry["discount"] for entry in off],
        parent={"type": "subscription_details", "subscription_details": parent, "quote_details": None},
        period_end=item["current_period_end"],
        period_start=item["current_period_start"],
        starting_balance=customer["balance"],
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        total=total,
        total_discount_amounts=off,
        total_excluding_tax=total,
    )
    for entry in lines:
        entry |= {"id": state.new_id("il_"), "invoice": invoice["id"]}
    invoice["lines"] = listed(lines, f"/v1/invoices/{invoice['id']}/lines")
    state.emit("invoice.created", invoice)
    return invoice


def _discount(state: State, subscription: Object, lines: list[Object]) -> list[Object]:
    """What each discount of the subscription takes off; one for a single invoice is used up."""
    left = sum(entry["amount"] for entry in lines if entry["discountable"])
    off = []
    for discount in [state.get("discount", key) for key in subscription["discounts"]]:
        coupon = state.get("coupon", discount["source"]["coupon"])
        if discount["end"] is not None and discount["end"] <= state.now:
            subscription["discounts"].remove(discount["id"])
        elif left > 0:
            amount = amount_off(coupon, left)
            left -= amount
            off.append({"amount": amount, "discount": discount["id"]})
            if coupon["duration"] == "once":
                subscription["discounts"].remove(discount["id"])
    return off


def finalise(state: State, invoice: Object) -> None:
    """Number an invoice, settle it with the customer's balance, and ask for the rest; nothing to pay is paid."""
    if invoice["status"] != "draft":
        raise Refused("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    customer = state.get("customer", invoice["customer"])
    owed = invoice["total"] + customer["balance"]
    page = f"{state.public_url}/i/{invoice['id']}"
    with state.change(invoice, "invoice.finalized"):
        invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        invoice |= {"status": "open", "effective_at": state.now, "starting_balance": customer["balance"]}
        invoice |= {"amount_due": max(owed, 0), "amount_remaining": max(owed, 0), "ending_balance": min(owed, 0)}
        invoice |= {"hosted_invoice_url": page, "invoice_pdf": f"{page}/pdf", "automatically_finalizes_at": None}
        invoice["status_transitions"]["finalized_at"] = state.now
    customer["next_invoice_sequence"] += 1
    with state.change(customer, "customer.updated"):
        customer["balance"] = min(owed, 0)
    if owed <= 0:
        _mark_paid(state, invoice)
        return
    intent = money.new_intent(
        state, amount=owed, currency=invoice["currency"], customer=customer["id"], description="Subscription"
    )
    state.add(
        "invoice_payment",
        "inpay_",
        amount_requested=owed,
        currency=invoice["currency"],
        invoice=invoice["id"],
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
    )


def pay(state: State, invoice: Object, *, card: Object | None = None, automatic: bool = True) -> Object | None:
    """Try to collect an open invoice.

    Args:
        card: the one to charge; the subscription's or the customer's own without it.
        automatic: by the schedule, which counts the attempt; a person's does only if it is the first.

    Returns:
        The charge, succeeded or failed; None where there is no card.
    """
    if invoice["status"] != "open":
        raise Refused(f"Invoice is already {invoice['status']}", code="invoice_not_open")
    subscription, customer = subscription_of(state, invoice), state.get("customer", invoice["customer"])
    default = customer["invoice_settings"]["default_payment_method"]
    card = card or money.card_for(state, subscription["default_payment_method"], default)
    payment = state.find("invoice_payment", invoice=invoice["id"])[0]
    intent = state.get("payment_intent", payment["payment"]["payment_intent"])
    charge = money.charge(state, intent, card) if card else None
    counted = int(automatic or not invoice["attempt_count"])
    if charge is None or charge["status"] == "failed":
        _failed(state, invoice, subscription, counted)
        return charge
    payment |= {"status": "paid", "amount_paid": invoice["amount_due"]}
    payment["status_transitions"]["paid_at"] = state.now
    state.emit("invoice_payment.paid", payment)
    invoice["attempt_count"] += counted
    _mark_paid(state, invoice)
    return charge


def _mark_paid(state: State, invoice: Object) -> None:
    with state.change(invoice, "invoice.updated", "invoice.paid", "invoice.payment_succeeded"):
        invoice |= {"status": "paid", "attempted": True, "amount_paid": invoice["amount_due"], "amount_remaining": 0}
        invoice |= {"next_payment_attempt": None, "auto_advance": False}
        invoice["status_transitions"]["paid_at"] = state.now
    subscription = subscription_of(state, invoice)
    if subscription["latest_invoice"] == invoice["id"] and subscription["status"] in {
        "incomplete",
        "past_due",
        "unpaid",
    }:
        set_status(state, subscription, "active")


def _failed(state: State, invoice: Object, subscription: Object, counted: int) -> None:
    first = invoice["billing_reason"] == "subscription_create"
    retries: list[int] = state.settings["retry_days"]
    with state.change(invoice, "invoice.updated", "invoice.payment_failed"):
        invoice["attempted"] = True
        invoice["attempt_count"] += counted
        again = not first and invoice["auto_advance"] and invoice["attempt_count"] <= len(retries)
        if counted:
            invoice["next_payment_attempt"] = None
            if again:
                invoice["next_payment_attempt"] = state.now + retries[invoice["attempt_count"] - 1] * DAY
                state.schedule(invoice["next_payment_attempt"], "retry", invoice["id"])
            else:
                invoice["auto_advance"] = False
    if subscription["status"] in {"active", "trialing"}:
        set_status(state, subscription, "past_due")
    if counted and not again and not first and subscription["status"] == "past_due":
        if state.settings["dunning_end"] == "cancel":
            end(state, subscription, reason="payment_failed")
        else:
            set_status(state, subscription, state.settings["dunning_end"])


def retry(state: State, id: str, at: int) -> None:
    """A scheduled attempt, unless the invoice has been settled, or moved, since."""
    invoice = state.get("invoice", id)
    if invoice["status"] == "open" and invoice["next_payment_attempt"] == at:
        pay(state, invoice)


def collect(state: State, id: str, at: int) -> None:
    """Finalise a draft whose time has come, and try to collect it."""
    invoice = state.get("invoice", id)
    if invoice["status"] == "draft" and invoice["auto_advance"]:
        finalise(state, invoice)
        if invoice["status"] == "open":
            pay(state, invoice)


def void(state: State, invoice: Object) -> Object:
    """Give an open invoice up."""
    if invoice["status"] not in {"open", "uncollectible"}:
        raise Refused("You can only void open or uncollectible invoices.", code="invoice_not_open")
    with state.change(invoice, "invoice.updated", "invoice.voided"):
        invoice |= {"status": "void", "next_payment_attempt": None, "auto_advance": False}
        invoice["status_transitions"]["voided_at"] = state.now
    return invoice


def subscription_of(state: State, invoice: Object) -> Object:
    """Whose invoice it is."""
    return state.get("subscription", invoice["parent"]["subscription_details"]["subscription"])


def set_status(state: State, subscription: Object, status: str) -> None:
    """Say what a subscription's standing is."""
    with state.change(subscription, "customer.subscription.updated"):
        subscription["status"] = status


def end(state: State, subscription: Object, *, reason: str, **details: Any) -> Object:
    """End a subscription now; nothing more is collected for it."""
    for invoice in state.find("invoice", customer=subscription["customer"]):
        if invoice["status"] in {"draft", "open"} and subscription_of(state, invoice) is subscription:
            with state.change(invoice, "invoice.updated"):
                invoice |= {"auto_advance": False, "next_payment_attempt": None}
    with state.change(subscription, "customer.subscription.deleted"):
        subscription |= {"status": "canceled", "ended_at": state.now}
        subscription["canceled_at"] = subscription["canceled_at"] or state.now
        subscription["cancellation_details"] |= {"reason": reason, **details}
    return subscription


def expire(state: State, id: str, at: int) -> None:
    """A subscription whose first invoice was not paid within 23 hours never begins."""
    subscription = state.get("subscription", id)
    if subscription["status"] == "incomplete":
        for invoice in state.find("invoice", id=subscription["latest_invoice"], status="open"):
            void(state, invoice)
        with state.change(subscription, "customer.subscription.updated"):
            subscription |= {"status": "incomplete_expired", "ended_at": at}
