"""Payment facts: what the ledger, the subscriptions, the invoices and the log of webhooks add up to.

Of the mode of the key in the settings alone, test or live. Amounts are in minor units of the currency.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction

from django.conf import settings
from django.db.models import Count, Max, Sum

from observability.facts import Sample, counter, fact, gauge

from .models import (
    Interval,
    Invoice,
    Movement,
    Plan,
    Reason,
    Status,
    Subscription,
    SubscriptionQuerySet,
    WebhookEvent,
)

MOST_PLANS = 50
OTHER = "other"
PAYMENTS_A_YEAR = {Interval.DAY: 365, Interval.WEEK: 52, Interval.MONTH: 12, Interval.YEAR: 1}

VALUE = counter("stripe_payment_value_total", "Settled charges, gross, in the currency's minor units.", "currency")
REFUNDS = counter("stripe_payment_refunds_total", "Refunds made, in the currency's minor units.", "currency")
DISPUTES = counter(
    "stripe_payment_disputes_total", "Payments taken back by a dispute, in the currency's minor units.", "currency"
)
ACTIVE = gauge("stripe_subscriptions_active", "Subscriptions that are paid or on trial, by plan.", "plan")
SUBSCRIPTIONS = gauge("stripe_subscriptions", "Subscriptions by Stripe's status.", "status")
RECURRING = gauge(
    "stripe_monthly_recurring_revenue",
    "What the paid subscriptions bring in a month before discounts and tax, in the currency's minor units.",
    "currency",
)
FAILURES = counter(
    "stripe_subscription_failures_total",
    "Invoices of subscriptions whose payment failed, each counted once, by the first reason.",
    "reason",
)
RENEWALS = counter("stripe_subscription_renewals_total", "Invoices that paid for another period.")
LAST_PROCESSED = gauge(
    "stripe_webhook_last_processed_timestamp_seconds", "When an event was processed last, in Unix time."
)


@fact(VALUE, REFUNDS, DISPUTES, reads=[Movement, Plan])
def movements() -> Iterator[Sample]:
    """Sums of the ledger; 0 in the currencies of the plans on sale. What came back later is not taken off again."""
    rows = Movement.objects.filter(livemode=settings.STRIPE_LIVE_MODE).order_by().values_list("kind", "currency")
    sums = {(kind, currency): abs(total) for kind, currency, total in rows.annotate(total=Sum("amount_minor"))}
    currencies = sorted(_currencies_on_sale() | {currency for _, currency in sums})
    for metric, kind in (
        (VALUE, Movement.Kind.CHARGE),
        (REFUNDS, Movement.Kind.REFUND),
        (DISPUTES, Movement.Kind.DISPUTE),
    ):
        for currency in currencies:
            yield metric.sample(sums.get((kind, currency), 0), currency)


@fact(ACTIVE, SUBSCRIPTIONS, RECURRING, reads=[Subscription, Plan])
def subscriptions() -> Iterator[Sample]:
    """Subscriptions by plan and by status, and what the paid ones bring in a month."""
    ours = Subscription.objects.filter(livemode=settings.STRIPE_LIVE_MODE).order_by()
    yield from _by_plan(ours.counted())
    by_status = dict(ours.values_list("status").annotate(number=Count("pk")))
    for status in sorted({*Status.values, *by_status}):
        yield SUBSCRIPTIONS.sample(by_status.get(status, 0), status)
    paid = ours.filter(status=Status.ACTIVE).values_list("currency", "interval", "interval_count")
    monthly: dict[str, Fraction] = defaultdict(Fraction, dict.fromkeys(_currencies_on_sale(), Fraction()))
    for currency, interval, interval_count, total in paid.annotate(total=Sum("amount_minor")):
        monthly[currency] += Fraction(total * PAYMENTS_A_YEAR[Interval(interval)], 12 * interval_count)
    for currency, amount in sorted(monthly.items()):
        yield RECURRING.sample(round(amount), currency)  # half to even


@fact(FAILURES, RENEWALS, reads=[Invoice])
def invoices() -> Iterator[Sample]:
    """Subscriptions' invoices that failed, and those that renewed one."""
    ours = Invoice.objects.filter(livemode=settings.STRIPE_LIVE_MODE, subscription__isnull=False).order_by()
    by_reason = dict(ours.failed().values_list("reason").annotate(number=Count("pk")))
    for reason in Reason.values:
        yield FAILURES.sample(by_reason.get(reason, 0), reason)
    yield RENEWALS.sample(ours.renewals().count())


@fact(LAST_PROCESSED, reads=[WebhookEvent])
def last_processed() -> Iterator[Sample]:
    """When an event was processed last; absent before the first."""
    at = WebhookEvent.objects.aggregate(at=Max("processed_at"))["at"]
    if at is not None:
        yield LAST_PROCESSED.sample(at.timestamp())


def plan_names(plans: Sequence[Plan]) -> dict[int, str]:
    """The label of each plan: its name and interval, and its currency where plans of that name have several.

    Prices that differ in nothing else, as before and after a rise, share one. Of the first fifty; the rest are "other".
    """
    currencies: dict[str, set[str]] = defaultdict(set)
    for plan in plans:
        currencies[str(plan)].add(plan.currency)
    names: dict[int, str] = {}
    for plan in plans:
        name = f"{plan} {plan.currency.upper()}" if len(currencies[str(plan)]) > 1 else str(plan)
        known = set(names.values())
        names[plan.pk] = name if name in known or len(known) < MOST_PLANS else OTHER
    return names


def _by_plan(counted: SubscriptionQuerySet) -> Iterator[Sample]:
    plans = Plan.objects.filter(livemode=settings.STRIPE_LIVE_MODE).order_by("-active", "position", "pk")
    names = plan_names(list(plans))
    totals = Counter(dict.fromkeys(names.values(), 0))
    for plan_id, number in counted.values_list("plan").annotate(number=Count("pk")):
        totals[names.get(plan_id, OTHER)] += number
    for name, number in totals.items():
        yield ACTIVE.sample(number, name)


def _currencies_on_sale() -> set[str]:
    return set(Plan.objects.on_sale().filter(livemode=settings.STRIPE_LIVE_MODE).values_list("currency", flat=True))
