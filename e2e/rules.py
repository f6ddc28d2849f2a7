"""Reading the alert and recording rules, and promtool's unit tests of them, as Prometheus and promtool do.

What Prometheus loads is what deploy/prometheus/prometheus.yml names, and nothing else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.servers import ROOT

DIRECTORY = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "deploy" / "runbooks"

_QUERY = re.compile(r'\bquery "((?:[^"\\]|\\.)*)"')
_SEVERITIES = re.compile(r"\b(?:critical|warning|info|none)\b")


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule. Two rules may share a name, and differ in severity."""

    name: str
    file: Path
    group: str
    expression: str
    after: str  # `for`; empty where it fires at once
    keep: str  # `keep_firing_for`; empty where it ends at once
    labels: dict[str, str]  # with their templates
    annotations: dict[str, str]

    @property
    def severities(self) -> set[str]:
        """Those that it may have: one, or those that its expression gives its series."""
        told = self.labels.get("severity", "")
        return set(_SEVERITIES.findall(self.expression if "$labels.severity" in told else told))

    @property
    def queries(self) -> list[str]:
        """What its description asks for besides its own value."""
        return [query.replace('\\"', '"') for text in self.annotations.values() for query in _QUERY.findall(text)]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule."""

    name: str
    file: Path
    group: str
    expression: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a unit test expects of one alert at one time."""

    file: Path
    test: str
    alert: str
    labels: tuple[dict[str, str], ...]  # of each that fires; empty: it must be silent
    annotations: tuple[dict[str, str], ...]


def rule_files() -> list[Path]:
    """The files that Prometheus loads, in its order."""
    named = yaml.safe_load((DIRECTORY / "prometheus.yml").read_text())["rule_files"]
    return [path for pattern in named for path in sorted(DIRECTORY.glob(pattern))]


def unit_tests() -> list[Path]:
    """The files of promtool's unit tests."""
    return sorted((DIRECTORY / "tests").glob("*.yml"))


def alerts() -> list[Alert]:
    """Every alerting rule, in the order of the files."""
    return [
        Alert(
            name=rule["alert"],
            file=file,
            group=group,
            expression=rule["expr"],
            after=rule.get("for", ""),
            keep=rule.get("keep_firing_for", ""),
            labels=rule.get("labels", {}),
            annotations=rule.get("annotations", {}),
        )
        for file, group, rule in _rules()
        if "alert" in rule
    ]


def recordings() -> list[Recording]:
    """Every recording rule, in the order of the files."""
    return [Recording(rule["record"], file, group, rule["expr"]) for file, group, rule in _rules() if "record" in rule]


def expectations() -> list[Expectation]:
    """What the unit tests expect of alerts."""
    return [
        Expectation(
            file=file,
            test=test.get("name", ""),
            alert=case["alertname"],
            labels=tuple(alert.get("exp_labels", {}) for alert in case.get("exp_alerts") or ()),
            annotations=tuple(alert.get("exp_annotations", {}) for alert in case.get("exp_alerts") or ()),
        )
        for file in unit_tests()
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
    ]


def _rules() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for file in rule_files():
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield file, group["name"], rule
