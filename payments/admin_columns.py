"""Columns that several pages of the payments in the admin have: amounts, days, pages at Stripe, the customer."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from . import dashboard
from .models import Customer
from .money import every
from .money import text as money


class AtStripe:
    """Rows that stand in Stripe's dashboard too: a link, and amounts as people read them."""

    search_hint = ""  # what the search of the list finds
    stripe_kind = ""
    stripe_id = ""

    @admin.display(description="at Stripe")
    def at_stripe(self, row: Any) -> SafeString | str:
        """The row's page in Stripe's dashboard."""
        url = dashboard.url(self.stripe_kind, getattr(row, self.stripe_id), livemode=row.livemode)
        if not url:
            return "–"
        return format_html('<a href="{}" rel="noreferrer">Open</a>', url)

    @admin.display(description="amount", ordering="amount_minor")
    def amount(self, row: Any) -> str:
        """In its currency."""
        return money(row.amount_minor, row.currency)

    @admin.display(description="every", ordering="interval")
    def every(self, row: Any) -> str:
        """How often it is paid."""
        return every(row)


def day(name: str) -> Callable[[Any], str]:
    """A column of a time by its day alone, so that more columns fit; times stand on the row's own page."""

    @admin.display(description=name.removesuffix("_at").replace("_", " "), ordering=name)
    def shown(row: Any) -> str:
        at = getattr(row, name)
        return f"{at:%Y-%m-%d}" if at else "–"

    return shown


def customer_link(customer: Customer) -> SafeString:
    """A link to a customer's story, by the user's name where there is one."""
    url = reverse("admin:payments_customer_change", args=[customer.pk])
    return format_html('<a href="{}">{}</a>', url, customer.user or customer.customer_id)
