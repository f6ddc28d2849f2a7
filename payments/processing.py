"""What Stripe has, brought into our rows: at an event, or because somebody asks. Fetch outside, write inside.

The transaction that writes holds the customer's lock, writes our rows and the mirror, and notes the event as processed:
all of it or nothing. So an event has its effect once, whatever is repeated, comes late or at the same time, or dies
half-way. Nothing that must happen waits for the commit.
"""

from collections.abc import Iterable

import stripe
import structlog
from django.db import OperationalError, transaction
from django.db.models import F
from django.utils import timezone

from observability.logs import redacted

from . import customers, fetching, invoices, ledger, locks, mirror, plans, revisions, stripe_api, subscriptions
from .fetching import Copy
from .models import Customer, WebhookEvent
from .revisions import Turn
from .shapes import Object, id_of, number

SECONDS = 20.0  # for all the calls together
ATTEMPTS = 8
MIRROR_CALLS = 25
KINDS = {  # by the beginning of an event's type, the longest first
    "checkout.session.": "checkout.session",
    "customer.subscription.": "subscription",
    "charge.dispute.": "dispute",
    "charge.refund.": "refund",
    "customer.": "customer",
    "charge.": "charge",
    "invoice.": "invoice",
    "product.": "product",
    "price.": "price",
    "refund.": "refund",
}

log = structlog.get_logger("bambisleep.payments")


class _Overtaken(Exception):
    """Something was written while this was fetched, and nobody knows which is newer."""


def process(event: WebhookEvent) -> bool:
    """Do what an event means, once; also for "process again" in the admin.

    Args:
        event: its row, which may not be stored yet.

    Returns:
        False where it was processed already.

    Raises:
        Unavailable: where Stripe does not answer as it should. This and every other error stands in the row.
    """
    try:
        return _bring_in(kind_of(event.type), event.object_id, event)
    except Exception as error:
        _note_failure(event, error)
        raise


def synchronise(kind: str, object_id: str) -> None:
    """Bring one of Stripe's objects in without an event: after Checkout, say, or in `sync_stripe`.

    Outside of transactions, and not within a loop over `QuerySet.iterator()`: the connection is given back meanwhile.

    Args:
        kind: one of `fetching.KINDS`.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
    """
    _bring_in(kind, object_id, None)


def kind_of(event_type: str) -> str:
    """What kind of object an event of that type is about.

    Raises:
        ValueError: where it is of none that this site knows.
    """
    for beginning, kind in KINDS.items():
        if event_type.startswith(beginning):
            return kind
    raise ValueError(f"Events of the type {event_type} mean nothing here.")


def _bring_in(kind: str, object_id: str, event: WebhookEvent | None) -> bool:
    event_type = event.type if event is not None else ""
    since: dict[str, int] = {}
    with stripe_api.within(SECONDS):
        for _ in range(ATTEMPTS):
            copies = fetching.fetch(kind, object_id, event_type=event_type)
            since = {copy.object_id: copy.ticket.number for copy in copies} | since
            try:
                return _Writer(copies, since, event).write()
            except _Overtaken:
                continue
    raise stripe_api.Unavailable("Too much happened at once. Try again in a moment.")


class _Writer:
    """Writes what was fetched together, in one transaction, which is begun anew when the mirror lacks something."""

    def __init__(self, copies: list[Copy], since: dict[str, int], event: WebhookEvent | None) -> None:
        self.copies = copies
        self.since = since
        self.event = event
        self.answers: dict[str, stripe_api.Answer] = {}
        self.mirror_error = ""  # why the mirror is left alone, where it is

    def write(self) -> bool:
        """Write it; False where the event was processed meanwhile."""
        try:
            mirror.prepare()
        except stripe.StripeError as error:
            self.mirror_error = _said(error)
        deadlocks = 0
        while True:
            try:
                with locks.turn(), stripe_api.answering(self.answers), transaction.atomic():
                    return self._write()
            except stripe_api.NotFetched as lacking:
                self._fetch(lacking)
            except OperationalError as error:
                deadlocks += 1
                if deadlocks > 2 or getattr(error.__cause__, "sqlstate", "") != "40P01":
                    raise

    def _fetch(self, lacking: stripe_api.NotFetched) -> None:
        if len(self.answers) >= MIRROR_CALLS:
            self.mirror_error = f"More than {MIRROR_CALLS} calls."
            return
        locks.give_back_connection()
        try:
            self.answers[lacking.url] = stripe_api.transport().call("get", lacking.url, lacking.headers)
        except stripe.StripeError as error:
            self.mirror_error = _said(error)

    def _write(self) -> bool:
        customer_id = next((copy.customer_id for copy in self.copies if copy.customer_id), "")
        locks.hold_customer(customer_id or self.copies[-1].object_id)
        if self.event is not None and not _claim(self.event):
            return False
        turns = revisions.turns((copy.ticket for copy in self.copies), since=self.since)
        if Turn.FETCH_AGAIN in turns.values():
            raise _Overtaken
        errors = [self.mirror_error] if self.mirror_error else []
        for copy in self.copies:
            if turns[copy.object_id] is Turn.LEAVE:
                invoices.record_failure(invoice_id=copy.object_id, failure=copy.beside.get("failure"))
                continue
            _store(copy)
            # What only stands beside the object has events of its own, which keep its mirror up to date.
            if not self.mirror_error and (copy is self.copies[-1] or not mirror.has(copy.kind, copy.object_id)):
                errors += _mirrored(copy, customer_id)
            revisions.write(copy.ticket)
        if self.event is not None:
            _done(self.event, self.copies[-1], customer_id, "; ".join(errors))
        return True


def _claim(event: WebhookEvent) -> bool:
    """Hold the event's row, which is made where there is none; False where it was processed."""
    if event.pk is None:
        WebhookEvent.objects.bulk_create([event], ignore_conflicts=True)
    stored = WebhookEvent.objects.select_for_update().get(event_id=event.event_id)
    return stored.processed_at is None


def _done(event: WebhookEvent, copy: Copy, customer_id: str, mirror_error: str) -> None:
    now = timezone.now()
    gone = f"Stripe no longer knows {event.object_id}." if copy.data is None else ""
    WebhookEvent.objects.filter(event_id=event.event_id).update(
        processed_at=now,
        handled=True,
        attempts=F("attempts") + 1,
        customer_id=event.customer_id or customer_id,
        error=gone,
        mirror_error=mirror_error[:500],
        updated_at=now,
    )


def _note_failure(event: WebhookEvent, error: Exception) -> None:
    """Keep why it failed, in a transaction of its own."""
    with transaction.atomic():
        if event.pk is None:
            WebhookEvent.objects.bulk_create([event], ignore_conflicts=True)
        WebhookEvent.objects.filter(event_id=event.event_id, processed_at=None).update(
            attempts=F("attempts") + 1, error=_said(error), updated_at=timezone.now()
        )


def _said(error: Exception) -> str:
    cause = error.__cause__
    text = f"{type(error).__name__}: {error}" + (f" ({type(cause).__name__}: {cause})" if cause else "")
    return "".join(character if character.isprintable() else " " for character in redacted(text))[:500]


def _store(copy: Copy) -> None:
    """Our own rows."""
    if copy.data is None:
        _gone(copy)
        return
    match copy.kind:
        case "product":
            plans.store_product(product=copy.data, prices=copy.beside["prices"])
        case "customer":
            customers.store(customer=copy.data)
        case "subscription":
            subscriptions.store(subscription=copy.data)
        case "invoice":
            invoices.store(invoice=copy.data, failure=copy.beside["failure"])
        case "charge":
            ledger.record_charge(charge=copy.data, price_id=copy.beside["price_id"])
            for refund in copy.beside["refunds"]:
                ledger.record_refund(refund=refund, charge=copy.data)
        case "refund":
            ledger.record_refund(refund=copy.data, charge=None)
        case "dispute":
            ledger.record_dispute(dispute=copy.data, charge=copy.beside["charge"])
        case "checkout.session":
            _store_session(copy.data)


def _gone(copy: Copy) -> None:
    """What Stripe no longer knows. A subscription keeps its row: a key of another account must not end memberships."""
    match copy.kind:
        case "product":
            plans.retire_product(product_id=copy.object_id)
        case "price":
            plans.retire(price_ids=[copy.object_id])
        case "invoice":
            invoices.forget_draft(invoice_id=copy.object_id)


def _store_session(session: Object) -> None:
    """Who began a purchase says `client_reference_id`, which we wrote there (`payments.checkout`)."""
    customer = Customer.objects.filter(customer_id=id_of(session.get("customer"))).first()
    if customer is not None:
        customers.link(user_id=number(session.get("client_reference_id")), customer=customer)


def _mirrored(copy: Copy, customer_id: str) -> Iterable[str]:
    """The mirror's; what was wrong with it. Of a customer who was deleted or erased nothing is mirrored any more."""
    if copy.data is None:
        return []
    if customer_id and Customer.objects.forgotten().filter(customer_id=customer_id).exists():
        mirror.forget(customer_id)
        return []
    beside = [("price", price) for price in copy.beside.get("prices", ())]
    beside += [("refund", refund) for refund in copy.beside.get("refunds", ())]
    return filter(None, (mirror.store(kind, data) for kind, data in [(copy.kind, copy.data), *beside]))
