"""What all dashboards have alike: where the data comes from, the marks of deployments, the links, and the finish."""

import json
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from . import queries
from .panels import BLUE, DATASOURCE, Panel

TAG = "bambisleep"
Board = dict[str, Any]
Variable = dashboard.QueryVariable | dashboard.DatasourceVariable


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading; the first row of a dashboard has none."""

    title: str
    panels: list[Panel]


def board(
    uid: str,
    title: str,
    about: str,
    rows: list[Row],
    *,
    variables: list[Variable] | None = None,
    last: str = "6h",
    refresh: str = "30s",
    deployments: str = 'service!="demo"',
) -> Board:
    """A finished dashboard.

    Args:
        variables: besides the data source and the job.
        last: the time range that it opens with.
        deployments: matchers of the deployments to mark.
    """
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .time(f"now-{last}", "now")
        .refresh(refresh)
        .variables([_source(), _job(), *(variables or [])])
        .annotation(_deployments(deployments))
        .link(_siblings())
    )
    for row in rows:
        if row.title:
            built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(panel)
    return finish(json.loads(JSONEncoder().encode(built.build())))


def choice(name: str, label: str, query: str, *, default: str = "", several: bool = False) -> dashboard.QueryVariable:
    """A variable whose values Prometheus knows; `several`: any number of them, at first all."""
    found = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        return found.all_value(".*").current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return found.current(model.VariableOption(selected=True, text=default, value=default))


def _source() -> dashboard.DatasourceVariable:
    default = model.VariableOption(selected=True, text="Prometheus", value="prometheus")
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(default)


def _job() -> dashboard.QueryVariable:
    return choice("job", "Job", "label_values(bambisleep_build_info, job)", default="bambisleep")


def _deployments(matchers: str) -> dashboard.AnnotationQuery:
    """A mark where each deployment finished: the series' value is that moment, its label the version."""
    moment = queries.fact("deployment_last_timestamp_seconds", matchers)
    return (
        dashboard.AnnotationQuery()
        .name("Deployments")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(BLUE)
        .expr(f"{moment} * 1000")  # Grafana's moments are in milliseconds
        .step("60s")
        .use_value_for_time(True)
        .title_format("{{service}} {{version}}")
        .text_format("Deployed to {{environment}}")
        .tag_keys("service,environment,version")
    )


def _siblings() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Dashboards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(False)  # the delivery measures look at a month, the others at hours
        .icon("dashboard")
    )


def finish(built: Board) -> Board:
    """What the SDK leaves undone: ids for rows, no keys that Grafana's schema does not know there, nothing hidden."""
    for index, panel in enumerate(built["panels"]):
        if panel["type"] == "row":
            panel["id"] = 1000 + index
        if panel["type"] == "table":
            panel["options"].pop("footer")  # a field's own affair since Grafana 12
    for variable in built["templating"]["list"]:
        for key in ("auto", "auto_min", "auto_count"):  # of interval variables
            variable.pop(key)
    for shown in [*built["links"], *built["annotations"]["list"]]:
        shown.pop("placement")  # would put it into a menu
    return built
