"""Fetching from Stripe what an event, or whoever asks, is about: fresh, and with what cannot be stored without it.

No transaction is open while Stripe is asked, and no connection to the database is held either. Every object that is
fetched has a ticket, taken before (`payments.revisions`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import stripe

from . import invoices, ledger, locks, revisions, stripe_api, subscriptions
from .models import Customer, Plan, Subscription
from .shapes import Object, id_of

EXPAND = {
    "charge": ["balance_transaction", "payment_intent.payment_method"],
    "refund": ["balance_transaction", "failure_balance_transaction"],
    "invoice": ["discounts", "lines.data.discounts", "payments.data.payment.payment_intent"],
}
BEFORE_PAYMENT = ("invoice.created", "invoice.finalized", "invoice.updated")


@dataclass(frozen=True, slots=True)
class Copy:
    """One of Stripe's objects as it was when it was fetched; `data` is None where Stripe no longer knows it."""

    kind: str
    ticket: revisions.Ticket
    data: Object | None
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def object_id(self) -> str:
        """Stripe's id of it."""
        return self.ticket.object_id

    @property
    def customer_id(self) -> str:
        """Whose it is, as far as it says so itself."""
        return self.object_id if self.kind == "customer" else id_of((self.data or {}).get("customer"))


def fetch(kind: str, object_id: str, *, event_type: str = "") -> list[Copy]:
    """The object, preceded by what it is stored with.

    Args:
        event_type: what Stripe told of it, if it did. A payment that failed may have been made since, and what is said
            of an invoice before it is due to be paid says nothing of the subscription.

    Raises:
        Unavailable: where Stripe does not answer, or what it answers is nonsense.
        ValueError: where `kind` is not among `KINDS`.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind} is nothing that is fetched.")
    if kind == "invoice":
        return _invoice(object_id, event_type=event_type)
    return KINDS[kind](object_id)


def _product(product_id: str) -> list[Copy]:
    ticket = revisions.ask(product_id)
    product = _retrieve("product", product_id)
    prices = list(_listed("prices", {"product": product_id})) if product else []
    return [Copy("product", ticket, product, {"prices": prices})]


def _price(price_id: str) -> list[Copy]:
    """A price is stored with its product, and with the other prices of that."""
    ticket = revisions.ask(price_id)
    price = _retrieve("price", price_id)
    return [*(_product(id_of(price["product"])) if price else []), Copy("price", ticket, price)]


def _customer(customer_id: str) -> list[Copy]:
    ticket = revisions.ask(customer_id)
    return [Copy("customer", ticket, _retrieve("customer", customer_id))]


def _customer_unless_known(customer_id: str) -> list[Copy]:
    if not customer_id or Customer.objects.filter(customer_id=customer_id).exists():
        return []
    return _customer(customer_id)


def _subscription(subscription_id: str) -> list[Copy]:
    ticket = revisions.ask(subscription_id)
    found = _retrieve("subscription", subscription_id)
    copy = Copy("subscription", ticket, found)
    if found is None:
        return [copy]
    return [*_customer_unless_known(copy.customer_id), *_prices_unless_known(found), copy]


def _prices_unless_known(subscription: Object) -> list[Copy]:
    wanted = subscriptions.price_ids(subscription)
    known = set(Plan.objects.filter(price_id__in=wanted).values_list("price_id", flat=True))
    return [copy for price_id in wanted if price_id not in known for copy in _price(price_id)]


def _invoice(invoice_id: str, *, event_type: str = "") -> list[Copy]:
    ticket = revisions.ask(invoice_id)
    found = _retrieve("invoice", invoice_id)
    if found is None:
        return [Copy("invoice", ticket, None)]
    failure, payment_failed = None, event_type == "invoice.payment_failed"
    if (payment_failed or invoices.has_failed(found)) and not invoices.failure_is_known(invoice_id):
        charges = [
            charge
            for intent in invoices.payment_intents(found)
            for charge in _listed("charges", {"payment_intent": id_of(intent)})
        ]
        failure = invoices.first_failure(invoice=found, charges=charges)
    copy = Copy("invoice", ticket, found, {"failure": failure})
    subscription_id = invoices.subscription_id(found)
    if event_type in BEFORE_PAYMENT and Subscription.objects.filter(subscription_id=subscription_id).exists():
        subscription_id = ""
    before = _subscription(subscription_id) if subscription_id else []
    if not any(other.object_id == copy.customer_id for other in before):
        before = [*_customer_unless_known(copy.customer_id), *before]
    return [*before, copy]


def _charge(charge_id: str) -> list[Copy]:
    """A charge, with everything that was given back of it."""
    ticket = revisions.ask(charge_id)
    charge = _retrieve("charge", charge_id)
    if charge is None:
        return [Copy("charge", ticket, None)]
    beside: dict[str, Any] = {"refunds": [], "price_id": ""}
    if charge["status"] == "succeeded":
        expand = [f"data.{path}" for path in EXPAND["refund"]]
        beside["refunds"] = list(_listed("refunds", {"charge": charge_id, "expand": expand}))
        beside["price_id"] = "" if ledger.has_charge(charge_id) else _paid_for(charge)
    return [Copy("charge", ticket, charge, beside)]


def _paid_for(charge: Object) -> str:
    intent = id_of(charge.get("payment_intent"))
    if not intent:
        return ""
    asked = {"payment": {"type": "payment_intent", "payment_intent": intent}, "expand": ["data.invoice"]}
    found = next(_listed("invoice_payments", asked), None)
    invoice = (found or {}).get("invoice")
    return invoices.price_id(invoice) if isinstance(invoice, dict) else ""


def _refund(refund_id: str) -> list[Copy]:
    """A refund stands with the charge that it is of; by itself where it is of none."""
    ticket = revisions.ask(refund_id)
    refund = _retrieve("refund", refund_id)
    charge_id = id_of((refund or {}).get("charge"))
    return _charge(charge_id) if charge_id else [Copy("refund", ticket, refund)]


def _dispute(dispute_id: str) -> list[Copy]:
    """A dispute, preceded by its charge."""
    ticket = revisions.ask(dispute_id)
    dispute = _retrieve("dispute", dispute_id)
    charge_id = id_of((dispute or {}).get("charge"))
    charges = _charge(charge_id) if charge_id else []
    return [*charges, Copy("dispute", ticket, dispute, {"charge": charges[0].data if charges else None})]


def _session(session_id: str) -> list[Copy]:
    """A Checkout session, preceded by the customer it names and the subscription it made."""
    ticket = revisions.ask(session_id)
    found = _retrieve("checkout.session", session_id)
    copy = Copy("checkout.session", ticket, found)
    customer_id, subscription_id = copy.customer_id, id_of((found or {}).get("subscription"))
    customer = _customer(customer_id) if customer_id else []
    subscription = _subscription(subscription_id) if subscription_id else []
    once = {other.object_id: other for other in (*customer, *subscription)}
    return [*once.values(), copy]


KINDS: dict[str, Callable[[str], list[Copy]]] = {
    "product": _product,
    "price": _price,
    "customer": _customer,
    "subscription": _subscription,
    "invoice": _invoice,
    "charge": _charge,
    "refund": _refund,
    "dispute": _dispute,
    "checkout.session": _session,
}
PATHS = {kind: f"/v1/{kind.replace('.', '/')}s" for kind in KINDS}


def _retrieve(kind: str, object_id: str) -> Object | None:
    """One object; None where Stripe does not know it."""
    try:
        found = _ask(f"{PATHS[kind]}/{object_id}", {"expand": EXPAND[kind]} if kind in EXPAND else {})
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            return None
        raise
    if found.get("object") != kind or found.get("id") != object_id:
        raise stripe_api.Unavailable(f"Stripe answered something else than the {kind} {object_id}.")
    return found


def _listed(name: str, params: dict[str, Any]) -> Iterator[Any]:
    """What a list holds, page by page."""
    for page in stripe_api.pages(name, params, ask=_ask):
        yield from page


def _ask(path: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """GET, as plain JSON."""
    locks.give_back_connection()  # a slow answer of Stripe's costs nobody else one
    return stripe_api.get(path, params)
