"""Reading the dashboards as Grafana does: their panels, queries, variables and annotations, ready to be executed."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.servers import ROOT

DIRECTORY = ROOT / "deploy" / "grafana" / "dashboards"

_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel, with Grafana's variables still in it."""

    expression: str
    ref: str
    legend: str
    instant: bool  # asked for now; else over the time range
    form: str  # "time_series", "table" or "heatmap"


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel shows, and how."""

    id: int
    title: str
    kind: str  # "stat", "timeseries", …
    queries: tuple[Query, ...]
    interval: str  # the least step, such as "1d"; empty for the data source's own
    json: dict[str, Any] = field(repr=False)

    @property
    def defaults(self) -> dict[str, Any]:
        """How its values are shown: unit, thresholds, noValue, …"""
        found: dict[str, Any] = self.json["fieldConfig"]["defaults"]
        return found


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the dashboard, and the value that it opens with, as it stands in a query."""

    name: str
    kind: str  # "query" or "datasource"
    query: str
    default: str
    json: dict[str, Any] = field(repr=False)

    @property
    def expression(self) -> str:
        """PromQL whose series are the variable's values, for label_values(series, label)."""
        found = _LABEL_VALUES.fullmatch(self.query)
        if found is None:
            raise ValueError(f"Variable {self.name}: {self.query} is not label_values(series, label).")
        return f"group by ({found['label']}) ({found['series']})"


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on every panel, from a query."""

    name: str
    expression: str
    json: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One file."""

    file: str
    uid: str
    title: str
    panels: tuple[Panel, ...]  # those that show data
    rows: tuple[str, ...]  # the headings between them
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    json: dict[str, Any] = field(repr=False)

    @property
    def defaults(self) -> dict[str, str]:
        """The value of each variable when the dashboard is opened."""
        return {variable.name: variable.default for variable in self.variables}

    @property
    def expressions(self) -> Iterator[tuple[str, str]]:
        """Every expression of panels, annotations and variables, with a word about where it stands."""
        for panel in self.panels:
            for query in panel.queries:
                yield f"{self.file}: {panel.title} ({panel.id}), query {query.ref}", query.expression
        for annotation in self.annotations:
            yield f"{self.file}: annotation {annotation.name}", annotation.expression
        for variable in self.variables:
            if variable.kind == "query":
                yield f"{self.file}: variable {variable.name}", variable.expression


def read_all(directory: Path = DIRECTORY) -> list[Dashboard]:
    """Every dashboard, by file name."""
    return [read(path) for path in sorted(directory.glob("*.json"))]


def read(path: Path) -> Dashboard:
    """The dashboard in a file."""
    return parse(path.name, json.loads(path.read_text(encoding="utf-8")))


def parse(file: str, found: dict[str, Any]) -> Dashboard:
    """A dashboard's JSON, read."""
    shown = [panel for panel in found["panels"] if panel["type"] != "row"]
    return Dashboard(
        file=file,
        uid=found["uid"],
        title=found["title"],
        panels=tuple(_panel(panel) for panel in shown),
        rows=tuple(panel["title"] for panel in found["panels"] if panel["type"] == "row"),
        variables=tuple(_variable(variable) for variable in found["templating"]["list"]),
        annotations=tuple(Annotation(one["name"], one["expr"], one) for one in found["annotations"]["list"]),
        json=found,
    )


def substitute(
    expression: str,
    variables: dict[str, str],
    *,
    step: str = "15s",
    window: str = "1h",
    rate_interval: str = "1m",
) -> str:
    """The expression as Grafana sends it.

    Args:
        variables: of the dashboard; `Dashboard.defaults`, or others.
        step: the distance of two points ($__interval).
        window: the time range ($__range).
        rate_interval: at least four times the scrape interval ($__rate_interval).

    Raises:
        KeyError: for a variable that nobody knows.
    """
    known = {"__interval": step, "__range": window, "__rate_interval": rate_interval, **variables}
    return _VARIABLE.sub(lambda match: known[match[1]], expression)


def _panel(found: dict[str, Any]) -> Panel:
    queries = tuple(
        Query(target["expr"], target["refId"], target["legendFormat"], target["instant"], target["format"])
        for target in found["targets"]
    )
    return Panel(found["id"], found["title"], found["type"], queries, found.get("interval", ""), found)


def _variable(found: dict[str, Any]) -> Variable:
    value = found["current"]["value"]
    chosen = value if isinstance(value, str) else "|".join(value)
    default = found["allValue"] if chosen == "$__all" else chosen
    return Variable(found["name"], found["type"], found["query"], default, found)
