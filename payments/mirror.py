"""dj-stripe's mirror of Stripe's objects: for looking things up in the admin. Nothing that matters is read from it.

It is written in the transaction that writes our own rows, and so it must not call Stripe: in `stripe_api.answering`
what it asks for is answered from what was fetched, or refused with `NotFetched`. What it cannot store is noted, and
costs nothing else: the shapes of Stripe's objects change more often than dj-stripe.
"""

from typing import Any

import stripe
import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from djstripe import models as djstripe
from djstripe.models.api import get_api_key_details_by_prefix

from observability.logs import redacted

from . import locks, stripe_api
from .shapes import Object

MODELS = {
    "product": djstripe.Product,
    "price": djstripe.Price,
    "customer": djstripe.Customer,
    "subscription": djstripe.Subscription,
    "invoice": djstripe.Invoice,
    "charge": djstripe.Charge,
    "refund": djstripe.Refund,
    "dispute": djstripe.Dispute,
    "checkout.session": djstripe.Session,
}
UNKNOWN_ACCOUNT = "acct_unknown"  # a restricted key may not ask whose it is

log = structlog.get_logger("bambisleep.payments")


def prepare() -> None:
    """Make sure that dj-stripe knows the key and its account, which it would else ask for with every object.

    Raises:
        stripe.StripeError: where Stripe does not answer.
    """
    key = settings.STRIPE_SECRET_KEY
    if djstripe.APIKey.objects.filter(secret=key, djstripe_owner_account__isnull=False).exists():
        return
    locks.give_back_connection()
    try:
        data = stripe_api.as_dict(stripe.Account.retrieve(api_key=key))
    except stripe.PermissionError:
        data = {"id": UNKNOWN_ACCOUNT, "object": "account"}
    type_of_key, livemode = get_api_key_details_by_prefix(key)
    with locks.turn(), transaction.atomic():
        locks.hold("djstripe_account")
        account, _ = djstripe.Account.objects.get_or_create(id=data["id"], defaults={"stripe_data": data})
        djstripe.APIKey.objects.update_or_create(
            secret=key, defaults={"type": type_of_key, "livemode": livemode, "djstripe_owner_account": account}
        )


def store(kind: str, data: Object) -> str:
    """Mirror one object; inside `stripe_api.answering`.

    Returns:
        What was wrong with it; "" where nothing was.

    Raises:
        NotFetched: where Stripe has to be asked for something else first.
    """
    key = settings.STRIPE_SECRET_KEY
    try:
        with transaction.atomic():
            found: Any = stripe.convert_to_stripe_object(dict(data), key)
            sync: Any = MODELS[kind].sync_from_stripe_data
            sync(found, api_key=key)
    except OperationalError:
        raise  # the transaction is no more: a deadlock, or the database went away
    except Exception as error:
        log.warning("mirror_failed", kind=kind, object_id=data["id"], exc_info=True)
        return redacted(f"{kind} {data['id']}: {type(error).__name__}: {error}")[:500]
    return ""


def has(kind: str, object_id: str) -> bool:
    """Whether an object is mirrored, as it is or as it was."""
    model: Any = MODELS[kind]
    return bool(model.objects.filter(id=object_id).exists())


def forget(customer_id: str) -> None:
    """Delete what is mirrored of a customer who is no more: names, addresses and cards stand all over it."""
    for relation in djstripe.Customer._meta.related_objects:
        rows: Any = relation.related_model
        rows.objects.filter(**{f"{relation.field.name}__id": customer_id}).delete()
    djstripe.Customer.objects.filter(id=customer_id).delete()
