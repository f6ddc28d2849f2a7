"""What the admin's overview of payments shows: revenue and subscribers by month and plan, each number with the address
of the rows behind it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from . import charts, dunning, months, revenue, stripe_api, subscribers
from .charts import Chart
from .dunning import Outcome
from .models import Invoice, Movement, Plan, Status, Subscription, WebhookEvent
from .money import text as money
from .months import Month
from .revenue import Money
from .subscribers import Change

PERIODS = (3, 6, 12, 24, 36)  # months
DEFAULT_MONTHS = 12
RIGHTS = ("payments.view_movement", "payments.view_subscription", "payments.view_invoice")


class Addable(Protocol):
    """Figures that add up."""

    def __add__(self, other: Any) -> Any: ...


Figures = TypeVar("Figures", bound=Addable)


@dataclass(frozen=True, slots=True)
class Link:
    """A number in words, and the rows behind it; no address where there is nothing to see."""

    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: of a month (`label` is its name), or of one plan in it."""

    label: Link
    cells: list[Link]
    is_plan: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What a chart shows of one month: its blocks, and the figures in words."""

    name: str
    blocks: list[charts.Block]
    words: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart, and the table behind it."""

    name: str
    title: str
    series: list[str]  # those drawn; the columns of the table go on from there
    columns: list[str]
    totals: list[Link]
    places: list[Place]
    base: float
    highest: str
    rows: list[Row]

    @property
    def columns_and_totals(self) -> list[tuple[str, Link]]:
        """Each column's name, and its sum over the whole period."""
        return list(zip(self.columns, self.totals, strict=True))


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the page shows. Without any payment or subscription, only `is_empty` and the mode matter."""

    is_empty: bool
    is_live: bool
    is_configured: bool
    number: int
    periods: tuple[int, ...] = PERIODS
    plan: str = ""
    plans: list[str] = field(default_factory=list)
    start: datetime | None = None
    attention: list[Link] = field(default_factory=list)
    revenue: list[Panel] = field(default_factory=list)
    changes: Panel | None = None
    statuses: list[str] = field(default_factory=list)
    standing: list[Row] = field(default_factory=list)


def overview(asked: Mapping[str, str]) -> Overview:
    """The page for what the URL asks: `months`, and `plan` to see one alone."""
    number = next((number for number in PERIODS if str(number) == asked.get("months")), DEFAULT_MONTHS)
    page = partial(Overview, is_live=settings.STRIPE_LIVE_MODE, is_configured=stripe_api.is_configured(), number=number)
    of_mode = {"livemode": settings.STRIPE_LIVE_MODE}
    if not (Movement.objects.filter(**of_mode).exists() or Subscription.objects.filter(**of_mode).exists()):
        return page(is_empty=True)
    names = list(dict.fromkeys(str(plan) for plan in Plan.objects.filter(**of_mode)))
    plan = asked.get("plan", "") if asked.get("plan") in names else ""
    over = months.last(number, timezone.now())
    standing = subscribers.standing()
    statuses = [status for status in Status.values if any(status in counts for counts in standing.values())]
    return page(
        is_empty=False,
        plan=plan,
        plans=names,
        start=over[0].start,
        attention=attention(),
        revenue=[
            _revenue(currency, found, over, plan)
            for currency, found in sorted(revenue.by_month(over, plan=plan).items())
        ],
        changes=_changes(over, plan),
        statuses=[str(Status(status).label).lower() for status in statuses],
        standing=[
            Row(
                Link(name),
                [
                    _count(counts.get(status, 0), _rows("subscription", status__exact=status, **_of(name)))
                    for status in statuses
                ],
            )
            for name, counts in sorted(standing.items())
        ],
    )


def attention() -> list[Link]:
    """What somebody should look at: payments that fail still, and events that failed. Empty is good."""
    invoices = Invoice.objects.filter(livemode=settings.STRIPE_LIVE_MODE)
    failing = dunning.with_outcome(invoices, Outcome.OPEN).count()
    waiting = WebhookEvent.objects.waiting().count()
    found = []
    if failing:
        text = f"{failing:,} failed {'payment' if failing == 1 else 'payments'} not made good yet"
        found.append(Link(text, _rows("invoice", payment=Outcome.OPEN)))
    if waiting:
        text = f"{waiting:,} {'event' if waiting == 1 else 'events'} of Stripe's that could not be processed"
        found.append(Link(text, _rows("webhookevent", state="failed")))
    return found


def _revenue(currency: str, found: Mapping[int, Mapping[str, Money]], over: list[Month], plan: str) -> Panel:
    def cells(figures: Money) -> list[Link]:
        return [Link(money(value, currency)) for value in (*_parts(figures), figures.net)]

    def _parts(figures: Money) -> tuple[int, int, int]:
        return figures.gross, figures.refunds, figures.disputes

    columns = ["Gross", "Refunds", "Disputes", "Net"]
    by_month = [found.get(index, {}) for index in range(len(over))]
    sums = [_sum(plans.values(), Money()) for plans in by_month]
    rows = []
    for month, plans, total in zip(over, by_month, sums, strict=True):
        rows.append(
            Row(
                Link(_name(month), _rows("movement", currency=currency, **_of(plan), **_in("occurred_at", month))),
                cells(total),
            )
        )
        if not plan:
            rows += [
                Row(
                    Link(name, _rows("movement", currency=currency, **_of(name), **_in("occurred_at", month))),
                    cells(figures),
                    is_plan=True,
                )
                for name, figures in sorted(plans.items())
            ]
    chart = charts.stacked([_parts(total) for total in sums])
    return Panel(
        name=f"revenue-{currency}",
        title=f"Revenue in {currency.upper()}",
        series=columns[:3],
        columns=columns,
        totals=cells(_sum(sums, Money())),
        places=_places(chart, over, columns, [cells(total) for total in sums]),
        base=chart.base,
        highest=money(max(total.gross for total in sums), currency),
        rows=rows,
    )


def _changes(over: list[Month], plan: str) -> Panel:
    columns = ["New", "Churned", "Recovered"]
    found = subscribers.by_month(over, plan=plan)
    by_month = [found.get(index, {}) for index in range(len(over))]
    sums = [_sum(plans.values(), Change()) for plans in by_month]

    def cells(figures: Change, month: Month, name: str) -> list[Link]:
        return [
            _count(figures.new, _rows("subscription", standing="began", **_of(name), **_in("started_at", month))),
            _count(figures.churned, _rows("subscription", standing="churned", **_of(name), **_in("ended_at", month))),
            _count(
                figures.recovered, _rows("invoice", payment=Outcome.RECOVERED, **_of(name), **_in("paid_at", month))
            ),
        ]

    rows = []
    for month, plans, total in zip(over, by_month, sums, strict=True):
        rows.append(Row(Link(_name(month)), cells(total, month, plan)))
        if not plan:
            rows += [
                Row(Link(name), cells(figures, month, name), is_plan=True) for name, figures in sorted(plans.items())
            ]
    chart = charts.stacked([(total.new, -total.churned, total.recovered) for total in sums])
    whole = Month(over[0].start, over[-1].end)
    return Panel(
        name="subscribers",
        title="Subscribers",
        series=columns,
        columns=columns,
        totals=cells(_sum(sums, Change()), whole, plan),
        places=_places(chart, over, columns, [cells(t, m, plan) for t, m in zip(sums, over, strict=True)]),
        base=chart.base,
        highest=f"{max(total.new + total.recovered for total in sums):,}",
        rows=rows,
    )


def _sum(figures: Iterable[Figures], nothing: Figures) -> Figures:
    total = nothing
    for each in figures:
        total = total + each
    return total


def _places(chart: Chart, over: list[Month], columns: list[str], cells: list[list[Link]]) -> list[Place]:
    return [
        Place(
            _name(month),
            blocks,
            f"{_name(month)}: "
            + ", ".join(f"{column.lower()} {cell.text}" for column, cell in zip(columns, texts, strict=True)),
        )
        for blocks, month, texts in zip(chart.places, over, cells, strict=True)
    ]


def _name(month: Month) -> str:
    return date_format(month.start, "F Y")


def _count(number: int, url: str) -> Link:
    return Link(f"{number:,}", url if number else "")


def _in(time: str, month: Month) -> dict[str, str]:
    return {f"{time}__gte": month.start.isoformat(), f"{time}__lt": month.end.isoformat()}


def _of(plan: str) -> dict[str, str]:
    return {"plan": plan} if plan else {}


def _rows(model: str, **filters: str) -> str:
    mode = {"livemode__exact": str(int(settings.STRIPE_LIVE_MODE))} if model != "webhookevent" else {}
    return f"{reverse(f'admin:payments_{model}_changelist')}?{urlencode({**filters, **mode})}"
