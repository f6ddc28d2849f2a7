"""Plans as they are offered to one person: what is on sale, what paying for longer saves, whose trial is free still.

Nothing here asks Stripe: the rows are brought up to date by its events.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from django.conf import settings

from . import customers, demo, stripe_api
from .facts import PAYMENTS_A_YEAR
from .models import Customer, Interval, Plan, PlanQuerySet, Subscription


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan, as one person sees it."""

    plan: Plan
    saved_percent: int  # against the plan of the same product that costs most over a year, rounded down
    recommended: bool
    trial_days: int
    is_theirs: bool


def on_sale() -> PlanQuerySet:
    """What may be bought with the key in the settings; without one the demo plans, which nobody can buy."""
    plans = Plan.objects.on_sale().filter(livemode=settings.STRIPE_LIVE_MODE)
    if stripe_api.is_configured():
        return plans.exclude(price_id__startswith=demo.PREFIX)
    return plans.filter(price_id__startswith=demo.PREFIX)


def offers(user: Any, *, currency: str) -> list[Offer]:
    """What is offered in `currency` to `user`, who may be anonymous."""
    customer = customers.of(user) if user.is_authenticated else None
    if customer is None:
        return _offers(currency)
    theirs = set(Subscription.objects.standing().filter(customer=customer).values_list("plan_id", flat=True))
    return _offers(currency, theirs=theirs, had_trial=has_had_trial(customer))


def alternatives(subscription: Subscription) -> list[Offer]:
    """What it can be changed to: the other plans in its currency, which Stripe cannot change."""
    return [offer for offer in _offers(subscription.currency, had_trial=True) if offer.plan.pk != subscription.plan_id]


def currencies(user: Any) -> list[str]:
    """The currencies of the plans on sale, the one that `user` pays in first: Stripe keeps a customer to it."""
    found = list(dict.fromkeys(on_sale().values_list("currency", flat=True)))
    if user.is_authenticated:
        rows = Subscription.objects.standing().filter(customer__user=user, livemode=settings.STRIPE_LIVE_MODE)
        theirs = set(rows.values_list("currency", flat=True))
        found.sort(key=lambda currency: currency not in theirs)
    return found


def has_had_trial(customer: Customer) -> bool:
    """Whether a subscription of theirs began with a trial: there is one for each customer."""
    return Subscription.objects.filter(customer=customer, trial_ends_at__isnull=False).exists()


def saved_percent(plan: Plan, plans: Sequence[Plan]) -> int:
    """By how much a year with `plan` is cheaper than with the dearest way among `plans` to pay for the same product."""
    dearest = max(_yearly(other) for other in plans if other.product_id == plan.product_id)
    return int(100 * (dearest - _yearly(plan)) / dearest) if dearest else 0


def _offers(currency: str, *, theirs: Collection[int | None] = (), had_trial: bool = False) -> list[Offer]:
    plans = list(on_sale().filter(currency=currency))
    saved = {plan.pk: saved_percent(plan, plans) for plan in plans}
    most = max(saved.values(), default=0)
    return [
        Offer(
            plan=plan,
            saved_percent=saved[plan.pk],
            recommended=saved[plan.pk] == most > 0,
            trial_days=0 if had_trial else plan.trial_days,
            is_theirs=plan.pk in theirs,
        )
        for plan in plans
    ]


def _yearly(plan: Plan) -> Fraction:
    return Fraction(plan.amount_minor * PAYMENTS_A_YEAR[Interval(plan.interval)], plan.interval_count)
