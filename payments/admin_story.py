"""A customer's whole story for one page of the admin: everything that is known, in order of time.

Each kind of row is one query, and is told only to staff who may see such rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Model, Q, QuerySet, Sum
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, User

from . import dashboard
from .models import Customer, Invoice, Movement, Subscription, WebhookEvent
from .money import text as money

SHOWN = 300  # rows of each kind, the newest
BILLED_FOR = {
    "subscription_create": "the first of a subscription",
    "subscription_cycle": "for another period",
    "subscription_update": "for a change of the subscription",
    "manual": "made by hand",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened: what it is about, and where that stands here and at Stripe."""

    at: datetime
    kind: str
    text: str
    name: str
    url: str
    stripe_url: str = ""
    tone: str = ""  # "good", "bad", or neither


@dataclass(frozen=True, slots=True)
class Paid:
    """What the ledger has of a customer in one currency: all charges, and what is left of them."""

    currency: str
    gross_minor: int
    net_minor: int
    movements: int


@dataclass(frozen=True, slots=True)
class Story:
    """The newest entry first. `cut` names the kinds of which there are more than SHOWN."""

    entries: list[Entry]
    cut: list[str]
    subscriptions: list[Subscription]
    paid: list[Paid]
    with_events: bool


def of(customer: Customer, *, reader: User | AnonymousUser, with_events: bool = True) -> Story:
    """What `reader` may see of a customer's story, Stripe's events among it or not."""
    entries: list[Entry] = []
    cut = []
    for rows, tell in _tellers(customer):
        model = rows.model
        if _may_view(reader, model) and (with_events or model is not WebhookEvent):
            told = list(rows[: SHOWN + 1])
            entries += [entry for row in told[:SHOWN] for entry in tell(row)]
            if len(told) > SHOWN:
                cut.append(str(model._meta.verbose_name_plural))
    subscriptions = customer.subscriptions.select_related("plan")
    return Story(
        entries=sorted(entries, key=lambda entry: entry.at, reverse=True),
        cut=cut,
        subscriptions=list(subscriptions[:SHOWN]) if _may_view(reader, Subscription) else [],
        paid=_paid(customer) if _may_view(reader, Movement) else [],
        with_events=with_events,
    )


def _may_view(reader: User | AnonymousUser, model: type[Model]) -> bool:
    return reader.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}")


def _paid(customer: Customer) -> list[Paid]:
    sums = (
        Movement.objects.filter(customer_id=customer.customer_id)
        .order_by("currency")
        .values_list("currency")
        .annotate(
            gross=Sum("amount_minor", filter=Q(kind=Movement.Kind.CHARGE), default=0),
            net=Sum("amount_minor"),
            number=Count("pk"),
        )
    )
    return [Paid(*row) for row in sums]


def _tellers(customer: Customer) -> list[tuple[QuerySet[Any], Callable[[Any], Iterator[Entry]]]]:
    return [
        (User.objects.filter(stripe_customer=customer), _user),
        (Membership.objects.filter(user__stripe_customer=customer).select_related("given_by"), _membership),
        (Customer.objects.filter(pk=customer.pk), _customer),
        (customer.subscriptions.select_related("plan"), _subscription),
        (customer.invoices.all(), _invoice),
        (Movement.objects.filter(customer_id=customer.customer_id), _movement),
        (WebhookEvent.objects.filter(customer_id=customer.customer_id), _event),
    ]


def _user(user: User) -> Iterator[Entry]:
    about = ("User", user.username, _page(user))
    yield _entry(user.date_joined, about, "signed up")
    yield from _when(user.deletion_requested_at, about, "asked for the deletion of the account")


def _membership(membership: Membership) -> Iterator[Entry]:
    about = ("Membership", membership.get_source_display(), _page(membership))
    by = f" by {membership.given_by}" if membership.given_by else ""
    why = f": {membership.reason}" if membership.reason else ""
    yield _entry(membership.starts_at, about, f"began{by}{why}", tone="good")
    yield from _when(_past(membership.ends_at), about, "ended", tone="bad")


def _customer(customer: Customer) -> Iterator[Entry]:
    stripe_url = dashboard.url("customer", customer.customer_id, livemode=customer.livemode)
    about = ("Customer", customer.customer_id, "", stripe_url)
    yield _entry(customer.created_at, about, "known here from then on")
    yield from _when(customer.deleted_at, about, "deleted at Stripe", tone="bad")


def _subscription(row: Subscription) -> Iterator[Entry]:
    stripe_url = dashboard.url("subscription", row.subscription_id, livemode=row.livemode)
    about = ("Subscription", row.subscription_id, _page(row), stripe_url)
    plan = row.plan or row.price_id
    yield _entry(row.started_at, about, f"began: {plan}, {money(row.amount_minor, row.currency)}", tone="good")
    yield from _when(_past(row.trial_ends_at), about, "trial ended")
    yield from _when(row.canceled_at, about, "its end was asked for", tone="bad")
    reason = f": {row.cancellation_reason.replace('_', ' ')}" if row.cancellation_reason else ""
    yield from _when(row.ended_at, about, f"ended{reason}", tone="bad")


def _invoice(row: Invoice) -> Iterator[Entry]:
    stripe_url = dashboard.url("invoice", row.invoice_id, livemode=row.livemode)
    about = ("Invoice", str(row), _page(row), stripe_url)
    billed_for = f", {BILLED_FOR[row.billing_reason]}" if row.billing_reason in BILLED_FOR else ""
    yield _entry(row.issued_at, about, f"issued: {money(row.amount_due_minor, row.currency)}{billed_for}")
    code = f" ({row.decline_code})" if row.decline_code else ""
    yield from _when(row.failed_at, about, f"payment failed: {row.get_reason_display().lower()}{code}", tone="bad")
    yield from _when(row.paid_at, about, f"paid: {money(row.amount_paid_minor, row.currency)}", tone="good")


def _movement(row: Movement) -> Iterator[Entry]:
    stripe_url = dashboard.url("charge", row.charge_id or row.stripe_id, livemode=row.livemode)
    about = ("Ledger", row.stripe_id, _page(row), stripe_url)
    text = f"{row.get_kind_display().lower()}: {money(row.amount_minor, row.currency)}"
    yield _entry(row.occurred_at, about, text, tone="good" if row.amount_minor > 0 else "bad")


def _event(row: WebhookEvent) -> Iterator[Entry]:
    stripe_url = dashboard.url("event", row.event_id, livemode=row.livemode)
    about = ("Webhook", row.event_id, _page(row), stripe_url)
    failed = row.processed_at is None and row.error
    result = f" – failed: {row.error}" if failed else "" if row.processed_at else " – not processed yet"
    yield _entry(row.created_at, about, f"{row.type}{result}", tone="bad" if failed else "")


def _entry(at: datetime, about: tuple[str, ...], text: str, *, tone: str = "") -> Entry:
    kind, name, *urls = about
    url, stripe_url = [*urls, ""][:2]
    return Entry(at, kind, text, name, url, stripe_url, tone)


def _when(at: datetime | None, about: tuple[str, ...], text: str, *, tone: str = "") -> Iterator[Entry]:
    if at is not None:
        yield _entry(at, about, text, tone=tone)


def _past(at: datetime | None) -> datetime | None:
    """A time that was planned, once it is over."""
    return at if at is not None and at <= timezone.now() else None


def _page(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
