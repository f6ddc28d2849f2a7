"""Customers: which of Stripe's customers a user is."""

from functools import partial
from hashlib import sha256
from typing import Any

import stripe
import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User, display_name

from . import locks, stripe_api, subscriptions
from .models import Customer
from .shapes import Object, moment, number

ADDRESS_SECONDS = 3.0  # for telling Stripe an address, while its owner waits
KEYS = 4  # that are tried, each of which Stripe may have spoilt

log = structlog.get_logger("payments")


def of(user: User) -> Customer | None:
    """The customer that pays for `user`, in the mode of the key in the settings; None where there is none."""
    found = Customer.objects.filter(user=user).first()
    return found if found and _can_pay(found) else None


def get_or_create(user: User) -> Customer:
    """The customer that pays for `user`; made at Stripe where there is none. No transaction may be open.

    However many ask at once, Stripe makes one: they all send the same idempotency key.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
    """
    former = Customer.objects.filter(user=user).first()
    if former is not None and _can_pay(former):
        return former
    wanted = {"email": user.email, "name": display_name(user), "metadata": {"user_id": str(user.pk)}}
    key = f"customer-of-user-{user.pk}-{'live' if settings.STRIPE_LIVE_MODE else 'test'}"
    if former is not None:
        key += f"-after-{former.customer_id}"
    # Stripe refuses a key that comes again with something else, such as an address that was changed meanwhile.
    key += f"-{sha256(repr(wanted).encode()).hexdigest()[:16]}"
    locks.give_back_connection()
    with stripe_api.reaching():
        made = _make(wanted, key)
    with transaction.atomic():
        locks.hold_customer(made.id)
        if former is not None:
            Customer.objects.filter(pk=former.pk, user=user).update(user=None, updated_at=timezone.now())
        customer = store(customer=stripe_api.as_dict(made))
    return customer if customer.user_id == user.pk else Customer.objects.get(user=user)


def store(*, customer: Object) -> Customer:
    """Bring a customer up to date; the first that names a user in its metadata becomes that user's."""
    row = Customer.objects.filter(customer_id=customer["id"]).first()
    if customer.get("deleted"):
        return _deleted(row, customer["id"])
    if row is None:
        values = {"livemode": customer["livemode"], "created_at": moment(customer["created"])}
        row, _ = Customer.objects.get_or_create(customer_id=customer["id"], defaults=values)
    link(user_id=number((customer.get("metadata") or {}).get("user_id")), customer=row)
    return row


def address_changed(user: User) -> None:
    """Have Stripe write to the new address of an account; where it cannot be told now, `reconcile_stripe` tells it."""
    now = timezone.now()
    Customer.objects.filter(user=user, deleted_at=None).update(address_due_at=now, updated_at=now)
    transaction.on_commit(partial(_try_to_tell, user))


def tell_address(customer: Customer) -> None:
    """Tell Stripe the address of the account. No transaction may be open.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
        stripe.InvalidRequestError: where Stripe knows no such customer, say.
    """
    if customer.user is None:
        return
    locks.give_back_connection()
    with stripe_api.reaching():
        stripe_api.client().v1.customers.update(customer.customer_id, {"email": customer.user.email})
    now, still = timezone.now(), Customer.objects.filter(pk=customer.pk, user=customer.user)
    if not still.filter(address_due_at=customer.address_due_at).update(address_due_at=None, updated_at=now):
        # It has changed again meanwhile, and Stripe may have been told of that before: this was the older one.
        still.update(address_due_at=now, updated_at=now)


def _try_to_tell(user: User) -> None:
    customer = Customer.objects.with_another_address().filter(user=user).first()
    if customer is None or not _can_pay(customer):
        return
    try:
        with stripe_api.within(ADDRESS_SECONDS):
            tell_address(customer)
    except (stripe_api.NotConfigured, stripe_api.Unavailable, stripe.StripeError):
        log.warning("address_not_told", customer_id=customer.customer_id, exc_info=True)


def link(*, user_id: int, customer: Customer) -> bool:
    """Make a customer a user's, unless either has another already; what it pays for counts for that user from now on.

    Returns:
        Whether it is.
    """
    if customer.user_id is not None:
        return customer.user_id == user_id
    # Locked, so that of two customers that name the same user one comes first.
    user = User.objects.select_for_update().filter(pk=user_id).first()
    if user is None or Customer.objects.filter(user=user).exists():
        return False
    customer.user = user
    customer.save(update_fields=["user", "updated_at"])
    for subscription in customer.subscriptions.select_related("membership"):
        subscriptions.give_access(subscription)
    return True


def _make(wanted: dict[str, Any], key: str) -> stripe.Customer:
    """Make one by that key; where Stripe has kept a failure of its own under it, by the next one, the same for all."""
    create = stripe_api.client().v1.customers.create
    for again in range(KEYS - 1):
        try:
            return create(wanted, {"idempotency_key": f"{key}-{again}" if again else key})  # type: ignore[arg-type]
        except stripe.APIError as error:
            if not stripe_api.is_replayed(error):
                raise
    return create(wanted, {"idempotency_key": f"{key}-{KEYS - 1}"})  # type: ignore[arg-type]


def _can_pay(customer: Customer) -> bool:
    """Not one who was deleted at Stripe, or is of the other mode."""
    return customer.deleted_at is None and customer.livemode == settings.STRIPE_LIVE_MODE


def _deleted(row: Customer | None, customer_id: str) -> Customer:
    now = timezone.now()
    if row is None:
        livemode = settings.STRIPE_LIVE_MODE
        row, _ = Customer.objects.get_or_create(
            customer_id=customer_id, defaults={"livemode": livemode, "deleted_at": now}
        )
    elif row.deleted_at is None:
        row.deleted_at = now
        row.save(update_fields=["deleted_at", "updated_at"])
    return row
