"""What is generated from the declarations is up to date, and what the documents name exists."""

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from prometheus_client import REGISTRY

from observability import reference
from observability.facts import METRICS


def documents() -> str:
    """Every text in which an operator finds a query."""
    root: Path = settings.BASE_DIR
    paths = [root / "TELEMETRY.md", root / "README.md"]
    paths += [*(root / "deploy").rglob("*.yml"), *(root / "docs").rglob("*.md")]
    return "\n".join(path.read_text() for path in paths)


def test_the_table_and_the_rules_are_up_to_date() -> None:
    call_command("metrics_reference", "--check")


def test_a_table_out_of_date_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "table", lambda: "something else")
    with pytest.raises(CommandError, match="make telemetry"):
        call_command("metrics_reference", "--check")


def test_every_metric_is_in_the_table_once() -> None:
    names = [row.name for row in reference.rows()]
    assert len(names) == len(set(names))
    assert {"http_requests_total", "auth_attempts_total", "deployment_frequency_total", "users"} <= set(names)
    assert all(row.meaning.endswith(".") for row in reference.rows())


def test_the_documents_name_only_metrics_that_exist() -> None:
    known = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    known |= {row.name for row in reference.rows()}
    known |= {name for metric in METRICS.values() for name in metric.series_names}
    named = set(
        re.findall(r"\b((?:http|auth|security|deployment|dora|incidents?|bambisleep)_[a-z_]+)(?=[\[{()])", documents())
    )
    assert len(named) > 8
    unknown = {name for name in named if name not in known and f"{name}_bucket" not in known}
    # Series of histograms without labels yet have no sample to collect.
    assert {name for name in unknown if not name.endswith(("_bucket", "_count", "_sum"))} == set()


@pytest.mark.needs("promtool")
def test_the_recording_rules_are_valid() -> None:
    rules = settings.BASE_DIR / "deploy" / "prometheus" / "recording.yml"
    done = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


DAYS = 30


def pods() -> list[tuple[str, str]]:
    """Thirty pods, one started each day, each living three days; a deployment is recorded every day at noon.

    Each shows the same fact counter: the number of deployments so far. Samples are an hour apart.
    """
    series = []
    for pod in range(DAYS):
        start, end = pod * 24, min((pod + 3) * 24, DAYS * 24)
        values = ["_"] * start + [str((hour + 12) // 24) for hour in range(start, end)]
        series.append((f'deployment_frequency_total{{service="web", pod="{pod}", instance="{pod}"}}', " ".join(values)))
    return series


@pytest.mark.needs("promtool")
def test_increase_over_the_rule_counts_right_while_thirty_pods_come_and_go(tmp_path: Path) -> None:
    """The recorded rule first, then increase(). The naive orders are far off, one below and one above."""
    recorded = "fact:deployment_frequency_total"
    (tmp_path / "rules.yml").write_text(
        # The rule as it stands, with a look-back that suits samples an hour apart.
        (settings.BASE_DIR / "deploy" / "prometheus" / "recording.yml").read_text().replace("[2m]", "[90m]")
    )
    inputs = "\n".join(f"      - series: '{name}'\n        values: '{values}'" for name, values in pods())

    def case(expression: str, value: float) -> str:
        return (
            f"      - expr: {expression}\n        eval_time: {DAYS * 24 - 1}h\n"
            f"        exp_samples: [{{labels: '{{service=\"web\"}}', value: {value}}}]\n"
        )

    def run(cases: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test.yml").write_text(
            "rule_files: [rules.yml]\nevaluation_interval: 1h\ntests:\n"
            f"  - interval: 1h\n    input_series:\n{inputs}\n    promql_expr_test:\n{cases}"
        )
        return subprocess.run(
            ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    exact = run(case(f"round(increase({recorded}[719h]))", 30))
    assert exact.returncode == 0, exact.stdout + exact.stderr
    by_pod = run(case("round(max without (instance, pod) (increase(deployment_frequency_total[719h])))", 30))
    assert by_pod.returncode != 0
    summed = run(case("round(sum without (instance, pod) (increase(deployment_frequency_total[719h])))", 30))
    assert summed.returncode != 0
