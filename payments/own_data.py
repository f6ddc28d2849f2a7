"""What this room keeps about a person: exported, and parted from the person when the account is erased.

Payment records are kept, as the law asks: a customer's rows stay under Stripe's ids, and nothing here says whose they
were. Stripe's own records of the customer are deleted there, by the operator (docs/how-to/erase-at-stripe.md).
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.models import User

from . import changes, locks, mirror, stripe_api
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


def requested(user: User) -> None:
    """Have nothing renewed at Stripe for a person whose account is about to be deleted.

    Raises:
        Unavailable, NotConfigured: where that cannot be said now.
    """
    with stripe_api.within(settings.STRIPE_TIMEOUT_SECONDS):
        for customer in _to_be_reached(user):
            changes.stop(customer)


def kept(user: User) -> None:
    """Have renewed after all what `requested` stopped, and nothing else.

    Raises:
        Unavailable, NotConfigured: where that cannot be said now.
    """
    with stripe_api.within(settings.STRIPE_TIMEOUT_SECONDS):
        for customer in _to_be_reached(user):
            changes.go_on(customer)


def prepare(user: User) -> None:
    """End at Stripe whatever would go on being charged to a person who is gone.

    Raises:
        Unavailable, NotConfigured: where it cannot be ended now.
    """
    for customer in _to_be_reached(user):
        changes.leave(customer)


def erase(user: User) -> None:
    """Part the payment records from the person."""
    now = timezone.now()
    for customer in Customer.objects.filter(_theirs(user)).distinct():
        locks.hold_customer(customer.customer_id)  # so that an event that is being written is forgotten too
        mirror.forget(customer.customer_id)
        Customer.objects.filter(pk=customer.pk).update(user=None, erased_at=now, address_due_at=None, updated_at=now)


def charged(users: Iterable[User]) -> set[int]:
    """The numbers of those who have a subscription that has not ended and is to be renewed."""
    going_on = Subscription.objects.renewing().filter(customer__user__in=[user.pk for user in users])
    if stripe_api.is_configured():  # what was tried in test mode costs nobody anything
        going_on = going_on.filter(livemode=settings.STRIPE_LIVE_MODE)
    return set(going_on.values_list("customer__user_id", flat=True))


def _to_be_reached(user: User) -> list[Customer]:
    """The customers of Stripe's by whom `user` may be charged, so far as the key in the settings reaches them.

    Raises:
        NotConfigured: where one has a subscription that goes on, and no key reaches it. In test mode nobody is charged,
            so that what is left of it does not stand in the way of a site that has gone live.
    """
    reached = []
    for customer in Customer.objects.filter(_theirs(user), deleted_at=None).distinct():
        if stripe_api.is_configured() and customer.livemode == settings.STRIPE_LIVE_MODE:
            reached.append(customer)
        elif (customer.livemode or not stripe_api.is_configured()) and customer.subscriptions.standing().exists():
            raise stripe_api.NotConfigured(f"The customer {customer} is charged, and no key here reaches it.")
    return reached


def _theirs(user: User) -> Q:
    """Of customers: who is the user's, or was, and still pays for the user."""
    return Q(user=user) | Q(user=None, subscriptions__membership__user=user)
