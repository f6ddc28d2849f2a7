"""What the dashboards' trickier queries answer, evaluated by Prometheus' own engine on series made for the purpose."""

import json
import subprocess
from pathlib import Path

import pytest

from deploy.grafana.boards import money as dashboards_money
from e2e.dashboards import Dashboard, read_all, substitute
from payments import money

BOARDS = {board.uid: board for board in read_all()}
SAMPLES = dict[str, float]  # by labels, as promtool writes them

pytestmark = [pytest.mark.once, pytest.mark.needs("promtool")]


def query(board: Dashboard, panel_id: int, ref: str = "A") -> str:
    """A panel's expression as Grafana sends it, with the choices that the dashboard opens with."""
    panel = next(panel for panel in board.panels if panel.id == panel_id)
    expression = next(query.expression for query in panel.queries if query.ref == ref)
    return substitute(expression, board.defaults, step="1d", window="1h", rate_interval="5m")


def problems(directory: Path, expression: str, series: dict[str, str], expected: SAMPLES) -> str:
    """What promtool says of an expression that after an hour of `series` should have the `expected` samples."""
    test = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": expression,
                        "eval_time": "1h",
                        "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()],
                    }
                ],
            }
        ],
    }
    file = directory / "test.yml"
    file.write_text(json.dumps(test))  # JSON is YAML
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_a_wrong_answer_is_noticed(tmp_path: Path) -> None:
    assert "exp" in problems(tmp_path, "x", {"x": "1x60"}, {"x": 2})


def test_amounts_are_in_whole_units_of_each_currency(tmp_path: Path) -> None:
    revenue = query(BOARDS["bambisleep-stripe"], 102)
    name = 'stripe_monthly_recurring_revenue{job="bambisleep", instance="%s", currency="%s"}'
    minor = {"usd": 12345, "EUR": 100, "jpy": 500, "KRW": 7000, "kwd": 1500, "ugx": 500, "isk": 300}
    series = {name % (process, code): f"{amount}x60" for process in "ab" for code, amount in minor.items()}
    whole = {"usd": 123.45, "EUR": 1, "jpy": 500, "KRW": 7000, "kwd": 1.5, "ugx": 5, "isk": 3}
    expected = {f'{{job="bambisleep", currency="{currency}"}}': amount for currency, amount in whole.items()}
    assert problems(tmp_path, revenue, series, expected) == ""


def test_dashboards_and_pages_agree_on_the_decimals_of_every_currency() -> None:
    assert set(dashboards_money.NO_DECIMALS.split("|")) == money.ZERO_DECIMALS
    assert set(dashboards_money.THREE_DECIMALS.split("|")) == money.THREE_DECIMALS


@pytest.mark.parametrize(
    ("panel_id", "ref", "moved"),
    [(101, "A", "value"), (111, "A", "value"), (113, "A", "refunds"), (113, "B", "disputes")],
)
def test_what_moved_is_what_was_recorded_in_whole_units(tmp_path: Path, panel_id: int, ref: str, moved: str) -> None:
    moving = query(BOARDS["bambisleep-stripe"], panel_id, ref)
    currencies = {"usd": 300, "jpy": 30_000, "kwd": 30}
    series = {
        f'fact:stripe_payment_{moved}_total{{job="bambisleep", currency="{one}"}}': "0+500x60" for one in currencies
    }
    expected = {f'{{currency="{currency}"}}': amount for currency, amount in currencies.items()}
    assert problems(tmp_path, moving, series, expected) == ""


@pytest.mark.parametrize("panel_id", [124, 121])
def test_a_route_without_an_error_shows_no_gap_but_zero(tmp_path: Path, panel_id: int) -> None:
    shares = query(BOARDS["bambisleep-http"], panel_id, "A" if panel_id == 124 else "B")
    get = 'job="bambisleep", method="GET"'
    series = {
        f'http_requests_total{{{get}, instance="a", route="/", status="200"}}': "0+60x60",
        f'http_requests_total{{{get}, instance="a", route="/dora", status="200"}}': "0+45x60",
        f'http_requests_total{{{get}, instance="b", route="/dora", status="500"}}': "0+15x60",
        f'http_requests_total{{{get}, instance="a", route="/quiet", status="200"}}': "9x60",
        f'http_requests_errors_total{{{get}, instance="b", route="/dora", type="server_error"}}': "0+15x60",
    }
    expected = {'{method="GET", route="/"}': 0, '{method="GET", route="/dora"}': 0.25}
    assert problems(tmp_path, shares, series, expected) == ""


def test_the_error_rate_is_zero_without_errors_and_absent_without_requests(tmp_path: Path) -> None:
    share = query(BOARDS["bambisleep-http"], 11)
    timed = 'http_request_duration_seconds_count{job="bambisleep", instance="a", method="GET", route="/"}'
    assert problems(tmp_path, share, {timed: "0+60x60"}, {"{}": 0}) == ""
    assert problems(tmp_path, share, {timed: "60x60"}, {}) == ""


def test_the_budget_weighs_each_request_alike(tmp_path: Path) -> None:
    """Half an hour of little traffic that failed often, and half an hour of much that failed rarely."""
    left = query(BOARDS["bambisleep-http"], 105)
    series = {"slo:http_requests:rate5m": "1x29 1999x30", "slo:http_requests_failed:rate5m": "0.1x29 0.9x30"}
    requests, failed = 30 * 1 + 31 * 1999, 30 * 0.1 + 31 * 0.9
    assert problems(tmp_path, left, series, {"{}": 1 - failed / requests / 0.001}) == ""


@pytest.mark.parametrize("bound", ["2592000.0", "2.592e+06"])
def test_lead_times_are_sorted_as_prometheus_2_and_3_write_their_bounds(tmp_path: Path, bound: str) -> None:
    series = {
        'fact:deployment_lead_time_seconds_bucket{job="bambisleep", service="bambisleep", environment="production", '
        f'le="{le}"}}': values
        for le, values in {"604800.0": "0+1x60", bound: "0+3x60", "+Inf": "0+4x60"}.items()
    }
    board = BOARDS["bambisleep-dora"]
    assert problems(tmp_path, query(board, 123, "D"), series, {"{}": 120}) == ""
    assert problems(tmp_path, query(board, 123, "E"), series, {"{}": 60}) == ""


def test_a_deployment_is_marked_at_the_moment_it_finished_once_for_all_processes(tmp_path: Path) -> None:
    mark = substitute(BOARDS["bambisleep-http"].annotations[0].expression, {"job": "bambisleep"})
    labels = 'job="bambisleep", service="bambisleep", environment="production", version="1.0"'
    series = {
        f'deployment_last_timestamp_seconds{{instance="{process}", {shown}}}': "1700000000x60"
        for process in "ab"
        for shown in (labels, labels.replace('service="bambisleep"', 'service="demo"'))
    }
    assert problems(tmp_path, mark, series, {f"{{{labels}}}": 1_700_000_000_000}) == ""


def test_an_alert_shows_how_long_it_has_been_open(tmp_path: Path) -> None:
    now = query(BOARDS["bambisleep-auth"], 110)
    labels = 'alertname="HighAuthFailures", severity="warning", service="bambisleep", environment="production"'
    series = {
        f'ALERTS{{{labels}, category="security", alertstate="firing"}}': "1x60",
        f'ALERTS_FOR_STATE{{{labels}, category="security"}}': "600x60",
        'ALERTS{alertname="HighErrorRate", category="performance", alertstate="firing"}': "1x60",
    }
    assert problems(tmp_path, now, series, {f'{{{labels}, alertstate="firing"}}': 3000}) == ""
