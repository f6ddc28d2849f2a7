"""Where a member's subscriptions stand, read from our rows alone: the page about them works while Stripe does not."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.utils import timezone

from accounts.models import User

from . import stripe_api
from .models import UNPAID, Invoice, Reason, Status, Subscription, SubscriptionQuerySet

WHY = {
    Reason.CARD_DECLINED: "The bank declined the card.",
    Reason.INSUFFICIENT_FUNDS: "There was not enough money in the account.",
    Reason.EXPIRED_CARD: "The card has expired.",
    Reason.AUTHENTICATION_REQUIRED: "The bank asks you to confirm the payment.",
    Reason.NO_PAYMENT_METHOD: "There is no card to charge.",
    Reason.PROCESSING_ERROR: "The payment could not be processed.",
    Reason.OTHER: "The payment did not go through.",
}


class State(StrEnum):
    """What a subscription means to its owner."""

    INCOMPLETE = "incomplete"  # the first payment is not made yet
    TRIAL = "trial"
    ACTIVE = "active"
    ENDING = "ending"  # paid or on trial, and not to be renewed
    PAST_DUE = "past_due"  # not paid, and still good for a while
    CLOSED = "closed"  # not paid for too long
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Standing:
    """One subscription as its owner reads about it."""

    subscription: Subscription
    state: State
    access_until: datetime | None  # None: without end, or there is none
    unpaid: Invoice | None  # the newest invoice that can be paid, where there is one
    reopens: bool  # whether paying makes it active again: Stripe wants its latest invoice paid, which may be a draft

    @property
    def name(self) -> str:
        """What was bought."""
        return self.subscription.plan.name if self.subscription.plan else "Membership"

    @property
    def why_unpaid(self) -> str:
        """Why the last payment failed, as a sentence."""
        reason = self.unpaid.reason if self.unpaid else ""
        return WHY[Reason(reason)] if reason else ""

    @property
    def to_pay(self) -> Invoice | None:
        """The invoice whose payment puts it right, where one does."""
        return None if self.state in {State.TRIAL, State.ACTIVE, State.ENDED} or not self.reopens else self.unpaid

    @property
    def may_change(self) -> bool:
        """Whether the plan can be changed: paid for or on trial, and to go on."""
        return self.state in {State.TRIAL, State.ACTIVE}

    @property
    def may_resume(self) -> bool:
        """Whether it can be kept after all."""
        return self.state == State.ENDING

    @property
    def may_cancel(self) -> bool:
        """Whether it can be ended."""
        return self.state not in {State.ENDING, State.ENDED}

    @property
    def ends_at_once(self) -> bool:
        """Whether cancelling ends it now, because nothing is paid for that could be used up."""
        return self.subscription.status in UNPAID


def of(user: User, *, at: datetime | None = None) -> list[Standing]:
    """Every subscription of theirs that has not ended, newest first; where there is none, the one that ended last."""
    rows = _rows(user)
    found = list(rows.standing()) or list(rows[:1])
    return [_standing(subscription, at or timezone.now()) for subscription in found]


def stands(user: User) -> bool:
    """Whether they have a subscription that has not ended."""
    return _rows(user).standing().exists()


def one(user: User, subscription_id: str) -> Standing | None:
    """A subscription of theirs, by Stripe's id; None where they have none of that id."""
    found = _rows(user).filter(subscription_id=subscription_id).first()
    return _standing(found, timezone.now()) if found else None


def _rows(user: User) -> SubscriptionQuerySet:
    """Theirs; what was tried in test mode is nothing to a site that has gone live."""
    rows = Subscription.objects.filter(customer__user=user).select_related("plan", "membership")
    return rows.filter(livemode=settings.STRIPE_LIVE_MODE) if stripe_api.is_configured() else rows


def _standing(subscription: Subscription, now: datetime) -> Standing:
    until = subscription.membership.ends_at if subscription.membership else None
    has_access = subscription.membership is not None and (until is None or until > now)
    due = list(subscription.invoices.filter(status__in=("open", "draft")).order_by("-issued_at", "-pk"))
    unpaid = next((invoice for invoice in due if invoice.status == "open"), None)
    reopens = not (subscription.status == Status.UNPAID and due and due[0].status == "draft")
    state = _state(subscription, has_access=has_access)
    return Standing(subscription, state, until if has_access else None, unpaid, reopens)


def _state(subscription: Subscription, *, has_access: bool) -> State:
    match subscription.status:
        case Status.TRIALING | Status.ACTIVE if subscription.cancels_at:
            return State.ENDING
        case Status.TRIALING:
            return State.TRIAL
        case Status.ACTIVE:
            return State.ACTIVE
        case Status.PAST_DUE if has_access:
            return State.PAST_DUE
        case Status.PAST_DUE | Status.UNPAID:
            return State.CLOSED
        case Status.INCOMPLETE:
            return State.INCOMPLETE
        case Status.PAUSED:
            return State.PAUSED
        case _:
            return State.ENDED
