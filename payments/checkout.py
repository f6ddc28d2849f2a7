"""Checkout: from the choice of a plan to Stripe's page, and back from there.

However often and from however many tabs it is asked for, a customer ends with one open session at most, and with none
beside a subscription that stands. Every step leaves that true, whatever runs at the same time: a session is made,
*then* the others are expired, *then* Stripe is asked for subscriptions, so that one which was paid for meanwhile shows.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import stripe
from django.conf import settings

from accounts.models import User
from observability.problems import Conflict

from . import customers, offers, processing, standing, stripe_api
from .models import ENDED, Customer, Plan, Subscription


class Subscribed(Conflict):
    """A subscription stands already; another one beside it would be paid twice (409)."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where Stripe's page leads back to; `success` holds `{CHECKOUT_SESSION_ID}`."""

    success: str
    cancel: str


def start(*, user: User, plan: Plan, attempt: str, addresses: Addresses) -> str:
    """Begin, or go on with, the purchase of `plan`.

    Args:
        attempt: the same for every press of one button; what makes two clicks one session.

    Returns:
        The address of Stripe's page.

    Raises:
        Subscribed: where a subscription stands, here or at Stripe.
        Unavailable, NotConfigured: see `stripe_api`.
    """
    if standing.stands(user):
        raise Subscribed("You have a membership already.")
    customer = customers.get_or_create(user)
    wanted = _wanted(user=user, customer=customer, plan=plan, addresses=addresses)
    with stripe_api.reaching():
        session = _open(wanted, attempt)
        news = _not_known_here(customer)
        if news:
            _expire(session)
    if news:
        for subscription_id in news:
            processing.synchronise("subscription", subscription_id)
        raise Subscribed("Your membership was just brought up to date. Look at it before you buy another one.")
    return str(session.url)


def session_of(*, user: User, session_id: str) -> dict[str, Any] | None:
    """The Checkout session as Stripe has it now, without its being written anywhere; None where it is not this user's.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
    """
    client = stripe_api.client()
    with stripe_api.reaching():
        try:
            session = stripe_api.as_dict(client.v1.checkout.sessions.retrieve(session_id))
        except stripe.InvalidRequestError as error:
            if error.code == "resource_missing":
                return None
            raise
    return session if session.get("client_reference_id") == str(user.pk) else None


def _wanted(*, user: User, customer: Customer, plan: Plan, addresses: Addresses) -> dict[str, Any]:
    trial_days = 0 if offers.has_had_trial(customer) else plan.trial_days
    taxes = {"automatic_tax": {"enabled": True}, "customer_update": {"address": "auto", "name": "auto"}}
    return {
        "mode": "subscription",
        "customer": customer.customer_id,
        "client_reference_id": str(user.pk),
        "line_items": [{"price": plan.price_id, "quantity": 1}],
        "allow_promotion_codes": True,
        "subscription_data": {
            "metadata": {"user_id": str(user.pk)},
            **({"trial_period_days": trial_days} if trial_days else {}),
        },
        **(taxes if settings.STRIPE_AUTOMATIC_TAX else {}),
        "success_url": addresses.success,
        "cancel_url": addresses.cancel,
    }


def _open(wanted: dict[str, Any], attempt: str) -> stripe.checkout.Session:
    """The one session of the customer that is open at the end: for what is wanted, or for what was wanted since."""
    sessions = stripe_api.client().v1.checkout.sessions
    digest = hashlib.sha256(json.dumps([wanted, attempt], sort_keys=True).encode()).hexdigest()
    # An attempt that is made again, by the browser's button say, gets the session of then; if that is over, a new one.
    for key in (f"checkout-{digest}", f"checkout-{uuid4()}"):
        session = sessions.create(wanted, {"idempotency_key": key})  # type: ignore[arg-type]
        found = sessions.list({"customer": wanted["customer"], "status": "open", "limit": 100})
        still_open = {other.id: other for other in found.data if other.mode == "subscription"}
        if session.id in still_open:
            break
    newest = next(iter(still_open.values()), session)  # Stripe lists the latest first
    for other in still_open.values():
        if other.id != newest.id:
            _expire(other)
    return newest


def _expire(session: stripe.checkout.Session) -> None:
    with suppress(stripe.InvalidRequestError):  # it was paid, or has expired meanwhile: that shows next
        stripe_api.client().v1.checkout.sessions.expire(session.id)


def _not_known_here(customer: Customer) -> list[str]:
    """Subscriptions of which Stripe knows more than the rows here: those that stand, and those that were never seen."""
    found = stripe_api.client().v1.subscriptions.list({"customer": customer.customer_id, "status": "all", "limit": 100})
    known = set(Subscription.objects.filter(customer=customer).values_list("subscription_id", flat=True))
    return [one.id for one in found.data if one.status not in ENDED or one.id not in known]
