"""What members change about a subscription themselves: cancel it, keep it after all, another plan, the portal.

Stripe is told, and then asked for the whole subscription, so that the page shows what became of it. What was done there
stands, even if the asking fails: the event that Stripe sends brings it.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import stripe
import structlog

from observability.problems import Conflict

from . import invoices, processing, stripe_api
from .models import ENDED, UNPAID, Customer, Plan, Reason, Status, Subscription

Call = Callable[[], object]
STOPPED = "stopped_for_deletion"  # in the metadata, where one ends because the account is about to be deleted: "true",
# or when it was to end anyway, in seconds since 1970
CANCELLED: Any = {"cancel_at_period_end": True, "metadata": {STOPPED: ""}}  # by its owner, so that `go_on` leaves it
RENEWED: Any = {"cancel_at_period_end": False, "metadata": {STOPPED: ""}}
DECLINED = "The bank declined the card, so your plan stays as it was. Replace the card first."
WANTS_TO_ASK = (
    "The bank wants you to confirm this payment, and cannot ask you here, so your plan stays as it was. Replace the "
    "card on your page at Stripe, where the bank can ask you, and change the plan then; or cancel, and choose the "
    "other plan when this one has ended."
)

log = structlog.get_logger("payments")


class Changed(Conflict):
    """The subscription is not what it was when its page was made (409)."""


class Declined(Conflict):
    """The bank has refused what would have been due at once (409)."""


def cancel(subscription: Subscription, *, at_once: bool) -> bool:
    """End it, at the end of what is paid for, or at once.

    Args:
        at_once: as its owner was told. Our row may be late, so it is held against what Stripe says now.

    Returns:
        Whether our rows show it already.

    Raises:
        Changed: where it would end otherwise than its owner was told, or has ended.
        Unavailable, NotConfigured: see `stripe_api`.
    """
    subscriptions = stripe_api.client().v1.subscriptions
    with stripe_api.reaching():
        try:
            found = subscriptions.retrieve(subscription.subscription_id)
            if found.status in ENDED or at_once != (found.status in UNPAID):
                raise _changed(found.id)
            if at_once:
                subscriptions.cancel(found.id)
            elif not found.cancel_at_period_end or STOPPED in stripe_api.as_dict(found)["metadata"]:
                subscriptions.update(found.id, CANCELLED)
        except stripe.InvalidRequestError as error:
            raise _refused(subscription.subscription_id, error) from error
    return _shown(subscription.subscription_id)


def resume(subscription: Subscription) -> bool:
    """Let it be renewed after all; returns and raises as `cancel` does."""
    subscriptions = stripe_api.client().v1.subscriptions
    with stripe_api.reaching():
        try:
            found = subscriptions.retrieve(subscription.subscription_id)
            # Two ways to end one, of which Stripe takes back only the one that was used.
            by_date = bool(found.cancel_at) and not found.cancel_at_period_end
            subscriptions.update(found.id, {"cancel_at": "", "metadata": {STOPPED: ""}} if by_date else RENEWED)
        except stripe.InvalidRequestError as error:
            raise _refused(subscription.subscription_id, error) from error
    return _shown(subscription.subscription_id)


@dataclass(frozen=True, slots=True)
class Preview:
    """The invoice that a change of plan would lead to: the next one, or one at once where the period changes too."""

    amount_minor: int
    currency: str
    prorated_at: int | None  # in seconds since 1970; given to `change_plan`, the sum is just that


def preview(subscription: Subscription, *, plan: Plan) -> Preview:
    """What changing to another plan now would cost, by Stripe's own reckoning; raises as `cancel` does."""
    with stripe_api.reaching():
        try:
            item = _item(subscription)
            wanted: Any = {
                "subscription": subscription.subscription_id,
                "subscription_details": {"items": [{"id": item["id"], "price": plan.price_id}]},
            }
            invoice = stripe_api.as_dict(stripe_api.client().v1.invoices.create_preview(wanted))
        except stripe.InvalidRequestError as error:
            raise _refused(subscription.subscription_id, error) from error
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return Preview(invoice["amount_due"], invoice["currency"], details.get("subscription_proration_date"))


def change_plan(subscription: Subscription, *, plan: Plan, prorated_at: int | None = None) -> bool:
    """Change to another plan now; what was paid for the old one is credited by Stripe's own rules.

    Args:
        prorated_at: of the preview that its owner has seen.

    Returns and raises as `cancel` does, and

    Raises:
        Declined: where something was due at once and could not be charged; then nothing has changed.
    """
    subscriptions = stripe_api.client().v1.subscriptions
    with stripe_api.reaching():
        try:
            item = _item(subscription)
            if item["price"]["id"] != plan.price_id:
                wanted: Any = {
                    "items": [{"id": item["id"], "price": plan.price_id}],
                    "payment_behavior": "error_if_incomplete",
                    **({"proration_date": prorated_at} if prorated_at else {}),
                }
                subscriptions.update(subscription.subscription_id, wanted)
        except stripe.CardError as error:
            asks = invoices.reason_of(error.code or "", "") == Reason.AUTHENTICATION_REQUIRED
            raise Declined(WANTS_TO_ASK if asks else DECLINED) from error
        except stripe.InvalidRequestError as error:
            raise _refused(subscription.subscription_id, error) from error
    return _shown(subscription.subscription_id)


def portal(customer: Customer, *, return_to: str, part: str = "") -> str:
    """The address of Stripe's customer portal for `customer`.

    Args:
        part: "card" begins where the card is replaced, and comes back from there.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
        stripe.InvalidRequestError: where the portal is not set up at Stripe.
    """
    wanted: Any = {"customer": customer.customer_id, "return_url": return_to}
    if part == "card":
        wanted["flow_data"] = {
            "type": "payment_method_update",
            "after_completion": {"type": "redirect", "redirect": {"return_url": return_to}},
        }
    with stripe_api.reaching():
        return str(stripe_api.client().v1.billing_portal.sessions.create(wanted).url)


def leave(customer: Customer) -> None:
    """End at once whatever would still be charged, whether it is known here or not; before the account is erased.

    Raises:
        Changed: where Stripe refuses that of one that stands here, or knows nothing of it.
        Unavailable, NotConfigured: see `stripe_api`.
    """
    subscriptions = stripe_api.client().v1.subscriptions
    listed = [found["id"] for found in _standing_at_stripe(customer)]
    _tell({each: partial(subscriptions.cancel, each) for each in [*listed, *_not_listed(customer, listed)]})


def stop(customer: Customer) -> None:
    """Have nothing renewed, since the account is about to be deleted; what is not begun, ends. `go_on` takes it back.

    Raises as `leave` does.
    """
    subscriptions = stripe_api.client().v1.subscriptions
    listed = {found["id"]: found for found in _standing_at_stripe(customer)}
    calls: dict[str, Call] = {}
    for each, found in listed.items():
        if found["status"] == Status.INCOMPLETE:
            calls[each] = partial(subscriptions.cancel, each)
        elif found["cancel_at"] and found["cancel_at"] > _paid_until(found):
            end: Any = {"cancel_at": _paid_until(found), "metadata": {STOPPED: str(found["cancel_at"])}}
            calls[each] = partial(subscriptions.update, each, end)
        elif not (found["cancel_at_period_end"] or found["cancel_at"]):
            end = {"cancel_at_period_end": True, "metadata": {STOPPED: "true"}}
            calls[each] = partial(subscriptions.update, each, end)
    _tell(calls | {each: partial(subscriptions.retrieve, each) for each in _not_listed(customer, listed)})


def go_on(customer: Customer) -> None:
    """Have renewed what `stop` stopped, and nothing that its owner cancelled.

    Raises as `leave` does.
    """
    subscriptions = stripe_api.client().v1.subscriptions
    listed = {found["id"]: found for found in _standing_at_stripe(customer)}
    calls: dict[str, Call] = {each: partial(subscriptions.retrieve, each) for each in _not_listed(customer, listed)}
    for each, found in listed.items():
        former = found["metadata"].get(STOPPED)
        if former is None:
            continue
        back = RENEWED
        if former.isdecimal():  # unless its owner has taken the end back at Stripe
            back = {"metadata": {STOPPED: ""}, **({"cancel_at": int(former)} if found["cancel_at"] else {})}
        calls[each] = partial(subscriptions.update, each, back)
    _tell(calls)


def _tell(calls: Mapping[str, Call]) -> None:
    """Make a call about each subscription, and bring in what became of it; one that is refused keeps no other.

    Raises:
        Changed: where one was refused, and the subscription has not ended meanwhile.
        Unavailable, NotConfigured: see `stripe_api`.
    """
    refused = []
    for subscription_id, call in calls.items():
        try:
            with stripe_api.reaching():
                call()
        except stripe.InvalidRequestError as error:
            refusal = _refused(subscription_id, error)
            if Subscription.objects.standing().filter(subscription_id=subscription_id).exists():
                refused.append(refusal)
        else:
            _shown(subscription_id)
    if refused:
        raise refused[0]


def _not_listed(customer: Customer, listed: Collection[str]) -> list[str]:
    """What stands here, and Stripe does not list: it may have ended, or Stripe knows nothing of it."""
    known = Subscription.objects.standing().filter(customer=customer).exclude(subscription_id__in=listed)
    return list(known.values_list("subscription_id", flat=True))


def _paid_until(found: Any) -> int:
    """When what Stripe has listed is renewed, in seconds since 1970."""
    return min(int(item["current_period_end"]) for item in found["items"]["data"])


def _standing_at_stripe(customer: Customer) -> list[Any]:
    """What Stripe has of a customer that has not ended; no purchase that was begun leads to more.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
    """
    sessions = stripe_api.client().v1.checkout.sessions
    try:
        for page in stripe_api.pages("checkout/sessions", {"customer": customer.customer_id, "status": "open"}):
            for session in page:
                with stripe_api.reaching(), suppress(stripe.InvalidRequestError):  # it was paid meanwhile
                    sessions.expire(session["id"])
        pages = list(stripe_api.pages("subscriptions", {"customer": customer.customer_id}))
    except stripe.InvalidRequestError as error:
        if error.code != "resource_missing":
            raise
        return []
    return [found for page in pages for found in page if found["status"] not in ENDED]


def _item(subscription: Subscription) -> dict[str, Any]:
    """What it is of, as Stripe has it now."""
    found = stripe_api.client().v1.subscriptions.retrieve(subscription.subscription_id)
    items: list[dict[str, Any]] = stripe_api.as_dict(found)["items"]["data"]
    if len(items) != 1:
        raise Changed("This membership has several parts. Write to us, and we change it for you.")
    return items[0]


def _refused(subscription_id: str, error: stripe.StripeError) -> Changed:
    log.warning("stripe_refused", code=error.code, stripe_request=error.request_id, on=subscription_id)
    return _changed(subscription_id)


def _changed(subscription_id: str) -> Changed:
    _shown(subscription_id)
    return Changed("Your membership has changed meanwhile. This is how it stands now.")


def _shown(subscription_id: str) -> bool:
    try:
        processing.synchronise("subscription", subscription_id)
    except stripe_api.Unavailable:
        return False
    return True
