"""Money that moves: cards, charges, refunds, disputes, and the balance transactions under them."""

from typing import Any

from e2e.stripe.state import DAY, State
from e2e.stripe.wire import Object, Refused, missing, required, whole

# What a person may pay with: brand, last four digits, and what goes wrong (code, decline code, message).
CARDS = {
    "good": "4242",
    "declined": "0002",
    "declined_later": "0341",
    "insufficient_funds": "9995",
    "expired_card": "0069",
    "authentication": "3184",
}
_DECLINED = ("card_declined", "generic_decline", "Your card was declined.")
FAILURES = {
    "declined": _DECLINED,
    "declined_later": _DECLINED,
    "insufficient_funds": ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    "expired_card": ("expired_card", "expired_card", "Your card has expired."),
    "authentication": (
        "authentication_required",
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
}
# Stripe's own test cards (docs.stripe.com/testing), as they are named in calls of the API.
TEST_CARDS = {
    "pm_card_visa": "good",
    "pm_card_visa_chargeDeclined": "declined",
    "pm_card_chargeCustomerFail": "declined_later",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
    "pm_card_authenticationRequired": "authentication",
}


def declined(behaviour: str, **more: Any) -> Refused:
    """The card error of a card that behaves so."""
    code, decline_code, message = FAILURES[behaviour]
    return Refused(message, status=402, type="card_error", code=code, decline_code=decline_code, **more)


def new_card(state: State, behaviour: str) -> Object:
    """A card that is nobody's yet."""
    if behaviour not in CARDS:
        raise Refused(f"No such card: {behaviour}; there are {', '.join(CARDS)}.", param="card")
    last4 = CARDS[behaviour]
    card = {"brand": "visa", "checks": None, "country": "US", "exp_month": 12, "exp_year": 2040, "funding": "credit"}
    card |= {"fingerprint": f"standin{last4}", "last4": last4, "networks": None, "wallet": None}
    found = state.add("payment_method", "pm_", card=card)
    state.behaviours[found["id"]] = behaviour
    return found


def attach(state: State, card: Object, customer: Object) -> Object:
    """Give a card to a customer; one that fails at once is refused."""
    behaviour = state.behaviours[card["id"]]
    if behaviour not in {"good", "declined_later"}:
        raise declined(behaviour)
    with state.change(card, "payment_method.attached"):
        card["customer"] = customer["id"]
    return card


def charge(state: State, intent: Object, card: Object) -> Object:
    """Try to collect what a payment intent asks for; the charge is succeeded or failed."""
    failure = FAILURES.get(state.behaviours[card["id"]])
    amount = intent["amount"]
    found = state.add(
        "charge",
        "ch_",
        amount=amount,
        amount_captured=0 if failure else amount,
        billing_details=card["billing_details"],
        captured=not failure,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        failure_code=failure[0] if failure else None,
        failure_message=failure[2] if failure else None,
        outcome=_outcome(failure),
        paid=not failure,
        payment_intent=intent["id"],
        payment_method=card["id"],
        payment_method_details={"type": "card", "card": card["card"]},
        status="failed" if failure else "succeeded",
    )
    if failure:
        error: Object = {"type": "card_error", "code": failure[0], "decline_code": failure[1], "message": failure[2]}
        error |= {"charge": found["id"], "payment_method": card}
        intent |= {"status": "requires_payment_method", "latest_charge": found["id"], "last_payment_error": error}
        state.emit("charge.failed", found)
        state.emit("payment_intent.payment_failed", intent)
        return found
    fee = amount * 14 // 1_000 + (25 if amount > 100 else 0)
    found["balance_transaction"] = _move(state, found, amount, "charge", fee=fee)["id"]
    intent |= {
        "status": "succeeded",
        "latest_charge": found["id"],
        "last_payment_error": None,
        "amount_received": amount,
    }
    intent["payment_method"] = card["id"]
    state.emit("charge.succeeded", found)
    state.emit("payment_intent.succeeded", intent)
    return found


def _outcome(failure: tuple[str, str, str] | None) -> Object:
    if failure is None:
        told = {"network_status": "approved_by_network", "type": "authorized", "seller_message": "Payment complete."}
        return told | {"reason": None, "risk_level": "normal"}
    told = {"network_status": "declined_by_network", "type": "issuer_declined", "seller_message": failure[2]}
    return told | {"reason": failure[1], "risk_level": "normal"}


def new_intent(state: State, *, amount: int, currency: str, customer: str | None, description: str) -> Object:
    """A payment intent that waits for a card."""
    found = state.add(
        "payment_intent", "pi_", amount=amount, currency=currency, customer=customer, description=description
    )
    found["client_secret"] = f"{found['id']}_secret_{state.new_id('')}"
    state.emit("payment_intent.created", found)
    return found


def refund(state: State, params: Object) -> Object:
    """Give a charge back, wholly or in part."""
    paid = _charge_of(state, params)
    left = paid["amount"] - paid["amount_refunded"]
    if paid["status"] != "succeeded":
        raise Refused(f"Charge {paid['id']} has not succeeded.", code="charge_not_refundable")
    if paid["disputed"]:
        raise Refused(f"Charge {paid['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    if left == 0:
        raise Refused(f"Charge {paid['id']} has already been refunded.", code="charge_already_refunded")
    amount = left if (asked := whole(params, "amount")) is None else asked
    if not 0 < amount <= left:
        raise Refused(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
    found = state.add(
        "refund",
        "re_",
        amount=amount,
        charge=paid["id"],
        currency=paid["currency"],
        metadata=params.get("metadata", {}),
        payment_intent=paid["payment_intent"],
        reason=params.get("reason") or None,
    )
    found["balance_transaction"] = _move(state, found, -amount, "refund")["id"]
    state.emit("refund.created", found)
    with state.change(paid, "charge.refunded"):
        paid["amount_refunded"] += amount
        paid["refunded"] = paid["amount_refunded"] == paid["amount"]
    return found


def _charge_of(state: State, params: Object) -> Object:
    if intent := params.get("payment_intent"):
        latest = state.get("payment_intent", intent, param="payment_intent")["latest_charge"]
        if not latest:
            raise Refused("This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
        return state.get("charge", latest)
    required(params, "charge")
    return state.get("charge", params["charge"], param="charge")


def fail_refund(state: State, id: str) -> Object:
    """The bank sends a refund back: the money is the merchant's again."""
    found = state.get("refund", id)
    if found["status"] != "succeeded":
        raise Refused(f"Refund {id} is {found['status']}.")
    paid = state.get("charge", found["charge"])
    with state.change(found, "refund.updated", "refund.failed"):
        found |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
        found["failure_balance_transaction"] = _move(state, found, found["amount"], "refund_failure")["id"]
    with state.change(paid, "charge.updated"):
        paid["amount_refunded"] -= found["amount"]
        paid["refunded"] = False
    return found


def dispute(state: State, charge_id: str) -> Object:
    """The payer's bank takes a charge back."""
    paid = state.get("charge", charge_id)
    if paid["status"] != "succeeded" or paid["disputed"]:
        raise Refused(f"Charge {charge_id} cannot be disputed.")
    due = {"due_by": state.now + 9 * DAY, "has_evidence": False, "past_due": False, "submission_count": 0}
    found = state.add(
        "dispute",
        "du_",
        amount=paid["amount"] - paid["amount_refunded"],
        charge=charge_id,
        currency=paid["currency"],
        evidence_details=due,
        payment_intent=paid["payment_intent"],
    )
    with state.change(paid, "charge.updated"):
        paid["disputed"] = True
    state.emit("charge.dispute.created", found)
    with state.change(found, "charge.dispute.funds_withdrawn"):
        found["balance_transactions"].append(_move(state, found, -found["amount"], "adjustment", fee=1_500))
    return found


def close_dispute(state: State, id: str, *, won: bool) -> Object:
    """The bank has decided."""
    found = state.get("dispute", id)
    if found["status"] in {"won", "lost"}:
        raise Refused(f"Dispute {id} is {found['status']} already.")
    found["status"] = "won" if won else "lost"
    if won:
        found["balance_transactions"].append(_move(state, found, found["amount"], "adjustment"))
        state.emit("charge.dispute.funds_reinstated", found)
    state.emit("charge.dispute.closed", found)
    return found


def _move(state: State, source: Object, amount: int, type: str, *, fee: int = 0) -> Object:
    category = {"adjustment": "dispute" if amount < 0 else "dispute_reversal"}.get(type, type)
    currency = source["currency"]
    detail = {"amount": fee, "application": None, "currency": currency, "description": None, "type": "stripe_fee"}
    return state.add(
        "balance_transaction",
        "txn_",
        amount=amount,
        available_on=state.now + 2 * DAY,
        currency=currency,
        fee=fee,
        fee_details=[detail] if fee else [],
        net=amount - fee,
        reporting_category=category,
        source=source["id"],
        type=type,
    )


def card_for(state: State, *ids: str | None) -> Object | None:
    """The first of these cards that there is."""
    for card in ids:
        if card:
            return state.get("payment_method", card)
    return None


def card_named(state: State, id: str, customer: Object) -> Object:
    """The card that a call names: one of the customer's, or one of Stripe's test cards, which it gets."""
    if id in TEST_CARDS:
        return attach(state, new_card(state, TEST_CARDS[id]), customer)
    card = state.get("payment_method", id, param="payment_method")
    if card["customer"] != customer["id"]:
        raise missing("payment_method", id, param="payment_method")
    return card
