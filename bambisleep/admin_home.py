"""The admin's home page: the five measures of one pipeline, each number with the address of the rows behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.urls import reverse
from django.utils import timezone

from observability.delivery import charts, measures, trends, wording
from observability.delivery.charts import Bar
from observability.delivery.measures import Measure, Window
from observability.delivery.models import Incident, Pipeline, Severity, Standing
from observability.delivery.trends import Point

# The windows to choose from, in days, and into how many parts each chart divides them.
PARTS = {7: 7, 30: 10, 90: 15, 365: 12}
DEFAULT_DAYS = 30
OPEN_INCIDENTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Link:
    """A number in words, and the rows behind it."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    """One part of a chart: its bar, and the line of the table behind it."""

    bar: Bar
    start: datetime
    end: datetime
    value: str
    samples: int


@dataclass(frozen=True, slots=True)
class Card:
    """One measure as the page shows it."""

    name: str
    title: str
    value: str
    p90: str
    rows_url: str
    reason: str | None
    tier: str
    direction: str
    trend: str
    samples: list[Link]
    excluded: list[Link]
    rows: list[Row]
    highest: str
    is_median: bool
    what: str


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the page shows. Without any pipeline, only `is_empty` matters."""

    is_empty: bool
    service: str
    environment: str
    days: int
    services: list[str]
    environments: list[str]
    windows: list[int]
    window: Window
    bar: str
    cards: list[Card]
    open_incidents: list[Incident]
    open_number: int
    open_url: str
    definitions: str = measures.DEFINITIONS


def overview(asked: Mapping[str, str]) -> Overview:
    """The page for what the URL asks: `service`, `environment` and `days`, each with a default that has data."""
    pipelines = list(Pipeline.objects.order_by("service", "environment").values_list("service", "environment"))
    days = next((days for days in PARTS if str(days) == asked.get("days")), DEFAULT_DAYS)
    service, environment = _choice(pipelines, asked)
    window = measures.days_before(timezone.now(), days)
    open_incidents = Incident.objects.of(service, environment).open()
    open_number = open_incidents.count()
    return Overview(
        is_empty=not pipelines,
        service=service,
        environment=environment,
        days=days,
        services=sorted({name for name, _ in pipelines} | {service}),
        environments=sorted({name for _, name in pipelines} | {environment}),
        windows=list(PARTS),
        window=window,
        bar="1 day" if PARTS[days] == days else f"{days / PARTS[days]:.3g} days",
        cards=_cards(service, environment, days, window) if pipelines else [],
        open_incidents=list(_worst_first(open_incidents)) if open_number else [],
        open_number=open_number,
        open_url=_rows("incident", service=service, environment=environment, resolved_at__isnull="True"),
    )


def _choice(pipelines: list[tuple[str, str]], asked: Mapping[str, str]) -> tuple[str, str]:
    """What is asked for; else what is configured, where it has data; else what has."""
    # PostgreSQL stores no NUL, so no name holds one.
    service, environment = (asked.get(name, "").replace("\x00", "") for name in ("service", "environment"))
    if service and environment:
        return service, environment
    fitting = [pair for pair in pipelines if service in {"", pair[0]} and environment in {"", pair[1]}]
    configured = (service or settings.DEPLOY_SERVICE, environment or settings.DEPLOY_ENVIRONMENT)
    return configured if configured in fitting or not fitting else fitting[0]


def _worst_first(incidents: QuerySet[Incident]) -> QuerySet[Incident]:
    rank = Case(
        *[When(severity=severity, then=Value(index)) for index, severity in enumerate(Severity.values)],
        output_field=IntegerField(),
    )
    return incidents.order_by(rank, "started_at").select_related("deployment")[:OPEN_INCIDENTS_SHOWN]


def _cards(service: str, environment: str, days: int, window: Window) -> list[Card]:
    found = measures.compute(service=service, environment=environment, window=window)
    parts = trends.history(service=service, environment=environment, window=window, number=PARTS[days])
    addresses = _Addresses(service, environment, window)
    return [_card(name, measure, parts[name], addresses, days) for name, measure in found.items()]


def _card(name: str, measure: Measure, points: list[Point], addresses: "_Addresses", days: int) -> Card:
    values = [point.value for point in points]
    texts = [wording.amount(value, measure.unit) for value in values]
    drawn = charts.bars(values)
    highest = max((value for value in values if value is not None), default=None)
    return Card(
        name=name,
        title=wording.TITLES.get(name, name.replace("_", " ").capitalize()),
        value=wording.amount(measure.value, measure.unit),
        p90="" if measure.p90 is None else wording.amount(measure.p90, measure.unit),
        rows_url=addresses.counted(name),
        reason=measure.reason,
        tier=f"{measure.tier['name']} (dora.dev, {measure.tier['year']})" if measure.tier else "",
        direction=wording.direction(name, measure),
        trend=wording.trend(name, measure, days=days),
        samples=addresses.samples(name, measure),
        excluded=[
            Link(f"{number} {wording.exclusion(reason)}", addresses.excluded(reason))
            for reason, number in measure.excluded.items()
            if number
        ],
        rows=[
            Row(bar, point.window.start, point.window.end, text, point.samples)
            for bar, point, text in zip(drawn, points, texts, strict=True)
        ],
        highest=wording.amount(highest, measure.unit),
        is_median=measure.unit == "seconds",
        what=_WHAT[name][1],
    )


# What each measure counts: one of them, several of them.
_WHAT = {
    "deployment_frequency": ("deployment", "deployments"),
    "change_lead_time": ("commit", "commits"),
    "change_fail_rate": ("deployment", "deployments"),
    "failed_deployment_recovery_time": ("incident", "incidents"),
    "deployment_rework_rate": ("deployment", "deployments"),
}


class _Addresses:
    """Where the rows behind each number are listed."""

    def __init__(self, service: str, environment: str, window: Window) -> None:
        self.pipeline = {"service": service, "environment": environment}
        self.window = window

    def counted(self, name: str) -> str:
        """The rows that a measure's value is made of."""
        if name == "change_lead_time":
            return self._rows("deployedcommit", "deployed_at", standing__exact=Standing.COUNTED)
        if name == "failed_deployment_recovery_time":
            return self._rows("incident", "resolved_at", deployment__isempty="0")
        return self._rows("deployment", "finished_at")

    def samples(self, name: str, measure: Measure) -> list[Link]:
        """The number of samples; for a ratio, before it the number of those that make it up."""
        one, many = _WHAT[name]
        links = [Link(f"{measure.samples} {one if measure.samples == 1 else many}", self.counted(name))]
        if measure.unit == "ratio" and measure.value is not None:
            number = round(measure.value * measure.samples)
            if name == "change_fail_rate":
                return [Link(f"{number} failed", self._rows("deployment", "finished_at", failed_change="yes")), *links]
            url = self._rows("deployment", "finished_at", rework="yes")
            return [Link(f"{number} hotfix or rollback", url), *links]
        return links

    def excluded(self, reason: str) -> str:
        """The rows left out for one reason."""
        if reason == "not_caused_by_change":
            return self._rows("incident", "resolved_at", deployment__isempty="1")
        if reason == "unresolved":
            until = self.window.end.isoformat()
            return _rows(
                "incident", **self.pipeline, deployment__isempty="0", resolved_at__isnull="True", started_at__lt=until
            )
        return self._rows("deployedcommit", "deployed_at", standing__exact=reason)

    def _rows(self, model: str, time: str, **filters: str) -> str:
        between = {f"{time}__gte": self.window.start.isoformat(), f"{time}__lt": self.window.end.isoformat()}
        return _rows(model, **self.pipeline, **filters, **between)


def _rows(model: str, **filters: str) -> str:
    return f"{reverse(f'admin:delivery_{model}_changelist')}?{urlencode(filters)}"
