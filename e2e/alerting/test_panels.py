"""Every query that people are given — of panels, variables and annotations, and the examples in the documents — is
executed on the Prometheus of the story, and answers with a finite number."""

import math
import time
from typing import Any

import pytest

from e2e.alerting.story import Story
from e2e.dashboards import Dashboard, Query, read_all, substitute
from e2e.opt_in import is_opt_in
from e2e.promql import uses
from e2e.servers import ROOT
from observability.facts import METRICS as FACTS

pytestmark = [
    pytest.mark.once,
    pytest.mark.needs("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "promtool"),
]

BOARDS = read_all()
RANGE_SECONDS = 600
QUERIES = [
    pytest.param(board, query, id=f"{board.uid}-{panel.id}-{query.ref}")
    for board in BOARDS
    for panel in board.panels
    for query in panel.queries
    if not is_opt_in(query.expression)
]
EXPRESSIONS = [
    pytest.param(board, expression, id=name)
    for board in BOARDS
    for name, expression in board.expressions
    if not is_opt_in(expression) and ("variable" in name or "annotation" in name)
]
# Of the seed's page: the second is the one that its list of corrections has instead of the page's own.
SEED = (
    "histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m]))",
    "sum(rate(http_requests_errors_total[5m])) / sum(rate(http_requests_total[5m])) * 100",
    'increase(auth_attempts_total{type="login", success="false"}[5m])',
    "rate(http_requests_total[1m])",
)


def examples() -> list[str]:
    """The last column of TELEMETRY.md's table of metrics."""
    table = [line.split(" | ") for line in (ROOT / "TELEMETRY.md").read_text().splitlines() if line.startswith("| `")]
    return [row[-1].strip("` |") for row in table if len(row) == 8]


@pytest.mark.parametrize(("board", "query"), QUERIES)
def test_a_panel_s_query_has_an_answer(story: Story, board: Dashboard, query: Query) -> None:
    assert any(map(math.isfinite, over_time(story, sent(query.expression, board.defaults))))


@pytest.mark.parametrize(("board", "expression"), EXPRESSIONS)
def test_a_variable_or_an_annotation_has_an_answer(story: Story, board: Dashboard, expression: str) -> None:
    assert any(map(math.isfinite, over_time(story, sent(expression, board.defaults))))


@pytest.mark.parametrize("example", [*examples(), *SEED])
def test_an_example_has_an_answer(story: Story, example: str) -> None:
    assert any(map(math.isfinite, over_time(story, example)))


def test_the_page_s_own_error_rate_has_none(story: Story) -> None:
    assert over_time(story, "rate(http_requests_errors_total[5m]) / rate(http_requests_total[5m]) * 100") == []


def test_there_are_as_many_examples_as_metrics() -> None:
    assert len(examples()) > 25


def test_the_hour_s_revenue_is_the_ledger_s(story: Story) -> None:
    """Paid by signed events, scraped, recorded, and asked for as TELEMETRY.md says; e2e/test_revenue.py has an hour."""
    charged = "SELECT currency, sum(amount_minor) FROM payments_movement WHERE kind = 'charge' GROUP BY currency"
    ledger = {currency: pytest.approx(minor / 100, rel=0.01) for currency, minor in story.installation.rows(charged)}
    documented = "rate(fact:stripe_payment_value_total[1h]) * 3600 / 100"
    found = story.watch.prometheus.json("/api/v1/query", query=documented)["data"]["result"]

    assert {series["metric"]["currency"]: float(series["value"][1]) for series in found} == ledger
    assert ledger.keys() >= {"eur", "usd"}


def test_no_query_adds_up_a_fact_over_processes() -> None:
    facts = {name for metric in FACTS.values() for name in metric.series_names}
    panels = [(board, panel) for board in BOARDS for panel in board.panels]
    asked = [sent(query.expression, board.defaults) for board, panel in panels for query in panel.queries]

    def wrong(query: str) -> bool:
        return any(use.metric in facts and use.added_up_over_processes for use in uses(query))

    assert [query for query in [*asked, *examples()] if wrong(query)] == []
    assert wrong("sum(increase(deployment_frequency_total[30d]))")


def test_little_is_opt_in() -> None:
    left_out = {expression for board in BOARDS for _, expression in board.expressions if is_opt_in(expression)}

    assert len(left_out) == 1


def sent(expression: str, choices: dict[str, str]) -> str:
    """As Grafana would send it to a Prometheus that scrapes each second."""
    return substitute(expression, choices, step="10s", window=f"{RANGE_SECONDS}s", rate_interval="10s")


def over_time(story: Story, expression: str) -> list[float]:
    """The values of a range query over the story."""
    end = time.time()
    query: dict[str, Any] = {"query": expression, "start": end - RANGE_SECONDS, "end": end, "step": 5}
    answer = story.watch.prometheus.json("/api/v1/query_range", **query)["data"]
    return [float(value) for series in answer["result"] for _, value in series["values"]]
