"""The rules under deploy/prometheus: promtool's own word on them, and what promtool does not look at."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from e2e import dashboards, promql, rules
from e2e.monitoring import Monitoring, hurried, monitoring
from e2e.opt_in import is_opt_in
from e2e.promql import Use
from e2e.rules import Alert
from e2e.servers import Installation, Server, query, wait_for
from observability.facts import METRICS

# The twelve, as DESIGN has them.
TWELVE = {
    "performance": ["HighErrorRate", "SlowResponseTime", "ApplicationDown"],
    "security": ["HighAuthFailures", "DirectoryTraversalAttempts", "SecurityEventSpike"],
    "dora": ["LowDeploymentFrequency", "HighChangeFailureRate", "SlowIncidentRecovery"],
    "business": ["SubscriptionFailures", "StripeWebhookErrors", "WebSocketConnectionDrop"],
}
# Where each alert's link leads: dashboard and panel.
PANELS = {
    "HighErrorRate": ("bambisleep-http", 11),
    "SlowResponseTime": ("bambisleep-http", 12),
    "ApplicationDown": ("bambisleep-http", 13),
    "AvailabilityErrorBudgetBurn": ("bambisleep-http", 14),
    "LatencyErrorBudgetBurn": ("bambisleep-http", 15),
    "HostMemoryLow": ("bambisleep-http", 22),
    "DiskFillingUp": ("bambisleep-http", 23),
    "FactFailing": ("bambisleep-http", 31),
    "FactsStale": ("bambisleep-http", 31),
    "DatabaseNotReady": ("bambisleep-http", 31),
    "NotificationsFailing": ("bambisleep-http", 32),
    "CertificateExpiring": ("bambisleep-http", 33),
    "SiteUnreachable": ("bambisleep-http", 33),
    "BackupOverdue": ("bambisleep-http", 34),
    "MaintenanceOverdue": ("bambisleep-http", 36),
    "Watchdog": ("bambisleep-http", 35),
    "LowDeploymentFrequency": ("bambisleep-dora", 11),
    "HighChangeFailureRate": ("bambisleep-dora", 12),
    "SlowIncidentRecovery": ("bambisleep-dora", 13),
    "HighAuthFailures": ("bambisleep-auth", 11),
    "DirectoryTraversalAttempts": ("bambisleep-auth", 12),
    "SecurityEventSpike": ("bambisleep-auth", 13),
    "SubscriptionFailures": ("bambisleep-stripe", 11),
    "StripeWebhookErrors": ("bambisleep-stripe", 12),
    "WebSocketConnectionDrop": ("bambisleep-websocket", 11),
}
CATEGORIES = {**{group: group for group in TWELVE}, "slo": "slo", "platform": "platform"}
TEAMS = {
    "performance": "platform",
    "security": "security",
    "dora": "delivery",
    "business": "business",
    "slo": "platform",
    "platform": "platform",
}
OPENS_INCIDENT = {"performance", "security", "business"}
CHANGE_LINKABLE = {"performance", "business"}
# Fires always, so that nothing can show it silent.
ALWAYS = {"Watchdog"}
DASHBOARD = re.compile(
    r"\{\{ \$externalLabels\.grafana_url \}\}"
    r"/d/(?P<uid>[a-z-]+)\?viewPanel=panel-(?P<panel>\d+)(?P<variables>(?:&var-.+)?)"
)
FACTS = {name for metric in METRICS.values() for name in metric.series_names}

ALERTS = rules.alerts()
pytestmark = pytest.mark.once
EXPRESSIONS = [  # whose, and what
    *((recording.name, recording.expression) for recording in rules.recordings()),
    *((alert.name, alert.expression) for alert in ALERTS),
    *((f"{alert.name}'s text", text) for alert in ALERTS for text in alert.queries),
]
EACH_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
EACH_EXPRESSION = pytest.mark.parametrize(
    "expression", [pytest.param(expression, id=name) for name, expression in EXPRESSIONS]
)


def by_name() -> dict[str, list[Alert]]:
    """The alerting rules, those of one name together."""
    found: dict[str, list[Alert]] = {}
    for alert in ALERTS:
        found.setdefault(alert.name, []).append(alert)
    return found


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=240)


# --- promtool


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("file", rules.rule_files(), ids=lambda path: path.name)
def test_promtool_finds_no_fault_with_the_rules(file: Path) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("file", rules.unit_tests(), ids=lambda path: path.name)
def test_promtool_s_unit_tests_pass(file: Path) -> None:
    done = promtool("test", "rules", str(file))

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_rule_file_is_left_unloaded() -> None:
    there = {
        path
        for path in rules.DIRECTORY.rglob("*.yml")
        if "tests" not in path.parts and "groups" in (yaml.safe_load(path.read_text()) or {})
    }

    assert set(rules.rule_files()) == there


def test_every_alert_is_tested_to_fire() -> None:
    fired = {expectation.alert for expectation in rules.expectations() if expectation.labels}

    assert set(by_name()) - fired == set()


def test_every_alert_is_tested_to_stay_silent() -> None:
    silent = {expectation.alert for expectation in rules.expectations() if not expectation.labels}

    assert set(by_name()) - silent == ALWAYS


def test_every_severity_of_an_alert_is_tested() -> None:
    tested = {(each.alert, labels["severity"]) for each in rules.expectations() for labels in each.labels}

    assert tested == {(alert.name, severity) for alert in ALERTS for severity in alert.severities}


def test_the_unit_tests_name_no_alert_that_does_not_exist() -> None:
    """promtool would pass a mistyped name that is expected to be silent."""
    assert {expectation.alert for expectation in rules.expectations()} - set(by_name()) == set()


# --- What they are called, and what they carry


def test_there_are_twelve_alerts_in_four_groups_of_three() -> None:
    found: dict[str, list[str]] = {}
    for alert in ALERTS:
        if alert.file.parent.name == "alerts":
            found.setdefault(alert.group, []).append(alert.name)

    assert found == TWELVE


def test_no_alert_has_two_rules_of_one_severity() -> None:
    """Two rules with the same labels would overwrite each other's texts."""
    told = Counter((alert.name, severity) for alert in ALERTS for severity in alert.severities)

    assert [name for name, number in told.items() if number > 1] == []


@EACH_ALERT
def test_its_labels_are_those_of_its_group(alert: Alert) -> None:
    assert alert.severities
    assert alert.severities <= ({"none"} if alert.name in ALWAYS else {"critical", "warning", "info"})
    assert alert.labels["category"] == CATEGORIES[alert.group]
    assert alert.labels["team"] == TEAMS[alert.group]
    assert alert.labels.get("opens_incident") == ("true" if alert.group in OPENS_INCIDENT else None)
    assert alert.labels.get("change_linkable") == ("true" if alert.group in CHANGE_LINKABLE else None)


@EACH_ALERT
def test_it_says_of_which_service_and_environment_it_is(alert: Alert) -> None:
    """The measures of delivery tell it by their series, all else by where Prometheus stands."""
    if alert.group == "dora":
        assert "by (service, environment)" in alert.expression
        assert not {"service", "environment"} & alert.labels.keys()
        assert 'service!="demo"' in alert.expression
    else:
        assert alert.labels["service"] == "{{ $externalLabels.service }}"
        assert alert.labels["environment"] == "{{ $externalLabels.environment }}"


@EACH_ALERT
def test_its_summary_is_one_short_sentence_without_a_value(alert: Alert) -> None:
    summary = alert.annotations["summary"]

    assert "{{" not in summary
    assert 10 <= len(summary) <= 75
    assert not summary.endswith(".")


@EACH_ALERT
def test_its_description_has_the_value_and_where_to_look_first(alert: Alert) -> None:
    description = alert.annotations["description"]

    if alert.name not in ALWAYS:
        tells_a_name = alert.name == "FactFailing"  # and has no number to tell
        assert "$value" in description or alert.queries or tells_a_name
        assert "Look first at " in description
    assert description.endswith(".")


@pytest.mark.parametrize("expectation", [each for each in rules.expectations() if each.labels], ids=lambda e: e.test)
def test_its_text_as_promtool_renders_it_is_for_a_person(expectation: rules.Expectation) -> None:
    for annotations in expectation.annotations:
        assert annotations.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
        for flaw in ("{{", "<no value>", "%!", "NaN", "Inf", "  ", "e+"):
            assert flaw not in annotations["description"]


@EACH_ALERT
def test_its_link_leads_to_its_panel(alert: Alert) -> None:
    link = DASHBOARD.fullmatch(alert.annotations["dashboard_url"])

    assert link, alert.annotations["dashboard_url"]
    uid, panel = PANELS[alert.name]
    assert (link["uid"], int(link["panel"])) == (uid, panel)
    dashboard = next(found for found in dashboards.read_all() if found.uid == uid)
    assert panel in {found.id for found in dashboard.panels}
    variables = re.findall(r"&var-(\w+)=\{\{ urlquery \$labels\.(\w+) \}\}", link["variables"])
    assert set(variables) == ({(name, name) for name in ("service", "environment")} if alert.group == "dora" else set())
    assert {name for name, _ in variables} <= dashboard.defaults.keys()


def test_the_table_of_panels_has_no_alert_too_many() -> None:
    assert PANELS.keys() == by_name().keys()


@EACH_ALERT
def test_its_runbook_is_there(alert: Alert) -> None:
    assert alert.annotations["runbook_url"] == "{{ $externalURL }}/consoles/" + f"{alert.name}.md"
    assert (rules.RUNBOOKS / f"{alert.name}.md").is_file()


# --- What they ask


@EACH_EXPRESSION
def test_it_adds_no_fact_up_over_processes(expression: str) -> None:
    wrong = [use.metric for use in promql.uses(expression) if use.metric in FACTS and use.added_up_over_processes]

    assert wrong == []


@EACH_EXPRESSION
def test_it_asks_for_counters_of_facts_by_the_recorded_rule(expression: str) -> None:
    assert [use.metric for use in promql.uses(expression) if use.metric in FACTS and use.counted] == []


@EACH_EXPRESSION
def test_it_names_the_job_it_means(expression: str) -> None:
    """Recorded series are nobody's but ours; what a recording rule of facts reads has its name from the house."""
    for use in promql.uses(expression):
        recorded = ":" in use.metric
        recording = use.metric in FACTS and "max_over_time" in use.functions and "[2m]" in expression
        jobs = {value for label, operator, value in use.matchers if label == "job"}
        assert recorded or recording or len(jobs) == 1, use


@EACH_EXPRESSION
def test_its_ranges_hold_four_samples(expression: str) -> None:
    """Prometheus 3 leaves a range's first moment out; below four times the interval a rate begins to have gaps."""
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    for number, unit in re.findall(r"\[(\d+)([smhd])[\]:]", expression):
        assert int(number) * seconds[unit] >= 60


@pytest.fixture(scope="module")
def site(installation: Installation) -> Iterator[Server]:
    """A site of which every delivery metric has something to say."""
    for command in (["load_demo"], ["open_incident", "Something is wrong"], ["backup"], ["prune"]):
        done = installation.manage(*command)
        assert done.returncode == 0, done.stderr
    with installation.serving("daphne") as found:
        yield found


@pytest.fixture(scope="module")
def watch(installation: Installation, site: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """The whole stack about the site, in a hurry."""
    source = hurried(tmp_path_factory.mktemp("source"))
    directory = tmp_path_factory.mktemp("monitoring")
    with monitoring(directory, application=site.url, site_data=installation.data_dir, source=source) as found:
        wait_for(lambda: (query(found.prometheus, "count(up == 1)") or 0) >= 4, "all targets are scraped", seconds=40)
        yield found


STACK = pytest.mark.needs("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")


@STACK
def test_every_series_they_ask_for_is_there(site: Server, watch: Monitoring) -> None:
    """By its name, and by each label that is asked for by its value."""
    every_use = [use for _, expression in EXPRESSIONS for use in promql.uses(expression)]
    missing = {selector(use) for use in every_use if not is_opt_in(selector(use))}
    assert len(missing) > 25

    def none_is_missing() -> bool:
        site.http.get("/")  # without traffic there are no ratios
        missing.difference_update([each for each in missing if query(watch.prometheus, f"count({each})")])
        return not missing

    with suppress(pytest.fail.Exception):  # what is missing says more than that something is
        wait_for(none_is_missing, "each has a series", seconds=40)
    assert missing == set()


def selector(use: Use) -> str:
    equal = sorted(f'{label}="{value}"' for label, operator, value in use.matchers if operator == "Equal")
    return f"{use.metric}{{{', '.join(equal)}}}"


@STACK
def test_prometheus_evaluates_every_rule_without_complaint(watch: Monitoring) -> None:
    def health() -> dict[str, str]:
        groups = watch.prometheus.json("/api/v1/rules")["data"]["groups"]
        return {rule["name"]: rule.get("lastError") or rule["health"] for group in groups for rule in group["rules"]}

    wait_for(lambda: "unknown" not in health().values(), "every rule was evaluated", seconds=40)
    assert set(health().values()) == {"ok"}, health()
    assert query(watch.prometheus, "sum(prometheus_template_text_expansion_failures_total)") == 0
