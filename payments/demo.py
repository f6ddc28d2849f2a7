"""Demo plans: what the plans page lists where no key of Stripe's is configured, labelled as what they are."""

from .models import Interval, Plan

PREFIX = "demo_"  # of their price ids; none of Stripe's begins like that

PLANS = (
    Plan(price_id="demo_month", amount_minor=900, interval=Interval.MONTH, trial_days=7, position=1),
    Plan(price_id="demo_year", amount_minor=9000, interval=Interval.YEAR, trial_days=7, position=2),
)


def load() -> int:
    """Make the demo plans, unless they are there.

    Returns:
        How many there are.
    """
    for plan in PLANS:
        Plan.objects.get_or_create(
            price_id=plan.price_id,
            defaults={
                "product_id": "demo_membership",
                "name": "Demo membership",
                "description": "An example. It cannot be bought.",
                "currency": "eur",
                "amount_minor": plan.amount_minor,
                "interval": plan.interval,
                "trial_days": plan.trial_days,
                "position": plan.position,
            },
        )
    return len(PLANS)


def remove() -> int:
    """Delete the demo plans.

    Returns:
        How many were deleted.
    """
    return Plan.objects.filter(price_id__startswith=PREFIX).delete()[0]
