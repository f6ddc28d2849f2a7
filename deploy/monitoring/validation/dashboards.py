"""Step 4: Grafana has the six dashboards, and Prometheus takes every query in them."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import prometheus
from .report import Report
from .settings import COMPOSE_FILE, DASHBOARDS, Settings
from .web import Answer, NoAnswer, ask

TITLE = "The six dashboards load"
NAMES = (
    "HTTP RED Metrics",
    "DORA Metrics",
    "Auth & Security",
    "Stripe Payments",
    "WebSocket Metrics",
    "Business Metrics",
)
BUILD = "Write the dashboards anew: `make dashboards`."
PROVISION = "See Grafana's log, and deploy/grafana/provisioning."
# What Grafana itself fills in.
GLOBALS = {
    "__interval": "15s",
    "__interval_ms": "15000",
    "__rate_interval": "1m",
    "__range": "1h",
    "__range_s": "3600",
    "__range_ms": "3600000",
    "__from": "0",
    "__to": "0",
}
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a dashboard, and where it stands."""

    place: str
    expression: str
    is_instant: bool


def check(settings: Settings, report: Report) -> None:
    """The dashboards load, and their queries run; one that finds nothing (yet) is fine."""
    found = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        try:
            found[path.name] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as problem:
            report.failed(f"{path.name} is no JSON: {problem}", BUILD)
    titles = {dashboard.get("title") for dashboard in found.values()}
    for name in NAMES:
        if name not in titles:
            report.failed(f"there is no dashboard {name!r} in deploy/grafana/dashboards", BUILD)
    if settings.grafana:
        _check_grafana(settings.grafana, settings.grafana_password, found, report)
    else:
        report.noted("Grafana itself was not looked at; its dashboards' queries are run on Prometheus:")
    for dashboard in found.values():
        _run_queries(settings.prometheus, dashboard, report)


def _check_grafana(base: str, password: str, dashboards: dict[str, Any], report: Report) -> None:
    def get(path: str) -> Answer:
        return ask(f"{base}/api/{path}", password=("admin", password))

    try:
        sources = get("datasources")
        if sources.status == 401:
            report.failed(
                "Grafana does not let admin in",
                "Set GRAFANA_ADMIN_PASSWORD in .env to the password of Grafana's first start, or change that by "
                f"`docker compose -f {COMPOSE_FILE} exec grafana grafana cli admin reset-admin-password`.",
            )
            return
        for name, dashboard in dashboards.items():
            loaded = get(f"dashboards/uid/{dashboard['uid']}")
            if loaded.status == 200 and loaded.json()["dashboard"]["title"] == dashboard["title"]:
                report.passed(f"Grafana has {dashboard['title']} ({base}/d/{dashboard['uid']})")
            else:
                report.failed(f"Grafana does not have {dashboard['title']} ({name}): {loaded.status}", PROVISION)
        uids = [source["uid"] for source in sources.json() if source["type"] == "prometheus"]
        if not uids:
            report.failed("Grafana knows no Prometheus", PROVISION)
        for uid in uids:
            health = get(f"datasources/uid/{uid}/health")
            if health.status == 200:
                report.passed("Grafana reaches Prometheus")
            else:
                report.failed(f"Grafana does not reach Prometheus: {health.text[:200]}", PROVISION)
    except NoAnswer as problem:
        report.failed(f"Grafana: {problem}", "See Grafana's log.")
    except (KeyError, TypeError):
        report.failed(f"{base} answers, but not as Grafana does", "Say where Grafana is with --grafana URL.")


def _run_queries(base: str, dashboard: dict[str, Any], report: Report) -> None:
    queries = list(queries_of(dashboard))
    refused: list[str] = []
    empty = 0
    for query in queries:
        try:
            empty += not _run(base, query)
        except prometheus.Refused as problem:
            refused.append(f"{query.place}: {problem}")
    title = dashboard.get("title")
    for text in refused[:SHOWN]:
        report.failed(f"{title}, {text}", "Mend the query in deploy/grafana/boards; then `make dashboards`.")
    if len(refused) > SHOWN:
        report.failed(f"{title}: {len(refused) - SHOWN} more queries are refused", "Mend the first ones first.")
    if not refused:
        nothing = f"; {empty} find nothing yet" if empty else ""
        report.passed(f"{title}: Prometheus takes its {len(queries)} queries{nothing}")


def _run(base: str, query: Query) -> bool:
    """Whether a query finds something."""
    if query.is_instant:
        return bool(prometheus.api(base, "query", query=query.expression)["result"])
    now = time.time()
    span = {"start": str(now - 900), "end": str(now), "step": "15"}
    return bool(prometheus.api(base, "query_range", query=query.expression, **span)["result"])


def queries_of(dashboard: dict[str, Any]) -> Iterator[Query]:
    """The queries of a dashboard's panels, annotations and variables, with the variables' first values filled in."""
    variables = dashboard.get("templating", {}).get("list", [])
    values = GLOBALS | {variable["name"]: _value(variable) for variable in variables}

    def filled(expression: str) -> str:
        return VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), expression)

    for place, node in _nodes(dashboard, ""):
        yield Query(place, filled(node["expr"]), bool(node.get("instant")))
    for variable in variables:
        if selector := _selector(variable):
            yield Query(f"variable {variable['name']}", filled(selector), is_instant=True)


def _nodes(node: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that holds an `expr`, and the title of what it belongs to."""
    if isinstance(node, dict):
        place = node.get("title") or node.get("name") or place
        if isinstance(node.get("expr"), str) and node["expr"]:
            yield str(place), node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child, place)


def _value(variable: dict[str, Any]) -> str:
    value = variable.get("current", {}).get("value", "")
    values = value if isinstance(value, list) else [value]
    if "$__all" in values:
        return str(variable.get("allValue") or ".*")
    return "|".join(map(str, values))


def _selector(variable: dict[str, Any]) -> str:
    """What a variable asks of Prometheus: the series whose labels it lists, or a query."""
    query = variable.get("query", "")
    text = query.get("query", "") if isinstance(query, dict) else query
    if variable.get("type") != "query" or not isinstance(text, str):
        return ""
    listed = re.fullmatch(r"\s*(?:label_values\((.*),\s*\w+\s*\)|query_result\((.*)\))\s*", text, re.DOTALL)
    return (listed[1] or listed[2]).strip() if listed else ""
