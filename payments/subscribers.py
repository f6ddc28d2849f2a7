"""How the number of subscribers came about: who is new, who left, and whose failed payment was made good."""

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet

from . import dunning, months
from .dunning import Outcome
from .models import Invoice, Plan, Status, Subscription
from .months import Month
from .revenue import NO_PLAN

NEVER_BEGAN = (Status.INCOMPLETE, Status.INCOMPLETE_EXPIRED)


@dataclass(frozen=True, slots=True)
class Change:
    """Of one month and plan: subscriptions that began (trials too), that ended, and payments that failed and were paid
    after all, in the month in which they were."""

    new: int = 0
    churned: int = 0
    recovered: int = 0

    def __add__(self, other: "Change") -> "Change":
        return Change(self.new + other.new, self.churned + other.churned, self.recovered + other.recovered)


# By index of the month, and the plan's name.
Changes = dict[int, dict[str, Change]]


def by_month(over: list[Month], *, plan: str = "") -> Changes:
    """The changes of these months, of this mode; only months and plans in which something changed.

    Args:
        plan: the name of one, to leave the others out.
    """
    subscriptions = Subscription.objects.filter(livemode=settings.STRIPE_LIVE_MODE)
    invoices = Invoice.objects.filter(livemode=settings.STRIPE_LIVE_MODE, subscription__isnull=False)
    sources: list[tuple[str, QuerySet[Any], str, str]] = [
        ("new", began(subscriptions), "started_at", "plan"),
        ("churned", churned(subscriptions), "ended_at", "plan"),
        ("recovered", dunning.with_outcome(invoices, Outcome.RECOVERED), "paid_at", "subscription__plan"),
    ]
    names = _names()
    found: Changes = defaultdict(dict)
    for what, rows, time, path in sources:
        within = rows.filter(**{f"{time}__gte": over[0].start, f"{time}__lt": over[-1].end}).order_by()
        counted = within.annotate(month=months.index_of(time, over)).values_list("month", path).annotate(Count("pk"))
        for month, key, number in counted:
            name = names.get(key, NO_PLAN)
            if not plan or plan == name:
                change = found[month].get(name, Change())
                found[month][name] = replace(change, **{what: getattr(change, what) + number})
    return found


def began(subscriptions: QuerySet[Subscription]) -> QuerySet[Subscription]:
    """Those that were paid, or on trial, at some time."""
    return subscriptions.exclude(status__in=NEVER_BEGAN)


def churned(subscriptions: QuerySet[Subscription]) -> QuerySet[Subscription]:
    """Those that began, and have ended."""
    return began(subscriptions).filter(ended_at__isnull=False)


def standing() -> dict[str, dict[str, int]]:
    """How many have not ended now, by the plan's name and status."""
    names = _names()
    subscriptions = Subscription.objects.filter(livemode=settings.STRIPE_LIVE_MODE).standing().order_by()
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for key, status, number in subscriptions.values_list("plan", "status").annotate(Count("pk")):
        statuses = found[names.get(key, NO_PLAN)]
        statuses[status] = statuses.get(status, 0) + number
    return found


def _names() -> dict[int | None, str]:
    return {plan.pk: str(plan) for plan in Plan.objects.filter(livemode=settings.STRIPE_LIVE_MODE)}
