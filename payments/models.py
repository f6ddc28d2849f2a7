"""Plans, customers, subscriptions, invoices, the ledger, and the log of webhooks: our own rows, Stripe's ids as text.

dj-stripe's mirror stands beside them for looking things up; no foreign key leads into it. Who may see members' content
follows from `Subscription` and is kept in `accounts.Membership` (`payments.subscriptions`). All amounts are in the
currency's minor unit, as Stripe gives them (docs.stripe.com/currencies).
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django_prometheus.models import ExportModelOperationsMixin

from accounts.models import Membership

from .money import every


class Interval(models.TextChoices):
    """How often a plan is paid."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class PlanQuerySet(models.QuerySet["Plan"]):
    """Reads of plans."""

    def on_sale(self) -> PlanQuerySet:
        """Those that may be bought, as the plans page lists them."""
        return self.filter(active=True).order_by("position", "currency", "amount_minor")


class Plan(models.Model):
    """A recurring price of Stripe's that makes its buyer a member.

    A price with the metadata `hidden=true`, or of a product that has it, is none. `trial_days` is metadata of the price
    or of its product, and so are `position` and `description`.
    """

    price_id = models.CharField(max_length=255, unique=True)
    product_id = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=250)
    description = models.TextField(blank=True)
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField()
    interval = models.CharField(max_length=5, choices=Interval.choices)
    interval_count = models.PositiveIntegerField(default=1)
    trial_days = models.PositiveIntegerField(default=0)
    position = models.IntegerField(default=0)
    active = models.BooleanField(default=True)
    livemode = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = PlanQuerySet.as_manager()

    class Meta:
        ordering = ["position", "currency", "amount_minor"]
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gte=0), name="payments_plan_amount"),
            models.CheckConstraint(condition=Q(interval_count__gte=1), name="payments_plan_interval_count"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({every(self)})"


class CustomerQuerySet(models.QuerySet["Customer"]):
    """Reads of customers."""

    def forgotten(self) -> CustomerQuerySet:
        """Those of whom nothing is mirrored any more: deleted at Stripe, or erased here."""
        return self.filter(Q(deleted_at__isnull=False) | Q(erased_at__isnull=False))

    def with_another_address(self) -> CustomerQuerySet:
        """Those whose account has an e-mail address of which Stripe is still to be told."""
        due = self.filter(address_due_at__isnull=False, deleted_at=None, user__isnull=False)
        return due.select_related("user")


class Customer(models.Model):
    """Who pays: a customer of Stripe's, and the user it belongs to, until that account is erased."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="stripe_customer"
    )
    customer_id = models.CharField(max_length=255, unique=True)
    livemode = models.BooleanField(default=False)
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="When it was deleted at Stripe.")
    erased_at = models.DateTimeField(null=True, blank=True, help_text="When the account was erased here.")
    address_due_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when Stripe is to be told of another e-mail address; empty: it was."
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = CustomerQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.customer_id


class Status(models.TextChoices):
    """Stripe's own words (docs.stripe.com/api/subscriptions/object#subscription_object-status)."""

    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    CANCELED = "canceled"


ENDED = (Status.CANCELED, Status.INCOMPLETE_EXPIRED)
UNPAID = (Status.INCOMPLETE, Status.PAST_DUE, Status.UNPAID, Status.PAUSED)  # nothing is paid for that could be used up


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """Reads of subscriptions."""

    def counted(self) -> SubscriptionQuerySet:
        """Those that count as active: paid, or on trial."""
        return self.filter(status__in=(Status.ACTIVE, Status.TRIALING))

    def standing(self) -> SubscriptionQuerySet:
        """Those that have not ended: another one beside them would be paid twice."""
        return self.exclude(status__in=ENDED)

    def renewing(self) -> SubscriptionQuerySet:
        """Of those, what is to be charged again: without an end, or with one after the period that is paid for."""
        return self.standing().filter(Q(cancels_at=None) | Q(cancels_at__gt=F("period_ends_at")))


class Subscription(ExportModelOperationsMixin("subscription"), models.Model):  # type: ignore[misc]
    """What Stripe said last about a subscription, as far as access and money depend on it."""

    subscription_id = models.CharField(max_length=255, unique=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    status = models.CharField(max_length=20, choices=Status.choices)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, blank=True, related_name="subscriptions")
    price_id = models.CharField(max_length=255)
    quantity = models.PositiveIntegerField(default=1)
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField(
        help_text="Of one interval, for the whole quantity, before discounts and tax."
    )
    interval = models.CharField(max_length=5, choices=Interval.choices)
    interval_count = models.PositiveIntegerField(default=1)
    started_at = models.DateTimeField()
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    period_starts_at = models.DateTimeField(null=True, blank=True)
    period_ends_at = models.DateTimeField(null=True, blank=True)
    past_due_since = models.DateTimeField(null=True, blank=True, help_text="When its payment failed, while it is due.")
    cancels_at = models.DateTimeField(null=True, blank=True, help_text="When it is to end; empty: it renews.")
    canceled_at = models.DateTimeField(null=True, blank=True, help_text="When its end was asked for.")
    ended_at = models.DateTimeField(null=True, blank=True)
    cancellation_reason = models.CharField(max_length=40, blank=True)
    # SET_NULL: memberships go with the account, what was paid stays.
    membership = models.OneToOneField(
        Membership, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="subscription"
    )
    livemode = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at"]
        indexes = [models.Index(fields=["status", "plan"], name="payments_subscription_status")]

    def __str__(self) -> str:
        return f"{self.subscription_id} ({self.status})"


class Reason(models.TextChoices):
    """Why a payment failed, out of a fixed list; Stripe's own code stands beside it."""

    CARD_DECLINED = "card_declined"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    EXPIRED_CARD = "expired_card"
    AUTHENTICATION_REQUIRED = "authentication_required"
    NO_PAYMENT_METHOD = "no_payment_method"
    PROCESSING_ERROR = "processing_error"
    OTHER = "other"


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    """Reads of invoices."""

    def failed(self) -> InvoiceQuerySet:
        """Those whose payment failed once or more, paid since or not."""
        return self.filter(failed_at__isnull=False)

    def renewals(self) -> InvoiceQuerySet:
        """Those that paid for another period."""
        return self.filter(billing_reason="subscription_cycle", paid_at__isnull=False)


class Invoice(models.Model):
    """An invoice as far as members look for it, and whether and why it failed. `failed_at` and `reason` keep the first
    failure for good, since a counter is made of them."""

    invoice_id = models.CharField(max_length=255, unique=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="invoices")
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, null=True, blank=True, related_name="invoices"
    )
    number = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=20)  # draft, open, paid, void, uncollectible
    billing_reason = models.CharField(max_length=40, blank=True)
    currency = models.CharField(max_length=3)
    amount_due_minor = models.BigIntegerField()
    amount_paid_minor = models.BigIntegerField()
    hosted_url = models.URLField(max_length=2048, blank=True)
    pdf_url = models.URLField(max_length=2048, blank=True)
    issued_at = models.DateTimeField(db_index=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True, db_index=True)
    reason = models.CharField(max_length=30, choices=Reason.choices, blank=True)
    decline_code = models.CharField(max_length=60, blank=True)
    livemode = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        ordering = ["-issued_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(failed_at=None, reason="") | (Q(failed_at__isnull=False) & ~Q(reason="")),
                name="payments_invoice_failed_has_reason",
            )
        ]

    def __str__(self) -> str:
        return self.number or self.invoice_id


class Movement(models.Model):
    """One settled movement of money: the ledger. Never updated; the database refuses it (a trigger).

    A refund or a dispute is negative; one that Stripe takes back (a refund that failed, a dispute that was won) is a
    row of its own, positive again.
    """

    class Kind(models.TextChoices):
        """What moved."""

        CHARGE = "charge"
        REFUND = "refund"
        REFUND_FAILED = "refund_failed"
        DISPUTE = "dispute"
        DISPUTE_WON = "dispute_won"

    kind = models.CharField(max_length=15, choices=Kind.choices)
    stripe_id = models.CharField(max_length=255, help_text="Of the charge, the refund or the dispute.")
    charge_id = models.CharField(max_length=255, blank=True, db_index=True)
    customer_id = models.CharField(
        max_length=255, blank=True, db_index=True, help_text="Stripe's; stays when the account goes."
    )
    price_id = models.CharField(max_length=255, blank=True, help_text="What was paid for, where it is known.")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    occurred_at = models.DateTimeField(db_index=True, help_text="By Stripe's clock.")
    livemode = models.BooleanField(default=False)
    recorded_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now_add=True, db_index=True)  # facts look for it; a row never changes

    class Meta:
        ordering = ["-occurred_at"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "stripe_id"], name="payments_movement_once"),
            models.CheckConstraint(
                condition=Q(kind__in=("charge", "refund_failed", "dispute_won"), amount_minor__gte=0)
                | Q(kind__in=("refund", "dispute"), amount_minor__lte=0),
                name="payments_movement_sign",
            ),
        ]
        indexes = [models.Index(fields=["livemode", "kind", "currency", "amount_minor"], name="payments_movement_sums")]

    def __str__(self) -> str:
        return f"{self.kind} {self.stripe_id}: {self.amount_minor} {self.currency}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save a new row.

        Raises:
            TypeError: where the row is there already.
        """
        if not self._state.adding:
            raise TypeError("A movement of the ledger is never changed: write another one.")
        super().save(*args, **kwargs)


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    """Reads of the log of webhooks."""

    def waiting(self) -> WebhookEventQuerySet:
        """Those that failed, and were not processed since."""
        return self.filter(processed_at=None).exclude(error="")


class WebhookEvent(models.Model):
    """One event of Stripe's whose signature was right, however often it came."""

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255, blank=True)
    customer_id = models.CharField(max_length=255, blank=True, db_index=True)
    livemode = models.BooleanField(default=False)
    api_version = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(help_text="By Stripe's clock.")
    received_at = models.DateTimeField(default=timezone.now, db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    processed_at = models.DateTimeField(null=True, blank=True)
    handled = models.BooleanField(default=False, help_text="Whether its type means something to this site.")
    error = models.CharField(max_length=500, blank=True, help_text="Why it failed last.")
    mirror_error = models.CharField(max_length=500, blank=True, help_text="What the mirror could not store.")
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = WebhookEventQuerySet.as_manager()

    class Meta:
        ordering = ["-received_at"]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class Revision(models.Model):
    """The order of our fetches of one of Stripe's objects, so that a fetch which took long does not overwrite what was
    fetched after it (`payments.revisions`)."""

    object_id = models.CharField(max_length=255, primary_key=True)
    asked = models.PositiveBigIntegerField(default=0, help_text="The number of the fetch that began last.")
    written = models.PositiveBigIntegerField(default=0, help_text="The number of the fetch that was written last.")

    def __str__(self) -> str:
        return f"{self.object_id} {self.written} of {self.asked}"
