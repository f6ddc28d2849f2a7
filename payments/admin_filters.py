"""Filters of the payments' pages in the admin: those whose choices are words of ours, not of a column."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from . import dunning, revenue, subscribers
from .dunning import Outcome
from .models import InvoiceQuerySet, Plan

Choices = list[tuple[str, str]]


class CurrencyFilter(admin.SimpleListFilter):
    """By the currencies of plans: to ask the ledger for its own would mean to walk through it."""

    title = parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Those of all plans."""
        codes = Plan.objects.order_by("currency").values_list("currency", flat=True).distinct()
        return [(code, code.upper()) for code in codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the chosen one."""
        return queryset.filter(currency=self.value()) if self.value() else queryset


class PlanFilter(admin.SimpleListFilter):
    """By plan, as people call it: that of a movement, which `revenue.with_price` tells the price of."""

    title = parameter_name = "plan"
    price = "paid_for"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The names, and what is of no plan."""
        self._names = revenue.plan_names()
        return [(name, name) for name in [*dict.fromkeys(self._names.values()), revenue.NO_PLAN]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that are about it."""
        if self.value() is None:
            return queryset
        if self.value() == revenue.NO_PLAN:
            return queryset.exclude(**{f"{self.price}__in": list(self._names)})
        prices = [price for price, name in self._names.items() if name == self.value()]
        return queryset.filter(**{f"{self.price}__in": prices})


class SubscribedPlanFilter(PlanFilter):
    """By the plan of a subscription."""

    price = "plan__price_id"


class BilledPlanFilter(PlanFilter):
    """By the plan that an invoice is for."""

    price = "subscription__plan__price_id"


class StandingFilter(admin.SimpleListFilter):
    """By what became of subscriptions, across Stripe's statuses."""

    title = parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """In the order of a life."""
        return [
            ("began", "began: paid or on trial once"),
            ("counted", "active or on trial"),
            ("ending", "will end"),
            ("churned", "began and ended"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The chosen ones."""
        choices: dict[str, Callable[[Any], QuerySet[Any]]] = {
            "began": subscribers.began,
            "counted": lambda found: found.counted(),
            "ending": lambda found: found.standing().filter(cancels_at__isnull=False),
            "churned": subscribers.churned,
        }
        chosen = choices.get(str(self.value()))
        return chosen(queryset) if chosen else queryset


class PaymentFilter(admin.SimpleListFilter):
    """Failed payments, and what became of them."""

    title = "failed payments"
    parameter_name = "payment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """All that failed, then what became of them."""
        return [
            ("failed", "failed once or more"),
            (Outcome.OPEN.value, "not made good yet"),
            (Outcome.RECOVERED.value, "recovered: paid after all"),
            (Outcome.LOST.value, "lost: given up"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The chosen ones."""
        if not isinstance(queryset, InvoiceQuerySet) or self.value() is None:
            return queryset
        if self.value() in Outcome.values:
            return dunning.with_outcome(queryset, str(self.value()))
        return queryset.failed()


class StateFilter(admin.SimpleListFilter):
    """By what became of an event."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The failed ones first."""
        return [
            ("failed", "failed: waits to be processed"),
            ("pending", "not processed yet"),
            ("repaired", "processed after it had failed"),
            ("processed", "processed"),
            ("mirror", "processed, but not in the mirror"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The chosen ones."""
        processed = Q(processed_at__isnull=False)
        choices = {
            "failed": ~processed & ~Q(error=""),
            "pending": ~processed & Q(error=""),
            "repaired": processed & Q(attempts__gt=1),
            "processed": processed,
            "mirror": ~Q(mirror_error=""),
        }
        return queryset.filter(choices[str(self.value())]) if self.value() in choices else queryset


class SubjectFilter(admin.SimpleListFilter):
    """By what an event is about, after the beginning of its type."""

    title = parameter_name = "subject"
    beginnings = (
        "charge.", "charge.dispute.", "checkout.", "customer.", "customer.subscription.", "invoice.", "price.",
        "product.", "refund.",
    )  # fmt: skip

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Of the types that this site acts on."""
        return [(beginning, beginning.rstrip(".")) for beginning in self.beginnings]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those whose type begins so."""
        return queryset.filter(type__startswith=self.value()) if self.value() in self.beginnings else queryset
