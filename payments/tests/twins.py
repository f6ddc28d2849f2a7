"""Two customers to whom the same happens at Stripe; and what should be known here of each, read from the stand-in.

Nothing here uses the code that is tested: it is the model that the rows are held against.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from e2e.stripe.engine import Stripe
from e2e.stripe.wire import Object, Refused
from payments.models import Invoice, Movement, Subscription

GOOD = {"trialing", "active"}
ENDED = {"canceled", "incomplete_expired"}


@dataclass
class Twin:
    """A customer at the stand-in."""

    engine: Stripe
    user: User
    customer_id: str = ""
    events: list[Object] = field(default_factory=list)

    def begin(self) -> None:
        """Become a customer."""
        metadata = {"user_id": str(self.user.pk)}
        self.customer_id = self.engine.request("POST", "/v1/customers", {"metadata": metadata})["id"]

    def own(self, kind: str) -> list[Object]:
        """The objects of a kind that are this customer's, the oldest first."""
        found = self.engine.state.find(kind)
        if kind in {"refund", "dispute"}:
            charges = {charge["id"] for charge in self.own("charge")}
            return [one for one in found if one["charge"] in charges]
        return [one for one in found if one.get("customer") == self.customer_id]

    def standing(self) -> Object | None:
        """The subscription that has not ended, if there is one."""
        return next((one for one in self.own("subscription") if one["status"] not in ENDED), None)

    def buy(self, price: str, *, trial_days: int, card: str) -> None:
        """Buy at Checkout."""
        asked = {
            "mode": "subscription", "customer": self.customer_id, "client_reference_id": str(self.user.pk),
            "line_items": [{"price": price, "quantity": 1}], "success_url": "https://example.org/",
            "subscription_data": {"trial_period_days": trial_days} if trial_days else {},
        }  # fmt: skip
        with suppress(Refused):  # another currency than before; or declined
            session = self.engine.request("POST", "/v1/checkout/sessions", asked)
            self.engine.complete_checkout(session["id"], card)

    def begin_unpaid(self, price: str) -> None:
        """A subscription whose first payment fails."""
        with suppress(Refused):
            path = "/v1/payment_methods/pm_card_chargeCustomerFail/attach"
            card = self.engine.request("POST", path, {"customer": self.customer_id})
            asked = {"customer": self.customer_id, "items": [{"price": price}], "default_payment_method": card["id"]}
            self.engine.request("POST", "/v1/subscriptions", {**asked, "payment_behavior": "allow_incomplete"})

    def update(self, **asked: Any) -> None:
        """Change the subscription that stands."""
        found = self.standing()
        if found:
            with suppress(Refused):
                self.engine.request("POST", f"/v1/subscriptions/{found['id']}", asked)

    def change_plan(self, price: str) -> None:
        """Change to another plan."""
        found = self.standing()
        if found:
            self.update(items=[{"id": found["items"]["data"][0]["id"], "price": price}])

    def cancel(self) -> None:
        """End it now."""
        found = self.standing()
        if found:
            self.engine.request("DELETE", f"/v1/subscriptions/{found['id']}")

    def pay_by_hand(self) -> None:
        """Pay the oldest open invoice with a good card."""
        unpaid = next((one for one in self.own("invoice") if one["status"] == "open"), None)
        if unpaid:
            with suppress(Refused):
                path = "/v1/payment_methods/pm_card_visa/attach"
                card = self.engine.request("POST", path, {"customer": self.customer_id})
                self.engine.request("POST", f"/v1/invoices/{unpaid['id']}/pay", {"payment_method": card["id"]})

    def refund(self, number: int, amount: int) -> None:
        """Give one of the charges back, in part."""
        charges = self.own("charge")
        if charges:
            with suppress(Refused):
                charge = charges[number % len(charges)]
                self.engine.request("POST", "/v1/refunds", {"charge": charge["id"], "amount": amount})

    def fail_refund(self, number: int) -> None:
        """Have one of the refunds come back."""
        refunds = self.own("refund")
        if refunds:
            with suppress(Refused):
                self.engine.fail_refund(refunds[number % len(refunds)]["id"])

    def dispute(self, number: int) -> None:
        """Have one of the charges disputed."""
        charges = self.own("charge")
        if charges:
            with suppress(Refused):
                self.engine.dispute(charges[number % len(charges)]["id"])

    def close_disputes(self, *, won: bool) -> None:
        """Have the bank decide."""
        for dispute in self.own("dispute"):
            with suppress(Refused):
                self.engine.close_dispute(dispute["id"], won=won)

    # What should be known here.

    def movements(self) -> Counter[tuple[str, int, str]]:
        """What should stand in the ledger."""
        found: Counter[tuple[str, int, str]] = Counter()
        for charge in self.own("charge"):
            found["charge", charge["amount_captured"], charge["currency"]] += charge["status"] == "succeeded"
        for refund in self.own("refund"):
            found["refund", -refund["amount"], refund["currency"]] += 1
            found["refund_failed", refund["amount"], refund["currency"]] += refund["status"] == "failed"
        for dispute in self.own("dispute"):
            found["dispute", -dispute["amount"], dispute["currency"]] += 1
            found["dispute_won", dispute["amount"], dispute["currency"]] += dispute["status"] == "won"
        return +found

    def balance(self) -> dict[str, int]:
        """What moved on Stripe's own account because of this customer: the sum of its balance transactions."""
        sources = {one["id"] for kind in ("charge", "refund", "dispute") for one in self.own(kind)}
        total: Counter[str] = Counter()
        for moved in self.engine.state.find("balance_transaction"):
            if moved["source"] in sources:
                total[moved["currency"]] += moved["amount"]
        return dict(total)

    def may_see(self) -> bool:
        """Whether they should see members' content now."""
        grace = timedelta(days=settings.PAYMENT_GRACE_DAYS)
        for one in self.own("subscription"):
            begins = one["items"]["data"][0]["current_period_start"]
            late = one["status"] == "past_due" and begins + grace.total_seconds() > timezone.now().timestamp()
            ends = one["cancel_at"] is not None and one["cancel_at"] <= timezone.now().timestamp()
            if (one["status"] in GOOD or late) and not ends:
                return True
        return False

    def was_ever_good(self) -> bool:
        """Whether anything was ever paid, or tried for nothing, by this customer."""
        tried = any(one["trial_end"] for one in self.own("subscription"))
        return tried or any(charge["status"] == "succeeded" for charge in self.own("charge"))

    # What is known here.

    def stored_movements(self) -> Counter[tuple[str, int, str]]:
        """What stands in the ledger."""
        rows = Movement.objects.filter(customer_id=self.customer_id)
        return Counter(rows.values_list("kind", "amount_minor", "currency"))

    def rows(self) -> list[Mapping[str, Any]]:
        """Everything that is stored of this customer, but for ids and for when it was stored."""
        subscriptions = Subscription.objects.filter(customer__customer_id=self.customer_id)
        invoices = Invoice.objects.filter(customer__customer_id=self.customer_id)
        movements = Movement.objects.filter(customer_id=self.customer_id)
        found: list[Mapping[str, Any]] = []
        found += self._in_order("subscription", "subscription_id", subscriptions.values(*SUBSCRIPTION))
        found += self._in_order("invoice", "invoice_id", invoices.values(*INVOICE))
        for kind, of in (("charge", "charge"), ("refund", "refund"), ("dispute", "dispute")):
            rows = movements.filter(kind__startswith=kind).order_by("kind")
            found += self._in_order(of, "stripe_id", rows.values(*MOVEMENT))
        return found

    def _in_order(self, kind: str, key: str, rows: Any) -> list[Mapping[str, Any]]:
        place = {one["id"]: number for number, one in enumerate(self.own(kind))}
        return sorted(({**row, key: place[row[key]]} for row in rows), key=lambda row: (row[key], str(row.get("kind"))))


SUBSCRIPTION = (
    "subscription_id", "status", "price_id", "quantity", "currency", "amount_minor", "interval", "started_at",
    "trial_ends_at", "period_starts_at", "period_ends_at", "cancels_at", "canceled_at", "ended_at",
    "cancellation_reason", "livemode",
)  # fmt: skip
INVOICE = (
    "invoice_id", "status", "billing_reason", "currency", "amount_due_minor", "amount_paid_minor", "issued_at",
    "paid_at", "attempts", "next_attempt_at", "failed_at", "reason", "decline_code", "livemode",
)  # fmt: skip
MOVEMENT = ("stripe_id", "kind", "price_id", "amount_minor", "currency", "occurred_at", "livemode")


def differences(one: list[Mapping[str, Any]], other: list[Mapping[str, Any]]) -> list[str]:
    """Where the rows of two twins differ; what happened to them is a moment apart."""
    if len(one) != len(other):
        return [f"{len(one)} rows and {len(other)}: {one} and {other}"]
    return [
        f"{key}: {left[key]} and {right[key]} in {left}"
        for left, right in zip(one, other, strict=True)
        for key in left
        if not _alike(left[key], right[key])
    ]


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, datetime) and isinstance(other, datetime):
        return abs(one - other) < timedelta(seconds=30)
    return bool(one == other)
