"""The ledger: what moved, once, in minor units of its currency. Rows are only ever added.

Whatever is seen last tells all that came before it: a refund that failed had been made, a dispute that was won had
been lost for a while. So the same rows stand at the end, in whatever order and however late the events come.
"""

from django.db.models import Sum

from .models import Movement
from .shapes import Object, id_of, items, moment

# Inquiries, and chargebacks that were averted: no money was taken.
NOT_WITHDRAWN = ("warning_needs_response", "warning_under_review", "warning_closed", "prevented")


def has_charge(charge_id: str) -> bool:
    """Whether a charge stands in the ledger."""
    return Movement.objects.filter(kind=Movement.Kind.CHARGE, stripe_id=charge_id).exists()


def record_charge(*, charge: Object, price_id: str = "") -> None:
    """Record a charge that was collected; `price_id` is what was paid for, where it is known."""
    if charge["status"] != "succeeded" or not charge["captured"]:
        return
    _add(
        Movement.Kind.CHARGE,
        charge,
        charge=charge,
        amount_minor=charge["amount_captured"],
        at=charge["created"],
        price_id=price_id,
    )


def record_refund(*, refund: Object, charge: Object | None) -> None:
    """Record a refund that was made, and that it came back, if it did.

    Args:
        charge: what is refunded; None for a refund of something else.
    """
    moved = any(refund.get(name) is not None for name in ("balance_transaction", "failure_balance_transaction"))
    came_back = refund["status"] in {"failed", "canceled"} and moved
    if refund["status"] == "succeeded" or came_back:
        _add(Movement.Kind.REFUND, refund, charge=charge, amount_minor=-refund["amount"], at=refund["created"])
    if came_back:
        failed = refund.get("failure_balance_transaction")
        at = failed["created"] if isinstance(failed, dict) else refund["created"]
        _add(Movement.Kind.REFUND_FAILED, refund, charge=charge, amount_minor=refund["amount"], at=at)


def record_dispute(*, dispute: Object, charge: Object | None) -> None:
    """Record what a dispute took, and that it was given back, if it was."""
    if dispute["status"] in NOT_WITHDRAWN:
        return
    _add(Movement.Kind.DISPUTE, dispute, charge=charge, amount_minor=-dispute["amount"], at=dispute["created"])
    if dispute["status"] == "won":
        returned = [moved["created"] for moved in items(dispute.get("balance_transactions")) if moved["amount"] > 0]
        at = min(returned, default=dispute["created"])
        _add(Movement.Kind.DISPUTE_WON, dispute, charge=charge, amount_minor=dispute["amount"], at=at)


def balance(currency: str, *, livemode: bool = False) -> int:
    """The sum of the ledger in a currency, in minor units."""
    found = Movement.objects.filter(currency=currency, livemode=livemode).aggregate(total=Sum("amount_minor"))
    return found["total"] or 0


def _add(
    kind: Movement.Kind, of: Object, *, charge: Object | None, amount_minor: int, at: int, price_id: str = ""
) -> None:
    row = Movement(
        kind=kind,
        stripe_id=of["id"],
        charge_id=id_of(of) if kind == Movement.Kind.CHARGE else id_of(of.get("charge")),
        customer_id=id_of((charge or {}).get("customer")),
        price_id=price_id,
        amount_minor=amount_minor,
        currency=of["currency"],
        occurred_at=moment(at),
        livemode=(charge or of).get("livemode", False),
    )
    Movement.objects.bulk_create([row], ignore_conflicts=True)
