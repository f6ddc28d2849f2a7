"""Invoices: what members find on their page, and the payments that failed.

Why a payment failed first is read from its charges, so that the same stands here in whatever order the events come.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from .models import Customer, Invoice, Reason, Subscription
from .shapes import Object, id_of, items, moment

REASONS = {
    Reason.INSUFFICIENT_FUNDS: {"insufficient_funds"},
    Reason.EXPIRED_CARD: {"expired_card"},
    Reason.AUTHENTICATION_REQUIRED: {
        "authentication_required",
        "invoice_payment_intent_requires_action",
        "payment_intent_authentication_failure",
        "subscription_payment_intent_requires_action",
    },
    Reason.PROCESSING_ERROR: {"processing_error", "issuer_not_available", "reenter_transaction", "try_again_later"},
    Reason.CARD_DECLINED: {"card_declined"},
}


@dataclass(frozen=True, slots=True)
class Failure:
    """The first time that an invoice could not be paid; `decline_code` is Stripe's or the bank's own word."""

    at: datetime
    reason: Reason
    decline_code: str


def has_failed(invoice: Object) -> bool:
    """Whether the invoice itself tells of a payment that failed; one that was paid at last by hand may not."""
    attempts = invoice.get("attempt_count") or 0
    return attempts > (1 if invoice["status"] == "paid" else 0)


def failure_is_known(invoice_id: str) -> bool:
    """Whether its first failure stands here."""
    return Invoice.objects.failed().filter(invoice_id=invoice_id).exists()


def payment_intents(invoice: Object) -> list[Any]:
    """What it was tried to be paid with: ids, or whole where they are expanded."""
    payments = [payment["payment"] for payment in items(invoice.get("payments"))]
    return [payment["payment_intent"] for payment in payments if payment.get("payment_intent")]


def first_failure(*, invoice: Object, charges: Collection[Object]) -> Failure:
    """How an invoice failed first.

    Args:
        charges: what was tried. Where there is none that failed, the bank was never asked.
    """
    failed = min(
        (charge for charge in charges if charge["status"] == "failed"),
        key=lambda charge: (charge["created"], charge["id"]),
        default=None,
    )
    if failed is not None:
        code, outcome = failed.get("failure_code") or "", failed.get("outcome") or {}
        decline_code = outcome.get("reason") or code
        return Failure(moment(failed["created"]), reason_of(code, decline_code), decline_code[:60])
    intents = [intent for intent in payment_intents(invoice) if isinstance(intent, dict)]
    waits = any(intent.get("status") == "requires_action" for intent in intents)
    errors = [intent.get("last_payment_error") or {} for intent in intents]
    code = next((error["code"] for error in errors if error.get("code")), "")
    at = moment((invoice.get("status_transitions") or {}).get("finalized_at") or invoice["created"])
    if waits or code:
        return Failure(at, Reason.AUTHENTICATION_REQUIRED if waits else reason_of(code, code), code[:60])
    return Failure(at, Reason.NO_PAYMENT_METHOD, "")


def reason_of(code: str, decline_code: str) -> Reason:
    """Our word for Stripe's code and the bank's (docs.stripe.com/declines/codes)."""
    return next((reason for reason, codes in REASONS.items() if codes & {code, decline_code}), Reason.OTHER)


def store(*, invoice: Object, failure: Failure | None = None) -> Invoice:
    """Bring an invoice up to date, whose customer is known here; the first failure that is told stays."""
    transitions = invoice.get("status_transitions") or {}
    subscription = Subscription.objects.filter(subscription_id=subscription_id(invoice)).first()
    values: dict[str, Any] = {
        "customer": Customer.objects.get(customer_id=id_of(invoice["customer"])),
        "subscription": subscription,
        "number": invoice.get("number") or "",
        "status": invoice["status"],
        "billing_reason": (invoice.get("billing_reason") or "")[:40],
        "currency": invoice["currency"],
        "amount_due_minor": invoice["amount_due"],
        "amount_paid_minor": invoice["amount_paid"],
        "hosted_url": (invoice.get("hosted_invoice_url") or "")[:2048],
        "pdf_url": (invoice.get("invoice_pdf") or "")[:2048],
        "issued_at": moment(transitions.get("finalized_at") or invoice["created"]),
        "paid_at": moment(transitions.get("paid_at")),
        "attempts": invoice.get("attempt_count") or 0,
        "next_attempt_at": moment(invoice.get("next_payment_attempt")),
        "livemode": invoice["livemode"],
    }
    row, _ = Invoice.objects.update_or_create(invoice_id=invoice["id"], defaults=values)
    record_failure(invoice_id=invoice["id"], failure=failure)
    return row


def record_failure(*, invoice_id: str, failure: Failure | None) -> None:
    """Keep the first failure of an invoice that stands here; where one is known already, that one."""
    if failure is not None:
        Invoice.objects.filter(invoice_id=invoice_id, failed_at=None).update(
            failed_at=failure.at,
            reason=failure.reason,
            decline_code=failure.decline_code,
            updated_at=timezone.now(),
        )


def forget_draft(*, invoice_id: str) -> None:
    """Delete what Stripe no longer knows: a draft."""
    Invoice.objects.filter(invoice_id=invoice_id, status="draft").delete()


def subscription_id(invoice: Object) -> str:
    """Whose invoice it is; "" where it is of none."""
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return id_of(details.get("subscription") or invoice.get("subscription"))


def price_id(invoice: Object) -> str:
    """What was bought: the price of the line that costs most, since a change of plan gives the old one back."""
    lines = [line for line in items(invoice.get("lines")) if _price_of(line)]
    return _price_of(max(lines, key=lambda line: (line["amount"], line["id"]))) if lines else ""


def _price_of(line: Object) -> str:
    details = (line.get("pricing") or {}).get("price_details") or {}
    return id_of(details.get("price") or line.get("price"))
