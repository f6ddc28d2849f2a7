"""Payments in the admin: plans, customers with their whole story, subscriptions, invoices and the ledger; read-only,
for what Stripe says is not typed in by hand. The log of webhooks is in `admin_webhooks`; dj-stripe's own pages go.
"""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from observability.admin import ReadOnly
from observability.delivery.admin import WindowFilter

from . import admin_overview, admin_story, admin_webhooks, demo, dunning, revenue  # noqa: F401  (the log of webhooks)
from .admin_columns import AtStripe, customer_link, day
from .admin_filters import (
    BilledPlanFilter,
    CurrencyFilter,
    PaymentFilter,
    PlanFilter,
    StandingFilter,
    SubscribedPlanFilter,
)
from .dunning import Outcome
from .models import Customer, Invoice, Movement, Plan, Subscription
from .money import text as money

# Some of dj-stripe's pages end in an error, some ask a query a row, some show keys and signing secrets.
for model in apps.get_app_config("djstripe").get_models():
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(Plan)
class PlanAdmin(AtStripe, ReadOnly, admin.ModelAdmin[Plan]):
    """Plans, as the plans page lists them. They are changed at Stripe."""

    stripe_kind, stripe_id = "price", "price_id"
    list_display = [
        "name", "amount", "every", "trial_days", "active", "subscribers", "position", "at_stripe",
    ]  # fmt: skip
    list_filter = ["active", "interval", CurrencyFilter, "livemode"]
    search_fields = ["name", "price_id", "product_id"]
    fields = [
        "name", "description", "amount", "every", "trial_days", "active", "position", "price_id", "product_id",
        "livemode", "updated_at", "at_stripe",
    ]  # fmt: skip
    readonly_fields = ["amount", "every", "updated_at", "at_stripe"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """With the number of subscribers."""
        counted = Subscription.objects.counted().filter(plan=OuterRef("pk"))
        return super().get_queryset(request).annotate(subscriber_number=_number(counted, "plan"))

    @admin.display(description="active subscriptions", ordering="subscriber_number")
    def subscribers(self, plan: Any) -> SafeString:
        """Active or on trial; the list of them."""
        url = f"{reverse('admin:payments_subscription_changelist')}?plan__id__exact={plan.pk}&standing=counted"
        return format_html('<a href="{}">{}</a>', url, plan.subscriber_number)

    @admin.display(description="at Stripe")
    def at_stripe(self, row: Any) -> SafeString | str:
        """The price's page; a demo plan has none."""
        return "–" if row.price_id.startswith(demo.PREFIX) else super().at_stripe(row)


@admin.register(Customer)
class CustomerAdmin(AtStripe, ReadOnly, admin.ModelAdmin[Customer]):
    """Customers, newest first; each with its whole story."""

    stripe_kind, stripe_id = "customer", "customer_id"
    change_form_template = "admin/payments/customer.html"
    list_display = [
        "customer_id", "user", "email", "subscriptions", "failing", day("created_at"), day("deleted_at"),
        "at_stripe",
    ]  # fmt: skip
    list_filter = [
        ("user", admin.EmptyFieldListFilter), ("deleted_at", admin.EmptyFieldListFilter), "created_at", "livemode",
    ]  # fmt: skip
    list_select_related = ["user"]
    search_fields = ["customer_id__startswith", "user__username", "user__email"]
    search_hint = "the beginning of Stripe's id, or part of a name or address"
    date_hierarchy = "created_at"
    show_full_result_count = False
    list_per_page = 50
    fields = [
        "customer_id",
        "user",
        "email",
        "livemode",
        "created_at",
        "deleted_at",
        "erased_at",
        "address_due_at",
        "updated_at",
        "at_stripe",
    ]
    readonly_fields = ["email", "updated_at", "at_stripe"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Customer]:
        """With the numbers that the list shows."""
        standing = Subscription.objects.standing().filter(customer=OuterRef("pk"))
        failing = dunning.with_outcome(Invoice.objects.filter(customer=OuterRef("pk")), Outcome.OPEN)
        numbers = {"standing_number": _number(standing, "customer"), "failing_number": _number(failing, "customer")}
        return super().get_queryset(request).annotate(**numbers)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The customer's facts, then all that happened."""
        customer = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if customer is not None and self.has_view_permission(request, customer):
            with_events = request.GET.get("events") != "no"
            context["story"] = admin_story.of(customer, reader=request.user, with_events=with_events)
            context["may_see_events"] = request.user.has_perm("payments.view_webhookevent")
            context["subscriptions"] = context["story"].subscriptions
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description="e-mail", ordering="user__email")
    def email(self, customer: Customer) -> str:
        """Of the account."""
        return customer.user.email if customer.user else "–"

    @admin.display(description="subscriptions", ordering="standing_number")
    def subscriptions(self, customer: Any) -> int:
        """Those that have not ended; more than one is paid twice."""
        return int(customer.standing_number)

    @admin.display(description="payments failing", ordering="failing_number")
    def failing(self, customer: Any) -> int:
        """Those that were not made good yet."""
        return int(customer.failing_number)


@admin.register(Subscription)
class SubscriptionAdmin(AtStripe, ReadOnly, admin.ModelAdmin[Subscription]):
    """Subscriptions, newest first."""

    stripe_kind, stripe_id = "subscription", "subscription_id"
    list_display = [
        "subscription_id", "whose", "plan", "status", "amount", day("started_at"), day("period_ends_at"), "end",
        "at_stripe",
    ]  # fmt: skip
    list_filter = [
        "status", StandingFilter, SubscribedPlanFilter, CurrencyFilter, ("started_at", WindowFilter),
        ("ended_at", WindowFilter), "livemode",
    ]  # fmt: skip
    list_select_related = ["plan", "customer__user"]
    search_fields = ["subscription_id__startswith", "customer__customer_id__startswith", "customer__user__username"]
    search_hint = "the beginning of an id of Stripe's, or part of a user's name"
    date_hierarchy = "started_at"
    show_full_result_count = False
    list_per_page = 50
    fieldsets = [
        (None, {"fields": ["subscription_id", "customer", "whose", "status", "membership", "at_stripe"]}),
        ("What is paid", {"fields": ["plan", "price_id", "quantity", "amount", "every"]}),
        ("When", {"fields": ["started_at", "trial_ends_at", "period_starts_at", "period_ends_at", "past_due_since"]}),
        ("Its end", {"fields": ["cancels_at", "canceled_at", "ended_at", "cancellation_reason"]}),
        ("The row", {"fields": ["livemode", "updated_at"]}),
    ]
    readonly_fields = ["whose", "amount", "every", "at_stripe", "updated_at", "membership"]

    @admin.display(description="user", ordering="customer__user__username")
    def whose(self, row: Subscription) -> SafeString:
        """Whose customer it is."""
        return customer_link(row.customer)

    @admin.display(description="ends", ordering="ended_at")
    def end(self, row: Subscription) -> str:
        """When it ended, or is to end."""
        at = row.ended_at or row.cancels_at
        return f"{'ended ' if row.ended_at else ''}{at:%Y-%m-%d}" if at else "renews"


@admin.register(Invoice)
class InvoiceAdmin(AtStripe, ReadOnly, admin.ModelAdmin[Invoice]):
    """Invoices, newest first, and what became of payments that failed."""

    stripe_kind, stripe_id = "invoice", "invoice_id"
    list_display = [
        "__str__", "whose", "plan", "status", "due", day("issued_at"), day("paid_at"), day("failed_at"), "reason",
        "attempts", day("next_attempt_at"), "at_stripe",
    ]  # fmt: skip
    list_filter = [
        PaymentFilter, "reason", "status", CurrencyFilter, BilledPlanFilter, ("issued_at", WindowFilter),
        ("paid_at", WindowFilter), "livemode",
    ]  # fmt: skip
    list_select_related = ["customer__user", "subscription__plan"]
    search_fields = [
        "number__startswith", "invoice_id__startswith", "customer__customer_id__startswith", "customer__user__username",
    ]  # fmt: skip
    search_hint = "the beginning of a number or of an id of Stripe's, or part of a user's name"
    date_hierarchy = "issued_at"
    show_full_result_count = False
    list_per_page = 50
    fieldsets = [
        (None, {"fields": ["number", "invoice_id", "customer", "whose", "subscription", "status", "at_stripe"]}),
        ("Amounts", {"fields": ["due", "paid", "billing_reason", "hosted_url", "pdf_url"]}),
        ("When", {"fields": ["issued_at", "paid_at"]}),
        ("Failures", {"fields": ["attempts", "next_attempt_at", "failed_at", "reason", "decline_code"]}),
        ("The row", {"fields": ["livemode", "updated_at"]}),
    ]
    readonly_fields = ["whose", "due", "paid", "at_stripe", "updated_at"]

    @admin.display(description="user", ordering="customer__user__username")
    def whose(self, row: Invoice) -> SafeString:
        """Whose customer it is for."""
        return customer_link(row.customer)

    @admin.display(description="plan")
    def plan(self, row: Invoice) -> str:
        """Of its subscription."""
        return str(row.subscription.plan or row.subscription.price_id) if row.subscription else "–"

    @admin.display(description="due", ordering="amount_due_minor")
    def due(self, row: Invoice) -> str:
        """In its currency."""
        return money(row.amount_due_minor, row.currency)

    @admin.display(description="paid", ordering="amount_paid_minor")
    def paid(self, row: Invoice) -> str:
        """In its currency."""
        return money(row.amount_paid_minor, row.currency)


@admin.register(Movement)
class MovementAdmin(AtStripe, ReadOnly, admin.ModelAdmin[Movement]):
    """The ledger, newest first, over its sums; and the overview of all payments."""

    stripe_kind, stripe_id = "charge", "charge_id"
    change_list_template = "admin/payments/ledger.html"
    list_display = ["occurred_at", "kind", "amount", "plan", "whose", "stripe_id", "at_stripe"]
    list_filter = ["kind", CurrencyFilter, PlanFilter, ("occurred_at", WindowFilter), "livemode"]
    search_fields = ["stripe_id__startswith", "charge_id__startswith", "customer_id__startswith"]
    search_hint = "the beginning of the id of a charge, refund, dispute or customer"
    date_hierarchy = "occurred_at"
    show_full_result_count = False
    list_per_page = 50
    fields = [
        "kind", "amount", "currency", "stripe_id", "charge_id", "whose", "customer_id", "plan", "price_id",
        "occurred_at", "recorded_at", "livemode", "at_stripe",
    ]  # fmt: skip
    readonly_fields = ["amount", "plan", "whose", "at_stripe"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Movement]:
        """With what stands in other tables under the same ids of Stripe's: looked up for the rows of one page only."""
        plan = Plan.objects.filter(price_id=OuterRef("paid_for")).order_by()
        customer = Customer.objects.filter(customer_id=OuterRef("customer_id")).order_by()
        return revenue.with_price(super().get_queryset(request)).annotate(
            plan_name=Subquery(plan.values("name")),
            plan_interval=Subquery(plan.values("interval")),
            plan_interval_count=Subquery(plan.values("interval_count")),
            customer_pk=Subquery(customer.values("pk")),
            user_name=Subquery(customer.values("user__username")),
        )

    def get_urls(self) -> list[URLPattern]:
        """With the overview's."""
        overview = path("overview/", self.admin_site.admin_view(self.overview_view), name="payments_overview")
        return [overview, *super().get_urls()]

    def overview_view(self, request: HttpRequest) -> HttpResponse:
        """Revenue and subscribers."""
        if not request.user.has_perms(admin_overview.RIGHTS):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Payments",
            "opts": self.opts,
            "overview": admin_overview.overview(request.GET),
        }
        return TemplateResponse(request, "admin/payments/overview.html", context)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, under the sums of what is filtered."""
        response = super().changelist_view(request, {**(extra_context or {}), "title": "The ledger"})
        changelist = getattr(response, "context_data", {}).get("cl") if isinstance(response, TemplateResponse) else None
        if changelist is not None and isinstance(response, TemplateResponse):
            response.context_data = {**(response.context_data or {}), "sums": revenue.sums(changelist.queryset)}
        return response

    @admin.display(description="plan")
    def plan(self, row: Any) -> str:
        """What was paid for."""
        if row.plan_name is None:
            return row.paid_for or "–"
        return str(Plan(name=row.plan_name, interval=row.plan_interval, interval_count=row.plan_interval_count))

    @admin.display(description="customer")
    def whose(self, row: Any) -> SafeString | str:
        """The customer's story."""
        if row.customer_pk is None:
            return row.customer_id or "–"
        url = reverse("admin:payments_customer_change", args=[row.customer_pk])
        return format_html('<a href="{}">{}</a>', url, row.user_name or row.customer_id)


def _number(rows: QuerySet[Any], group: str) -> Any:
    """How many `rows` of an outer row there are, as a subquery."""
    counted = rows.order_by().values(group).annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
