"""Subscriptions, and what follows from them: who may see members' content, and until when.

| status | access |
| --- | --- |
| trialing, active | until its end where it is to end, else until the period is over and the grace period after it |
| past_due | for the grace period, from when it became so: once, however many periods begin meanwhile |
| anything else | none |

Refunds and disputes move money, not access: whoever is to lose access for one is cancelled at Stripe.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts import membership

from .models import Customer, Plan, Status, Subscription
from .shapes import Object, id_of, items, moment, unit_amount


def store(*, subscription: Object) -> Subscription:
    """Bring a subscription up to date, whose customer and plan are known here, and with it who may see what."""
    customer = Customer.objects.select_related("user").get(customer_id=id_of(subscription["customer"]))
    item, plan = _item_of_plan(subscription)
    price, period_ends_at = item["price"], _period(subscription, item, "current_period_end")
    recurring = price.get("recurring") or {}
    quantity = item.get("quantity") or 1
    values: dict[str, Any] = {
        "customer": customer,
        "status": subscription["status"],
        "plan": plan,
        "price_id": price["id"],
        "quantity": quantity,
        "currency": price["currency"],
        "amount_minor": unit_amount(price) * quantity,
        "interval": recurring.get("interval") or "month",
        "interval_count": recurring.get("interval_count") or 1,
        "started_at": moment(subscription.get("start_date") or subscription["created"]),
        "trial_ends_at": moment(subscription.get("trial_end")),
        "period_starts_at": _period(subscription, item, "current_period_start"),
        "period_ends_at": period_ends_at,
        "cancels_at": cancels_at(subscription, period_ends_at),
        "canceled_at": moment(subscription.get("canceled_at")),
        "ended_at": moment(subscription.get("ended_at")),
        "cancellation_reason": ((subscription.get("cancellation_details") or {}).get("reason") or "")[:40],
        "livemode": subscription["livemode"],
    }
    former = Subscription.objects.filter(subscription_id=subscription["id"]).first()
    values["past_due_since"] = _past_due_since(former, values["status"], values["period_starts_at"])
    row, _ = Subscription.objects.update_or_create(subscription_id=subscription["id"], defaults=values)
    give_access(row)
    return row


def access(subscription: Subscription) -> datetime | None:
    """Until when it makes its owner a member; None where it does not.

    Only one of a plan does: what else is sold in the same account, such as a donation, makes nobody a member.
    """
    grace = timedelta(days=settings.PAYMENT_GRACE_DAYS)
    if subscription.plan_id is None:
        return None
    match subscription.status:
        case Status.TRIALING | Status.ACTIVE:
            period_ends_at = subscription.period_ends_at or subscription.trial_ends_at
            until = period_ends_at + grace if period_ends_at else None
        case Status.PAST_DUE:
            since = subscription.past_due_since or subscription.period_starts_at
            until = since + grace if since else None
        case _:
            return None
    return min(filter(None, (until, subscription.cancels_at)), default=None)


def give_access(subscription: Subscription) -> None:
    """Write what follows from a subscription's row into the membership of its owner, if it has one."""
    given_before = subscription.membership
    # Who was let in stays the one, though the customer may not be theirs any more.
    user = given_before.user if given_before else subscription.customer.user
    if user is None:
        return
    now = timezone.now()
    ends_at = access(subscription) or min(subscription.ended_at or now, now)
    given = membership.set_subscription(
        user=user, membership=given_before, starts_at=subscription.started_at, ends_at=ends_at
    )
    if given != given_before:
        subscription.membership = given
        subscription.save(update_fields=["membership", "updated_at"])


def price_ids(subscription: Object) -> list[str]:
    """The prices that a subscription is made of."""
    return [id_of(item["price"]) for item in items(subscription["items"])]


def cancels_at(subscription: Object, period_ends_at: datetime | None) -> datetime | None:
    """When a subscription is to end; None where it renews."""
    if subscription.get("cancel_at"):
        return moment(subscription["cancel_at"])
    return period_ends_at if subscription.get("cancel_at_period_end") else None


def _past_due_since(former: Subscription | None, status: str, period_starts_at: datetime | None) -> datetime | None:
    """Since when a payment is due: the beginning of the period, unless it failed in the middle of one known before."""
    if status != Status.PAST_DUE:
        return None
    if former is not None and former.status == Status.PAST_DUE:
        return former.past_due_since or former.period_starts_at
    in_the_middle = former is not None and former.period_starts_at == period_starts_at
    return timezone.now() if in_the_middle else period_starts_at


def _item_of_plan(subscription: Object) -> tuple[Any, Plan | None]:
    found = items(subscription["items"])
    if not found:
        raise ValueError(f"{subscription['id']} has no items.")
    plans = {plan.price_id: plan for plan in Plan.objects.filter(price_id__in=price_ids(subscription))}
    item = next((item for item in found if item["price"]["id"] in plans), found[0])
    return item, plans.get(item["price"]["id"])


def _period(subscription: Object, item: Object, name: str) -> datetime | None:
    """The period stands in the item; in the subscription in versions of the API before 2025-03-31."""
    return moment(item.get(name, subscription.get(name)))
