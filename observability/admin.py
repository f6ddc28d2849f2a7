"""Security events and the state of the facts in the admin."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Count, IntegerField, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, TruncHour
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from .models import FactSample, MaintenanceTask, SecurityEvent

TIMELINE_HOURS = 48
TOP_ADDRESSES = 10


class ReadOnly:
    """What is recorded is not typed in by hand, nor deleted."""

    formfield_overrides: Any = {models.URLField: {"assume_scheme": "https"}}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False


def number_of(rows: QuerySet[Any], group: str) -> Any:
    """How many `rows` belong to an outer row: counted for the rows of one page only, not over a join of all."""
    counted = rows.filter(**{group: OuterRef("pk")}).order_by().values(group)
    return Coalesce(Subquery(counted.annotate(number=Count("pk")).values("number"), output_field=IntegerField()), 0)


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnly, admin.ModelAdmin[SecurityEvent]):
    """Security events, newest first, over a timeline and the addresses they come from most."""

    change_list_template = "admin/security_events.html"
    list_display = ["at", "type", "address", "path", "user", "request_id"]
    list_filter = ["type", "at"]
    list_select_related = ["user"]
    search_fields = ["address", "path", "request_id", "detail"]
    date_hierarchy = "at"
    list_per_page = 50

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with what the filtered events look like from further away."""
        response = super().changelist_view(request, extra_context)
        changelist = getattr(response, "context_data", {}).get("cl") if isinstance(response, TemplateResponse) else None
        if changelist is not None and isinstance(response, TemplateResponse):
            events = changelist.queryset.order_by()
            response.context_data = {
                **(response.context_data or {}),
                "addresses": top_addresses(events),
                "timeline": timeline(events),
                "timeline_hours": TIMELINE_HOURS,
            }
        return response


def top_addresses(events: QuerySet[SecurityEvent]) -> list[dict[str, Any]]:
    """The addresses with the most of `events`, each with `number`, how many `types`, and when it was `last` seen."""
    known = events.exclude(address=None).values("address")
    counted = known.annotate(number=Count("pk"), types=Count("type", distinct=True), last=Max("at"))
    return [dict(row) for row in counted.order_by("-number", "address")[:TOP_ADDRESSES]]


def timeline(events: QuerySet[SecurityEvent]) -> list[dict[str, Any]]:
    """For each of the last hours: `hour`, the `number` of events in it, and the bar's `x`, `y` and `height` of 100."""
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    since = this_hour - timedelta(hours=TIMELINE_HOURS - 1)
    by_hour = events.filter(at__gte=since).annotate(hour=TruncHour("at")).values_list("hour")
    numbers = dict(by_hour.annotate(number=Count("pk")).order_by("hour"))
    highest = max(numbers.values(), default=0) or 1
    bars = []
    for index in range(TIMELINE_HOURS):
        hour = since + timedelta(hours=index)
        number = numbers.get(hour, 0)
        height = max(1 if number else 0, round(100 * number / highest))
        bars.append({"hour": hour, "number": number, "x": index * 10, "y": 100 - height, "height": height})
    return bars


@admin.register(FactSample)
class FactSampleAdmin(ReadOnly, admin.ModelAdmin[FactSample]):
    """The facts as last computed: how old, how slow, and what failed."""

    list_display = ["fact", "checked_at", "computed_at", "duration", "series", "error"]
    list_filter = [("error", admin.EmptyFieldListFilter)]
    ordering = ["fact"]

    @admin.display(description="took", ordering="duration_seconds")
    def duration(self, sample: FactSample) -> str:
        """How long its query took."""
        return f"{sample.duration_seconds * 1000:.0f} ms"

    @admin.display(description="series")
    def series(self, sample: FactSample) -> int:
        """How many series it gives."""
        return len(sample.samples)


@admin.register(MaintenanceTask)
class MaintenanceTaskAdmin(ReadOnly, admin.ModelAdmin[MaintenanceTask]):
    """Backups, retention and the other periodic tasks: when each last succeeded, and why one fails."""

    list_display = ["task", "succeeded_at", "took", "detail", "failed_at", "error"]
    list_filter = [("error", admin.EmptyFieldListFilter)]

    @admin.display(description="took", ordering="duration_seconds")
    def took(self, row: MaintenanceTask) -> str:
        """How long its last success took."""
        return "" if row.duration_seconds is None else f"{row.duration_seconds:,.1f} s"
