"""In the admin: who looked at an item, for how long, and how far."""

from dataclasses import dataclass

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from observability.delivery.charts import HEIGHT, WIDTH, Bar, bars

from . import audience
from .audience import Part
from .models import Item

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Step:
    """One twentieth of the completion curve, in the chart's own coordinates."""

    part: Part
    x: float
    y: float
    width: float
    height: float


class AudienceMixin(admin.ModelAdmin[Item]):
    """Adds to the admin of items: `<id>/audience/`, the overview `audience/` of all, and a column that leads there."""

    def get_urls(self) -> list[URLPattern]:
        """With the audience's."""
        of_all = self.admin_site.admin_view(self.audiences_view)
        of_one = self.admin_site.admin_view(self.audience_view)
        return [
            path("audience/", of_all, name="content_item_audiences"),
            path("<int:pk>/audience/", of_one, name="content_item_audience"),
            *super().get_urls(),
        ]

    @admin.display(description="audience")
    def audience_link(self, item: Item) -> SafeString:
        """For `list_display`."""
        url = reverse("admin:content_item_audience", args=[item.pk])
        return format_html('<a href="{}">Audience<span class="visually-hidden"> of {}</span></a>', url, item)

    def audience_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Of one item."""
        item = Item.objects.filter(pk=pk).first()
        if item is None:
            raise Http404
        if not self.has_view_permission(request, item):
            raise PermissionDenied
        found = audience.of(item, audience.last_months(timezone.now()))
        drawn = bars([seconds for _, seconds in found.months])
        context = {
            **self.admin_site.each_context(request),
            "title": f"Audience of {item}",
            "opts": self.opts,
            "item": item,
            "audience": found,
            "steps": steps(found.parts),
            "months": [
                Column(date_format(month.start, "F Y"), minutes(seconds), bar)
                for (month, seconds), bar in zip(found.months, drawn, strict=True)
            ],
            "minutes": minutes(found.played_seconds),
            "mean": minutes(found.mean_seconds),
            "highest": minutes(max(seconds for _, seconds in found.months)),
        }
        return TemplateResponse(request, "admin/content/audience.html", context)

    def audiences_view(self, request: HttpRequest) -> HttpResponse:
        """Of all items."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        months = audience.last_months(timezone.now())
        page = Paginator(audience.ranked(months), PER_PAGE).get_page(request.GET.get("page"))
        ranked = list(page.object_list)
        items = Item.objects.in_bulk([one.item for one in ranked])
        played = audience.by_month(list(items), months)
        nothing = [0.0] * len(months)
        context = {
            **self.admin_site.each_context(request),
            "title": "Audience of the library",
            "opts": self.opts,
            "page": page,
            "months": [date_format(month.start, "M Y") for month in reversed(months)],
            "rows": [
                {
                    "item": items[one.item],
                    "ranked": one,
                    "minutes": minutes(one.seconds),
                    "months": [minutes(seconds) for seconds in reversed(played.get(one.item, nothing))],
                }
                for one in ranked
                if one.item in items
            ],
        }
        return TemplateResponse(request, "admin/content/audiences.html", context)


@dataclass(frozen=True, slots=True)
class Column:
    """What a chart shows of one month."""

    name: str
    minutes: str
    bar: Bar


def steps(parts: list[Part]) -> list[Step]:
    """The completion curve: the whole height is every viewing."""
    width = WIDTH / max(len(parts), 1)
    return [
        Step(
            part,
            x=round(index * width, 1),
            y=round(HEIGHT * (1 - part.share), 1),
            width=round(width, 1),
            height=round(HEIGHT * part.share, 1),
        )
        for index, part in enumerate(parts)
    ]


def minutes(seconds: float) -> str:
    """In words: below ten, with a tenth."""
    number = seconds / 60
    return f"{number:,.1f}" if 0 < number < 10 else f"{number:,.0f}"
