"""The ledger: what moved, once, in minor units of its currency. Rows are only ever added.

Whatever is seen last tells all that came before it: a refund that failed had been made, a dispute that was won had
been lost for a while. So the same rows stand at the end, in whatever order and however late the events come.
"""

from dataclasses import dataclass

from .models import Movement
from .shapes import Object, id_of, items, moment

Kind = Movement.Kind
# Inquiries, and chargebacks that were averted: no money was taken.
NOT_WITHDRAWN = ("warning_needs_response", "warning_under_review", "warning_closed", "prevented")


@dataclass(frozen=True, slots=True)
class Moved:
    """One movement that follows from an object of Stripe's: signed minor units, and when in seconds since 1970."""

    kind: Kind
    amount_minor: int
    at: int


def has_charge(charge_id: str) -> bool:
    """Whether a charge stands in the ledger."""
    return Movement.objects.filter(kind=Movement.Kind.CHARGE, stripe_id=charge_id).exists()


def of_charge(charge: Object) -> list[Moved]:
    """What a charge moved: what was collected."""
    if charge["status"] != "succeeded" or not charge["captured"]:
        return []
    return [Moved(Kind.CHARGE, charge["amount_captured"], charge["created"])]


def of_refund(refund: Object) -> list[Moved]:
    """What a refund moved: that it was made, and that it came back, if it did."""
    moved = any(refund.get(name) is not None for name in ("balance_transaction", "failure_balance_transaction"))
    made = Moved(Kind.REFUND, -refund["amount"], refund["created"])
    if refund["status"] in {"failed", "canceled"} and moved:
        failed = refund.get("failure_balance_transaction")
        at = failed["created"] if isinstance(failed, dict) else refund["created"]
        return [made, Moved(Kind.REFUND_FAILED, refund["amount"], at)]
    return [made] if refund["status"] == "succeeded" else []


def of_dispute(dispute: Object) -> list[Moved]:
    """What a dispute moved: what it took, and that it was given back, if it was."""
    if dispute["status"] in NOT_WITHDRAWN:
        return []
    taken = Moved(Kind.DISPUTE, -dispute["amount"], dispute["created"])
    if dispute["status"] != "won":
        return [taken]
    returned = [moved["created"] for moved in items(dispute.get("balance_transactions")) if moved["amount"] > 0]
    return [taken, Moved(Kind.DISPUTE_WON, dispute["amount"], min(returned, default=dispute["created"]))]


def record_charge(*, charge: Object, price_id: str = "") -> None:
    """Record what was collected; `price_id` is what was paid for, where it is known."""
    _add(of_charge(charge), charge, charge=charge, charge_id=charge["id"], price_id=price_id)


def record_refund(*, refund: Object, charge: Object | None) -> None:
    """Record what was given back.

    Args:
        charge: what is refunded; None for a refund of something else.
    """
    _add(of_refund(refund), refund, charge=charge, charge_id=id_of(refund.get("charge")))


def record_dispute(*, dispute: Object, charge: Object | None) -> None:
    """Record what was taken, and given back."""
    _add(of_dispute(dispute), dispute, charge=charge, charge_id=id_of(dispute.get("charge")))


def _add(moved: list[Moved], of: Object, *, charge: Object | None, charge_id: str, price_id: str = "") -> None:
    rows = [
        Movement(
            kind=each.kind,
            stripe_id=of["id"],
            charge_id=charge_id,
            customer_id=id_of((charge or {}).get("customer")),
            price_id=price_id,
            amount_minor=each.amount_minor,
            currency=of["currency"],
            occurred_at=moment(each.at),
            livemode=(charge or of).get("livemode", False),
        )
        for each in moved
    ]
    Movement.objects.bulk_create(rows, ignore_conflicts=True)
