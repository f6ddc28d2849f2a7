"""Comparing with Stripe, page by page, what must not miss anything: the ledger, invoices, subscriptions.

A difference is mended by fetching the object again (`processing.synchronise`). What that does not mend, such as a
movement of which Stripe knows nothing, is for a person to look at: the ledger itself is never changed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import stripe
from django.conf import settings
from django.db.models import QuerySet

from . import customers, ledger, listing, subscriptions
from .models import Customer, Invoice, Movement, Subscription
from .money import text as money
from .shapes import Object, items, moment

Kind = Movement.Kind
Amounts = dict[str, tuple[int, str]]  # by kind of movement: minor units and currency


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` to just before `until`, by Stripe's clock."""

    since: datetime
    until: datetime

    @property
    def created(self) -> dict[str, Any]:
        """As Stripe's lists are asked for it."""
        return {"created": {"gte": int(self.since.timestamp()), "lt": int(self.until.timestamp())}}


@dataclass(frozen=True, slots=True)
class Difference:
    """What is otherwise here than at Stripe, and whether it was put right."""

    kind: str
    object_id: str
    text: str
    mended: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}: {self.text}"


@dataclass(frozen=True, slots=True)
class Compared:
    """How many objects of a kind have been compared so far."""

    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one kind of object is compared."""

    kind: str
    lists: Callable[[Period], list[dict[str, Any]]]  # what to ask Stripe's list for
    differs: Callable[[list[Object]], dict[str, str]]  # by id, what is otherwise here
    here: Callable[[Period], set[str]]  # what Stripe has to list, for all that is known here


def reconcile(*, period: Period, mend: bool) -> Iterator[Difference | Compared]:
    """Compare everything of the period; of subscriptions, all that have not ended, whenever they began. Before that,
    tell Stripe of e-mail addresses that have changed.

    Args:
        mend: fetch again what differs.

    Raises:
        Unavailable, NotConfigured: see `stripe_api`.
    """
    yield from _addresses(mend=mend)
    for comparison in COMPARISONS:
        yield from _compare(comparison, period, mend=mend)


def _addresses(*, mend: bool) -> Iterator[Difference]:
    """Customers whose account has another e-mail address by now, of which Stripe could not be told."""
    due = Customer.objects.with_another_address().filter(livemode=settings.STRIPE_LIVE_MODE)
    for customer_pk in list(due.values_list("pk", flat=True)):
        customer = due.filter(pk=customer_pk).first()
        if customer is None:  # told since the list was made
            continue
        failed = ""
        if mend:
            try:
                listing.patiently(partial(customers.tell_address, customer))
            except stripe.InvalidRequestError as error:  # told, and the next one's turn
                failed = f" ({error.code})"
                listing.bring_in("customer", customer.customer_id)  # it may have been deleted there
        text = f"the account has another e-mail address{failed}"
        yield Difference(
            "customer", customer.customer_id, text, mended=mend and not due.filter(pk=customer_pk).exists()
        )


def _compare(comparison: Comparison, period: Period, *, mend: bool) -> Iterator[Difference | Compared]:
    kind, seen = comparison.kind, set[str]()
    for filters in comparison.lists(period):
        for page in listing.pages(f"{kind}s", **filters):
            for object_id, text in comparison.differs(page).items():
                yield _mended(comparison, object_id, text) if mend else Difference(kind, object_id, text, mended=False)
            seen |= {found["id"] for found in page}
            yield Compared(kind, len(seen))
    missing = comparison.here(period) - seen
    failed = {object_id: _fetch_again(kind, object_id) for object_id in missing} if mend else {}
    left = comparison.here(period) - seen if missing and mend else missing
    for object_id in sorted(missing):
        text = f"Stripe does not list it{failed.get(object_id, '')}"
        yield Difference(kind, object_id, text, mended=object_id not in left)


def _mended(comparison: Comparison, object_id: str, text: str) -> Difference:
    failed = _fetch_again(comparison.kind, object_id)
    found = listing.one(f"{comparison.kind}s", object_id)
    mended = not failed and (found is None or not comparison.differs([found]))
    return Difference(comparison.kind, object_id, f"{text}{failed}", mended)


def _fetch_again(kind: str, object_id: str) -> str:
    """Why that failed; "" where it did not."""
    error = listing.bring_in(kind, object_id)
    return f" ({error})" if error else ""


def _movements(
    kinds: tuple[Kind, ...], moved: Callable[[Object], list[ledger.Moved]]
) -> Callable[[list[Object]], dict[str, str]]:
    def differs(page: list[Object]) -> dict[str, str]:
        here: dict[str, Amounts] = {found["id"]: {} for found in page}
        rows = Movement.objects.filter(kind__in=kinds, stripe_id__in=here)
        for stripe_id, kind, amount, currency in rows.values_list("stripe_id", "kind", "amount_minor", "currency"):
            here[stripe_id][kind] = (amount, currency)
        texts = {
            found["id"]: _difference(
                here[found["id"]], {each.kind: (each.amount_minor, found["currency"]) for each in moved(found)}
            )
            for found in page
        }
        return {object_id: text for object_id, text in texts.items() if text}

    return differs


def _difference(here: Amounts, there: Amounts) -> str:
    said = []
    for kind in {**there, **here}:
        word = kind.replace("_", " ")
        if kind not in here:
            said.append(f"a {word} of {money(*there[kind])} is not in the ledger")
        elif kind not in there:
            said.append(f"Stripe knows of no {word} of {money(*here[kind])}")
        elif here[kind] != there[kind]:
            said.append(f"the {word} is {money(*here[kind])} in the ledger, {money(*there[kind])} at Stripe")
    return "; ".join(said)


def _in_ledger(kind: Kind) -> Callable[[Period], set[str]]:
    def here(period: Period) -> set[str]:
        rows = Movement.objects.filter(kind=kind, occurred_at__gte=period.since, occurred_at__lt=period.until)
        return _ids(rows, "stripe_id")

    return here


def _invoices(page: list[Object]) -> dict[str, str]:
    here = Invoice.objects.in_bulk([found["id"] for found in page], field_name="invoice_id")
    texts = {}
    for found in page:
        row, currency = here.get(found["id"]), found["currency"]
        if row is None:
            texts[found["id"]] = f"it is not here: {found['status']}, {money(found['amount_due'], currency)}"
            continue
        there = (found["status"], money(found["amount_due"], currency), money(found["amount_paid"], currency))
        ours = (row.status, money(row.amount_due_minor, row.currency), money(row.amount_paid_minor, row.currency))
        if there != ours:
            texts[found["id"]] = _otherwise(("status", "due", "paid"), ours, there)
    return texts


def _drafts(period: Period) -> set[str]:
    """Only drafts can be deleted at Stripe."""
    rows = Invoice.objects.filter(status="draft", issued_at__gte=period.since, issued_at__lt=period.until)
    return _ids(rows, "invoice_id")


def _subscriptions(page: list[Object]) -> dict[str, str]:
    here = Subscription.objects.in_bulk([found["id"] for found in page], field_name="subscription_id")
    texts = {}
    for found in page:
        row = here.get(found["id"])
        if row is None:
            texts[found["id"]] = f"it is not here: {found['status']}"
            continue
        item = next((item for item in items(found["items"]) if item["price"]["id"] == row.price_id), None)
        if item is None:
            texts[found["id"]] = f"its price is {row.price_id} here, and not at Stripe"
            continue
        period_ends_at = moment(item.get("current_period_end"))
        cancels_at = subscriptions.cancels_at(found, period_ends_at)
        there = (found["status"], _day(period_ends_at), _day(cancels_at), _day(moment(found.get("ended_at"))))
        ours = (row.status, _day(row.period_ends_at), _day(row.cancels_at), _day(row.ended_at))
        if there != ours:
            texts[found["id"]] = _otherwise(("status", "end of the period", "cancellation", "end"), ours, there)
    return texts


def _standing(period: Period) -> set[str]:
    """Whenever they began, before the period is over."""
    return _ids(Subscription.objects.standing().filter(started_at__lt=period.until), "subscription_id")


def _otherwise(names: tuple[str, ...], ours: tuple[str, ...], there: tuple[str, ...]) -> str:
    pairs = zip(names, ours, there, strict=True)
    return "; ".join(
        f"{name} {here or 'none'} here, {at or 'none'} at Stripe" for name, here, at in pairs if here != at
    )


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""


def _ids(rows: QuerySet[Any], field: str) -> set[str]:
    return set(rows.filter(livemode=settings.STRIPE_LIVE_MODE).values_list(field, flat=True))


def _of_period(period: Period) -> list[dict[str, Any]]:
    return [period.created]


def _all_that_stand(period: Period) -> list[dict[str, Any]]:
    return [{}, {"status": "canceled", **period.created}]


COMPARISONS = (
    Comparison("charge", _of_period, _movements((Kind.CHARGE,), ledger.of_charge), _in_ledger(Kind.CHARGE)),
    Comparison(
        "refund", _of_period, _movements((Kind.REFUND, Kind.REFUND_FAILED), ledger.of_refund), _in_ledger(Kind.REFUND)
    ),
    Comparison(
        "dispute", _of_period, _movements((Kind.DISPUTE, Kind.DISPUTE_WON), ledger.of_dispute), _in_ledger(Kind.DISPUTE)
    ),
    Comparison("subscription", _all_that_stand, _subscriptions, _standing),
    Comparison("invoice", _of_period, _invoices, _drafts),
)
