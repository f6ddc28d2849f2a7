"""Rows as Stripe's events leave them behind, made by hand: for tests that look at what is made of them."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from accounts.models import User
from payments.models import Customer, Invoice, Movement, Plan, Subscription, WebhookEvent

numbers = count(1)


def days_ago(days: float) -> datetime:
    """That long before now."""
    return timezone.now() - timedelta(days=days)


def balance(currency: str, *, livemode: bool = False) -> int:
    """The sum of the ledger in a currency, in minor units."""
    found = Movement.objects.filter(currency=currency, livemode=livemode).aggregate(total=Sum("amount_minor"))
    return found["total"] or 0


def plan(name: str = "Membership", **more: Any) -> Plan:
    """A monthly plan of 9 euros."""
    values = {"price_id": f"price_{next(numbers)}", "currency": "eur", "amount_minor": 900, "interval": "month"}
    return Plan.objects.create(**{**values, "name": name, **more})


def customer(name: str = "", **more: Any) -> Customer:
    """A customer, by default without an account."""
    user = User.objects.create_user(name, f"{name}@example.org", "a long enough phrase") if name else None
    return Customer.objects.create(**{"user": user, "customer_id": f"cus_{next(numbers)}", **more})


def subscription(of: Customer, to: Plan | None, **more: Any) -> Subscription:
    """An active one, a month old."""
    bought = to or Plan(price_id="price_unknown", currency="eur", amount_minor=500, interval="month")
    values = {
        "subscription_id": f"sub_{next(numbers)}",
        "status": "active",
        "price_id": bought.price_id,
        "currency": bought.currency,
        "amount_minor": bought.amount_minor,
        "interval": bought.interval,
        "started_at": days_ago(30),
        "period_starts_at": days_ago(0),
        "period_ends_at": days_ago(-30),
        "livemode": of.livemode,
    }
    return Subscription.objects.create(**{**values, "customer": of, "plan": to, **more})


def invoice(of: Subscription, **more: Any) -> Invoice:
    """A paid one."""
    values = {
        "invoice_id": f"in_{next(numbers)}",
        "customer": of.customer,
        "number": f"B-{next(numbers):04}",
        "status": "paid",
        "billing_reason": "subscription_cycle",
        "currency": of.currency,
        "amount_due_minor": of.amount_minor,
        "amount_paid_minor": of.amount_minor,
        "issued_at": days_ago(1),
        "paid_at": days_ago(1),
        "attempts": 1,
        "livemode": of.livemode,
    }
    return Invoice.objects.create(**{**values, "subscription": of, **more})


def failed(of: Subscription, **more: Any) -> Invoice:
    """An invoice that could not be paid yet."""
    values = {
        "status": "open",
        "amount_paid_minor": 0,
        "paid_at": None,
        "failed_at": days_ago(1),
        "reason": "insufficient_funds",
        "decline_code": "insufficient_funds",
        "next_attempt_at": days_ago(-2),
    }
    return invoice(of, **{**values, **more})


def movement(kind: str, amount_minor: int, **more: Any) -> Movement:
    """A movement of euros, a day ago."""
    stripe_id = f"{ {'charge': 'ch', 'refund': 're', 'refund_failed': 're'}.get(kind, 'du') }_{next(numbers)}"
    values = {"stripe_id": stripe_id, "currency": "eur", "occurred_at": days_ago(1)}
    values["charge_id"] = stripe_id if kind == "charge" else ""
    return Movement.objects.create(**{**values, "kind": kind, "amount_minor": amount_minor, **more})


def event(type: str = "invoice.paid", **more: Any) -> WebhookEvent:
    """An event that was processed."""
    now = timezone.now()
    values = {"event_id": f"evt_{next(numbers)}", "created_at": now, "attempts": 1, "processed_at": now}
    return WebhookEvent.objects.create(**{**values, "type": type, "handled": True, **more})


def failed_event(type: str = "invoice.paid", **more: Any) -> WebhookEvent:
    """An event that could not be processed."""
    return event(type, **{"processed_at": None, "error": "Unavailable: Stripe does not answer.", **more})
