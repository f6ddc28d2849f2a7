"""What this room keeps about a person: exported, and parted from the person when the account is erased.

Payment records are kept, as the law asks: a customer's rows stay under Stripe's ids, and nothing here says whose they
were. Stripe's own records of the customer are deleted there, by the operator (docs/how-to/erase-at-stripe.md).
"""

from typing import Any

from accounts.models import User

from . import changes, customers, mirror
from .models import Customer, Invoice, Movement, Subscription


def export(user: User) -> dict[str, Any]:
    """Subscriptions, invoices and payments."""
    customer = Customer.objects.filter(user=user).first()
    if customer is None:
        return {}
    return {
        "customer": customer.customer_id,
        "subscriptions": [
            {
                "id": subscription.subscription_id,
                "plan": subscription.plan.name if subscription.plan else subscription.price_id,
                "status": subscription.status,
                "started_at": subscription.started_at.isoformat(),
                "ended_at": subscription.ended_at.isoformat() if subscription.ended_at else None,
            }
            for subscription in Subscription.objects.filter(customer=customer).select_related("plan")
        ],
        "invoices": [
            {
                "id": invoice.invoice_id,
                "number": invoice.number,
                "status": invoice.status,
                "amount_due_minor": invoice.amount_due_minor,
                "amount_paid_minor": invoice.amount_paid_minor,
                "currency": invoice.currency,
                "issued_at": invoice.issued_at.isoformat(),
            }
            for invoice in Invoice.objects.filter(customer=customer)
        ],
        "payments": [
            {
                "kind": movement.kind,
                "amount_minor": movement.amount_minor,
                "currency": movement.currency,
                "occurred_at": movement.occurred_at.isoformat(),
            }
            for movement in Movement.objects.filter(customer_id=customer.customer_id)
        ],
    }


def prepare(user: User) -> None:
    """End at Stripe whatever would go on being charged to a person who is gone.

    Raises:
        Unavailable, NotConfigured: where it cannot be ended now.
    """
    customer = customers.of(user)
    if customer is not None:
        changes.leave(customer)


def erase(user: User) -> None:
    """Part the payment records from the person."""
    for customer in Customer.objects.filter(user=user):
        mirror.forget(customer.customer_id)
    Customer.objects.filter(user=user).update(user=None)
