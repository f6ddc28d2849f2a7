"""The six dashboards are generated, complete, ask only for what is there, and ask for it in the right way.

Every check is a function that lists what is wrong with a dashboard; it is shown to find nothing in ours, and something
in a copy that was spoiled.
"""

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.schema import check as schema
from e2e import promql
from e2e.dashboards import DIRECTORY, Dashboard, parse, read_all, substitute
from e2e.opt_in import is_opt_in
from e2e.servers import ROOT, Installation
from observability import facts, metrics

GRAFANA = ROOT / "deploy" / "grafana"
pytestmark = pytest.mark.once
RULES = ROOT / "deploy" / "prometheus"
TITLES = {
    "auth-security.json": ("bambisleep-auth", "Auth & Security"),
    "business-metrics.json": ("bambisleep-business", "Business Metrics"),
    "dora-metrics.json": ("bambisleep-dora", "DORA Metrics"),
    "http-red-metrics.json": ("bambisleep-http", "HTTP RED Metrics"),
    "stripe-payments.json": ("bambisleep-stripe", "Stripe Payments"),
    "websocket-metrics.json": ("bambisleep-websocket", "WebSocket Metrics"),
}
# The panels that alerts link to, and a word that their title must have.
LINKED = {
    "http-red-metrics.json": {
        11: "Error rate", 12: "Latency", 13: "Processes up", 14: "Availability", 15: "Latency", 21: "CPU", 22: "Memory",
        23: "Disk", 24: "Network", 31: "Facts", 32: "Notifications", 33: "Certificate", 34: "backup", 35: "Alerting",
    },
    "dora-metrics.json": {11: "last deployment", 12: "Change failure rate", 13: "Oldest open incident"},
    "auth-security.json": {11: "Failed sign-ins", 12: "Traversal", 13: "own day"},
    "stripe-payments.json": {11: "Subscription failures", 12: "Webhook errors"},
    "websocket-metrics.json": {11: "Connections"},
}  # fmt: skip
BUCKETS = re.compile(r"_(bucket|count|sum)$")
Complaints = Iterator[str]


def is_fact(name: str) -> bool:
    return (name if name in facts.METRICS else BUCKETS.sub("", name)) in facts.METRICS


def is_counter(name: str) -> bool:
    """By its declaration; what the application does not declare itself, by the ending that conventions ask for."""
    name = name.removeprefix("fact:")
    declared = metrics.EVENTS.get(name) or facts.METRICS.get(name)
    if declared:
        return declared.kind == "counter"
    if name.startswith("slo:"):
        return False
    return bool(BUCKETS.search(name)) or name.endswith("_total")


def uses(board: Dashboard, *, variables: bool = False) -> Iterator[tuple[str, promql.Use]]:
    for place, expression in board.expressions:
        if variables or "variable" not in place:
            for use in promql.uses(substitute(expression, board.defaults)):
                yield place, use


def unparsable_queries(board: Dashboard) -> Complaints:
    for place, expression in board.expressions:
        try:
            promql.uses(substitute(expression, board.defaults))
        except (ValueError, KeyError) as error:
            yield f"{place}: {error!r}"


def rates_of_gauges(board: Dashboard) -> Complaints:
    for place, use in uses(board):
        if use.counted and not is_counter(use.metric):
            yield f"{place}: {use.metric} is no counter"


def facts_mixed_over_processes(board: Dashboard) -> Complaints:
    for place, use in uses(board):
        if is_fact(use.metric) and not use.one_of_all_processes:
            yield f"{place}: {use.metric} is a fact, every process shows the same: max without (instance, pod)"
        if is_fact(use.metric) and use.counted:
            yield f"{place}: {use.metric} is a fact: increase(fact:{use.metric})"


def events_not_added_up(board: Dashboard) -> Complaints:
    for place, use in uses(board):
        base = BUCKETS.sub("", use.metric)
        event = base in metrics.EVENTS or use.metric in metrics.EVENTS
        if event and use.counted and not use.added_up_over_processes:
            yield f"{place}: {use.metric} is counted in each process apart: sum"


def series_of_other_jobs(board: Dashboard) -> Complaints:
    ours = {*metrics.EVENTS, *facts.METRICS}
    for place, use in uses(board, variables=True):
        base = use.metric.removeprefix("fact:")
        if (base in ours or BUCKETS.sub("", base) in ours) and "job" not in {label for label, *_ in use.matchers}:
            chosen = place.endswith("variable job")
            if not chosen:
                yield f"{place}: {use.metric} without the job"


def other_data_sources(board: Dashboard) -> Complaints:
    for panel in board.panels:
        for source in (panel.json["datasource"], *(target["datasource"] for target in panel.json["targets"])):
            if source != {"type": "prometheus", "uid": "$datasource"}:
                yield f"{panel.title}: {source}"


def panels_that_say_too_little(board: Dashboard) -> Complaints:
    for panel in board.panels:
        for what, said in (
            ("description", panel.json.get("description", "")),
            ("unit", panel.defaults.get("unit", "")),
            ("noValue", panel.defaults.get("noValue", "")),
            ("query", panel.queries),
        ):
            if not said:
                yield f"{panel.title}: no {what}"


def stats_hard_to_read(board: Dashboard) -> Complaints:
    for panel in board.panels:
        if panel.kind == "stat":
            if not panel.defaults.get("thresholds", {}).get("steps"):
                yield f"{panel.title}: no thresholds"
            if len(panel.defaults.get("noValue", "")) > 32:
                yield f"{panel.title}: a stat is narrow, its noValue long"
            sparkline = panel.json["options"]["graphMode"] != "none"
            if any(query.instant == sparkline for query in panel.queries):
                yield f"{panel.title}: a sparkline needs the range, a number alone is asked for now"


def repeated_ids(board: Dashboard) -> Complaints:
    ids = [panel["id"] for panel in board.json["panels"]]
    yield from (f"id {one} stands twice" for one in sorted(set(ids)) if ids.count(one) > 1)


def panels_that_overlap(board: Dashboard) -> Complaints:
    taken: dict[tuple[int, int], str] = {}
    for panel in board.json["panels"]:
        place = panel["gridPos"]
        if place["x"] < 0 or place["x"] + place["w"] > 24:
            yield f"{panel['title']} stands out of the grid"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken:
                    yield f"{panel['title']} lies over {taken[x, y]}"
                    return
                taken[x, y] = panel["title"]


def missing_marks_and_links(board: Dashboard) -> Complaints:
    marks = [one for one in board.annotations if "deployment_last_timestamp_seconds" in one.expression]
    if not (marks and marks[0].json["enable"] and marks[0].json["useValueForTime"] and "* 1000" in marks[0].expression):
        yield "deployments are not marked at their time"
    if [link["tags"] for link in board.json["links"]] != [["bambisleep"]] or board.json["tags"] != ["bambisleep"]:
        yield "the dashboards are not linked by their tag"
    if "inControlsMenu" in json.dumps(board.json):
        yield "something is put away into a menu"
    if board.json["editable"] or board.json["graphTooltip"] != 1 or board.json["timezone"] != "browser":
        yield "it can be edited, has no crosshair, or another time zone than the browser's"


def first_row_is_no_headline(board: Dashboard) -> Complaints:
    top = [panel for panel in board.panels if panel.json["gridPos"]["y"] == 0]
    if {panel.kind for panel in top} != {"stat"} or sum(panel.json["gridPos"]["w"] for panel in top) != 24:
        yield "the first row is not a full row of stats"


def missing_linked_panels(board: Dashboard) -> Complaints:
    titles = {panel.id: panel.title for panel in board.panels}
    for number, word in LINKED.get(board.file, {}).items():
        if word not in titles.get(number, ""):
            yield f"panel {number} should be about {word}, and is {titles.get(number)!r}"


CHECKS = (
    unparsable_queries, rates_of_gauges, facts_mixed_over_processes, events_not_added_up, series_of_other_jobs,
    other_data_sources, panels_that_say_too_little, stats_hard_to_read, repeated_ids, panels_that_overlap,
    missing_marks_and_links, first_row_is_no_headline, missing_linked_panels,
)  # fmt: skip
BOARDS = read_all()
BOARD = next(board for board in BOARDS if board.file == "http-red-metrics.json")


def spoiled(change: Callable[[dict[str, Any]], object]) -> Dashboard:
    found = copy.deepcopy(BOARD.json)
    change(found)
    return parse(BOARD.file, found)


def with_panel(change: Callable[[dict[str, Any]], object]) -> Dashboard:
    """A dashboard whose first panel was changed."""
    return spoiled(lambda found: change(found["panels"][0]))


def asking(expression: str) -> Dashboard:
    """A dashboard whose first panel asks for `expression`."""
    return with_panel(lambda panel: panel["targets"][0].update(expr=expression))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.file)
def test_nothing_is_wrong(board: Dashboard, check: Callable[[Dashboard], Complaints]) -> None:
    assert list(check(board)) == []


@pytest.mark.parametrize(
    ("check", "board"),
    [
        (unparsable_queries, asking("sum(rate(x[5m])")),
        (unparsable_queries, asking('up{job="$jobb"}')),
        (rates_of_gauges, asking('sum(rate(websocket_connections_total{job=~"$job"}[5m]))')),
        (rates_of_gauges, asking('sum(increase(users{job=~"$job"}[5m]))')),
        (facts_mixed_over_processes, asking('sum(users{job=~"$job"})')),
        (facts_mixed_over_processes, asking('users{job=~"$job"}')),
        (facts_mixed_over_processes, asking('sum by (state) (max by (state, instance, pod) (users{job=~"$job"}))')),
        (facts_mixed_over_processes, asking('max without (instance, pod) (increase(mttr_seconds_sum{job="x"}[1d]))')),
        (events_not_added_up, asking('rate(http_requests_total{job=~"$job"}[5m])')),
        (events_not_added_up, asking('max(rate(auth_attempts_total{job=~"$job"}[5m]))')),
        (series_of_other_jobs, asking("sum(rate(http_requests_total[5m]))")),
        (other_data_sources, with_panel(lambda panel: panel["targets"][0].update(datasource={"uid": "other"}))),
        (panels_that_say_too_little, with_panel(lambda panel: panel.pop("description"))),
        (panels_that_say_too_little, with_panel(lambda panel: panel["fieldConfig"]["defaults"].pop("noValue"))),
        (panels_that_say_too_little, with_panel(lambda panel: panel["fieldConfig"]["defaults"].pop("unit"))),
        (stats_hard_to_read, with_panel(lambda panel: panel["fieldConfig"]["defaults"].pop("thresholds"))),
        (stats_hard_to_read, with_panel(lambda panel: panel["fieldConfig"]["defaults"].update(noValue="no " * 20))),
        (stats_hard_to_read, with_panel(lambda panel: panel["targets"][0].update(instant=True))),
        (repeated_ids, with_panel(lambda panel: panel.update(id=102))),
        (panels_that_overlap, spoiled(lambda found: found["panels"][1]["gridPos"].update(x=3))),
        (panels_that_overlap, spoiled(lambda found: found["panels"][5]["gridPos"].update(w=5))),
        (missing_marks_and_links, spoiled(lambda found: found["annotations"]["list"].clear())),
        (missing_marks_and_links, spoiled(lambda found: found["links"][0].update(tags=["other"]))),
        (missing_marks_and_links, spoiled(lambda found: found["links"][0].update(placement="inControlsMenu"))),
        (missing_marks_and_links, spoiled(lambda found: found.update(editable=True))),
        (first_row_is_no_headline, spoiled(lambda found: found["panels"].pop(0))),
        (missing_linked_panels, spoiled(lambda found: [panel.update(title="?") for panel in found["panels"]])),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_each_check_finds_a_fault(check: Callable[[Dashboard], Complaints], board: Dashboard) -> None:
    assert list(check(board))


def test_there_are_six_under_the_names_that_the_documentation_gives() -> None:
    assert {board.file: (board.uid, board.title) for board in BOARDS} == TITLES


def test_the_files_are_what_their_source_gives() -> None:
    done = subprocess.run([sys.executable, str(GRAFANA / "build.py"), "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_stale_file_and_one_without_a_source_are_named(tmp_path: Path) -> None:
    shutil.copytree(GRAFANA, tmp_path / "grafana")
    written = tmp_path / "grafana" / "dashboards"
    (written / "dora-metrics.json").write_text("{}")
    (written / "forgotten.json").write_text("{}")
    command = [sys.executable, str(tmp_path / "grafana" / "build.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["stale: dora-metrics.json", "stale: forgotten.json (no source)"]


def test_every_panel_that_an_alert_links_to_is_there() -> None:
    panels = {(board.uid, panel.id) for board in BOARDS for panel in board.panels}
    rules = "".join(path.read_text() for path in RULES.rglob("*.yml") if "tests" not in path.parts)
    linked = {(uid, int(number)) for uid, number in re.findall(r"/d/([\w-]+)\?viewPanel=panel-(\d+)", rules)}
    assert len(linked) >= 12
    assert linked <= panels


def test_every_metric_is_told_recorded_or_to_come(installation: Installation) -> None:
    with installation.serving() as server:
        types = re.findall(r"^# TYPE (\S+) (\S+)$", server.http.get("/metrics").text, re.MULTILINE)
    suffixes = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}
    told = {name + suffix for name, kind in types for suffix in suffixes.get(kind, ("",))}
    recorded = {
        rule["record"]
        for path in RULES.rglob("*.yml")
        if "tests" not in path.parts
        for group in (yaml.safe_load(path.read_text()) or {}).get("groups", [])
        for rule in group["rules"]
        if "record" in rule
    }
    others = re.compile(r"(node|alertmanager|prometheus)_|up$|ALERTS(_FOR_STATE)?$")
    unknown = {
        f"{place}: {use.metric}"
        for board in [*BOARDS, asking("no_such_metric")]
        for place, use in uses(board, variables=True)
        if use.metric not in told | recorded and not others.match(use.metric) and not is_opt_in(use.metric)
    }
    assert unknown == {"http-red-metrics.json: Requests (101), query A: no_such_metric"}


def test_a_label_that_a_variable_offers_is_one_of_its_metric() -> None:
    labels = {name: set(event.labels) for name, event in metrics.EVENTS.items()}
    labels |= {name: set(metric.labels) for name, metric in facts.METRICS.items()}
    offered = [(board.file, variable) for board in BOARDS for variable in board.variables if variable.kind == "query"]
    assert len(offered) >= 10
    for file, variable in offered:
        use = promql.uses(substitute(variable.expression, {"job": "x", "service": "x"}))[0]
        known = labels[use.metric if use.metric in labels else BUCKETS.sub("", use.metric)]
        assert use.aggregations[0].labels <= known | {"job", "instance"}, (file, variable.name)


def test_the_provisioned_data_source_is_the_one_that_dashboards_open_with() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert {board.defaults["datasource"] for board in BOARDS} == {provisioned["datasources"][0]["uid"]}


def test_grafana_reads_the_dashboards_from_where_compose_mounts_them() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "bambisleep.yml").read_text())["providers"][0]
    compose = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in compose["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = compose["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name in TITLES
    assert home.startswith(provider["options"]["path"])
    assert provider["allowUiUpdates"] is False


@pytest.mark.needs("npm", "node")
def test_they_satisfy_the_schema_of_the_grafana_that_compose_runs() -> None:
    image = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["services"]["grafana"]["image"]
    package = json.loads((GRAFANA / "schema" / "package.json").read_text())
    assert image == f"grafana/grafana:{package['devDependencies']['@grafana/schema']}"
    assert schema.check(sorted(DIRECTORY.glob("*.json"))) == ""


# What is changed in a dashboard, and what the schema says of it.
FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "value": (lambda found: found["panels"][0]["options"].update(colorMode="loud"), '\'"loud"\'|"loud"'),
    "option": (lambda found: found["panels"][0]["options"].update(loud=True), "'\"loud\"' does not exist"),
    "id": (lambda found: found["panels"][0].update(id="one"), "not assignable to type 'number'"),
    "kind": (lambda found: found["panels"][0].update(type="clock"), "not assignable|does not exist"),
    "variable": (lambda found: found["templating"]["list"][0].update(auto=True), "'\"auto\"' does not exist"),
    "missing": (lambda found: found.pop("schemaVersion"), "'schemaVersion' is missing"),
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the schema says of a dashboard with each fault: the compiler starts once for all."""
    files = []
    for name, (change, _) in FAULTS.items():
        broken = copy.deepcopy(BOARD.json)
        change(broken)
        files.append(tmp_path_factory.mktemp(name) / f"{name}.json")
        files[-1].write_text(json.dumps(broken))
    return schema.check(files)


@pytest.mark.needs("npm", "node")
@pytest.mark.parametrize("name", FAULTS)
def test_the_schema_finds_a_fault(complaints: str, name: str) -> None:
    said = re.split(r"^(?=\S)", complaints, flags=re.MULTILINE)  # what goes on is indented
    of_this = "".join(part for part in said if part.startswith(f"{name}.json"))
    assert re.search(FAULTS[name][1], of_this), complaints
