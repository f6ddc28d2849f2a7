"""The log of Stripe's events in the admin: those that failed are named above all others, and can be processed again."""

import time
from typing import Any

import structlog
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from observability.delivery.admin import Stated, WindowFilter
from observability.problems import DATABASE_AWAY, Problem

from . import processing, stripe_api
from .admin_columns import AtStripe, customer_link
from .admin_filters import StateFilter, SubjectFilter
from .models import Customer, WebhookEvent

log = structlog.get_logger("bambisleep.payments")

ERROR_SHOWN = 90  # characters, in the list
PATIENCE_SECONDS = 45  # for one action, which a browser waits for


@admin.register(WebhookEvent)
class WebhookEventAdmin(AtStripe, Stated, admin.ModelAdmin[WebhookEvent]):
    """Events of Stripe's whose signature was right, newest first."""

    stripe_kind, stripe_id = "event", "event_id"
    change_list_template = "admin/payments/webhooks.html"
    change_form_template = "admin/payments/webhook.html"
    list_display = ["type", "outcome", "received_at", "attempts", "customer_id", "at_stripe"]
    list_filter = [StateFilter, SubjectFilter, "handled", ("received_at", WindowFilter), "livemode"]
    search_fields = ["event_id__startswith", "object_id__startswith", "customer_id__startswith", "type__startswith"]
    search_hint = "the beginning of a type, or of the id of an event, an object or a customer"
    date_hierarchy = "received_at"
    show_full_result_count = False
    list_per_page = 50
    actions = ["process_again"]
    fieldsets = [
        (None, {"fields": ["event_id", "type", "handled", "outcome", "at_stripe"]}),
        ("What it is about", {"fields": ["object_id", "customer", "customer_id"]}),
        ("When", {"fields": ["created_at", "received_at", "processed_at"]}),
        ("How it went", {"fields": ["attempts", "error", "mirror_error"]}),
        ("The row", {"fields": ["livemode", "api_version", "updated_at"]}),
    ]
    readonly_fields = ["outcome", "at_stripe", "customer", "updated_at"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with how many failed and wait."""
        context = {**(extra_context or {}), "waiting": WebhookEvent.objects.waiting().count()}
        return super().changelist_view(request, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Its facts, and what may be done."""
        context = {**(extra_context or {}), "may_state": self.has_state_permission(request)}
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description="outcome", ordering="processed_at")
    def outcome(self, row: WebhookEvent) -> SafeString | str:
        """What became of it, and why it failed, where it did."""
        if row.processed_at is None and row.error:
            return format_html('<strong class="bad">failed</strong>: {}', Truncator(row.error).chars(ERROR_SHOWN))
        if row.processed_at is None:
            return "not processed yet"
        if not row.handled:
            return "noted: it means nothing here"
        return "processed, but not in the mirror" if row.mirror_error else "processed"

    @admin.display(description="customer")
    def customer(self, row: WebhookEvent) -> SafeString | str:
        """The customer's story."""
        customer = Customer.objects.select_related("user").filter(customer_id=row.customer_id).first()
        return customer_link(customer) if customer else "–"

    @admin.action(description="Process again…", permissions=["state"])
    def process_again(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> HttpResponse | None:
        """Do what the events were about, by what Stripe says now."""
        return self.state(
            request,
            queryset.order_by("created_at"),
            question="Process again?",
            button="Process again",
            act=_Processing(),
            detail=lambda row: f"{row}: {row.error}" if row.error else str(row),
        )


class _Processing:
    """Processes one event after the other, until Stripe does not answer or it takes too long: a browser waits."""

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + PATIENCE_SECONDS
        self._is_down = False

    def __call__(self, row: WebhookEvent) -> str | None:
        """What was done, as the end of a sentence; None where nothing was left to do; raises Problem."""
        if row.processed_at:
            return None
        if self._is_down:
            raise Problem("Left alone, since Stripe does not answer.")
        if time.monotonic() > self._ends_at:
            raise Problem("Left for another time, since the others took so long.")
        try:
            processing.process(row)
        except stripe_api.Unavailable:
            self._is_down = True
            raise
        except (Problem, *DATABASE_AWAY):
            raise
        except Exception as error:
            log.warning("processing_again_failed", event_id=row.event_id, exc_info=True)
            raise Problem(f"It failed again, with a {type(error).__name__}; its page says more.") from error
        return "processed."
