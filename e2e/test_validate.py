"""`make validate`, without the virtual environment's packages: what it says of a stack that is not as it should be.

The run in which all is well takes minutes, and has a file of its own.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.k6 import needs_k6
from e2e.monitoring import DEPLOY, PARTS, Monitoring, monitoring, slack
from e2e.refusing import refusing
from e2e.servers import ROOT, Installation, Server, free_port, running, wait_for
from e2e.validation import start_validation, validate

PROGRAMS = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "promtool", "amtool", "busybox")
pytestmark = [pytest.mark.once, pytest.mark.needs(*PROGRAMS)]


@pytest.fixture(scope="module")
def site(installation: Installation) -> Iterator[Server]:
    with installation.serving("daphne") as server:
        yield server


@pytest.fixture(scope="module")
def stack(site: Server, installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """The stack beside a running site; nothing is wrong with it."""
    directory = tmp_path_factory.mktemp("stack")
    with monitoring(directory, application=site.url, site_data=installation.data_dir, source=DEPLOY) as watch:
        yield watch


@pytest.fixture
def nowhere() -> str:
    """Where nothing listens: what a stopped server leaves behind."""
    return f"http://localhost:{free_port()}"


def test_with_prometheus_stopped_it_fails_at_the_first_step(site: Server, stack: Monitoring, nowhere: str) -> None:
    found = validate(site, stack, "--prometheus", nowhere)

    assert found.status == 1
    assert f"✗ Prometheus is not there: {nowhere}/-/ready: connection refused" in found.step(1)
    assert "→ Start it with `make monitoring-native`, or say where it is with --prometheus URL." in found.step(1)
    for step in (3, 4, 5, 6):
        assert "– left out: Prometheus does not answer." in found.step(step)
    assert "✓ the site is healthy" in found.step(7)
    assert found.summary == "✗ 1 of 7 steps passed. Failed: 1, 7. Left out because of that: 3, 4, 5, 6."


def test_with_the_site_stopped_it_fails_at_the_third_step(
    installation: Installation, tmp_path: Path, nowhere: str
) -> None:
    with monitoring(tmp_path, application=nowhere, site_data=installation.data_dir, source=DEPLOY) as watch:
        found = validate(nowhere, watch)

    assert found.status == 1
    assert "✗" not in found.step(1) + found.step(2)
    assert f"✗ bambisleep: {nowhere}/metrics is down: " in found.step(3)
    assert f"✗ the site does not answer: {nowhere}/metrics: connection refused" in found.step(3)
    assert "→ Start the site with `make run`, or say where it is with --app URL." in found.step(3)
    assert "– left out: Prometheus does not see the site." in found.step(5)
    assert "– left out: Prometheus does not see the site." in found.step(6)
    assert found.summary == "✗ 3 of 7 steps passed. Failed: 3, 7. Left out because of that: 5, 6."


def _without_receiver(configuration: dict[str, Any]) -> None:
    for route in configuration["route"]["routes"]:
        route["receiver"] = route["receiver"].replace("slack-critical", "slack-general")
    configuration["receivers"] = [r for r in configuration["receivers"] if r["name"] != "slack-critical"]


def _without_route(configuration: dict[str, Any]) -> None:
    routes = configuration["route"]["routes"]
    configuration["route"]["routes"] = [route for route in routes if route["receiver"] != "bambisleep"]


def _without_webhook(configuration: dict[str, Any]) -> None:
    for receiver in configuration["receivers"]:
        if receiver["name"] == "bambisleep":
            del receiver["webhook_configs"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without_receiver, "✗ Alertmanager has no receiver slack-critical, for #alerts-critical"),
        (_without_route, "✗ no route leads to bambisleep, for the site's /alerts"),
        (_without_webhook, "✗ the receiver bambisleep has no webhook"),
    ],
    ids=["a receiver is missing", "a route is missing", "the webhook is missing"],
)
def test_with_alertmanager_misconfigured_it_fails_at_the_second_step(
    site: Server, stack: Monitoring, tmp_path: Path, spoil: Any, sentence: str
) -> None:
    with _alertmanager(tmp_path, spoil) as spoilt:
        found = validate(site, stack, "--alertmanager", spoilt.url, "--skip-load")

    assert found.status == 1
    assert sentence in found.step(2)
    assert "→ Bring deploy/alertmanager/alertmanager.yml back, and restart Alertmanager." in found.step(2)
    assert "– left out: Alertmanager does not reach everybody." in found.step(5)
    assert (
        found.summary
        == "✗ 4 of 7 steps passed. Failed: 2. Left out because of that: 5. Skipped, which is no failure: 6."
    )


def test_it_says_what_fails_to_be_sent(site: Server, stack: Monitoring, tmp_path: Path, nowhere: str) -> None:
    def tell_nobody(configuration: dict[str, Any]) -> None:
        for receiver in configuration["receivers"]:
            for webhook in receiver.get("webhook_configs", ()):
                webhook["url"] = nowhere

    with _alertmanager(tmp_path, tell_nobody) as manager, _prometheus(tmp_path, manager) as monitor:
        failed = 'increase(alertmanager_notification_requests_failed_total{integration="webhook"}[1m]) > 0'
        wait_for(lambda: _has(monitor, "alertmanager_notification_requests_failed_total"), "a first scrape")
        alert = {"labels": {"alertname": "Probe", "severity": "info"}, "annotations": {"summary": "A probe"}}
        manager.http.post("/api/v2/alerts", json=[alert]).raise_for_status()
        wait_for(lambda: _has(monitor, failed), "Prometheus knows of the failures", seconds=40)

        found = validate(site, stack, "--alertmanager", manager.url, "--prometheus", monitor.url, "--skip-load")

    assert found.status == 1
    assert "✗ sending by webhook failed" in found.step(2)
    assert "→ See that the site runs and has Alertmanager's token" in found.step(2)
    assert "– left out" in found.step(5)


def test_a_prometheus_without_the_rules_is_told_to_read_them(site: Server, stack: Monitoring, tmp_path: Path) -> None:
    with _alertmanager(tmp_path, lambda configuration: None) as manager, _prometheus(tmp_path, manager) as monitor:
        found = validate(site, stack, "--prometheus", monitor.url, "--skip-load")

    assert found.status == 1
    assert "✗ Prometheus does not have HighErrorRate, SlowResponseTime, ApplicationDown, " in found.step(1)
    assert "→ Have Prometheus read its rules again: " in found.step(1)
    assert "✗ Prometheus knows no Alertmanager" in found.step(1)
    assert "✗ bambisleep: no target" in found.step(3)


def test_without_slack_it_says_how_to_have_it(site: Server, stack: Monitoring, nowhere: str) -> None:
    found = validate(site, stack, "--app", nowhere)

    for channel in ("CRITICAL", "WARNINGS", "GENERAL"):
        assert (
            f"– #alerts-{channel.lower()}: no Slack, which is fine. To have it, set SLACK_WEBHOOK_URL "
            f"(or SLACK_WEBHOOK_URL_{channel}) in .env, and start `make monitoring-native` again." in found.step(2)
        )
    assert "✗" not in found.step(2)


def test_alerts_that_do_not_fire_in_time_are_named(site: Server, stack: Monitoring) -> None:
    found = validate(site, stack, "--skip-load", "--timeout", "0")

    assert found.status == 1
    told = re.search(rf"✓ a hundred times POST {site.url}/auth/login: (.*)", found.step(5))
    assert told
    answers = {int(status): int(times) for status, times in re.findall(r"(\d+) \((\d+) times\)", told[1])}
    assert set(answers) <= {401, 429}  # the lock-out answers for the rest
    assert sum(answers.values()) == 100
    assert "✗ HighErrorRate is " in found.step(5)
    assert found.summary.startswith("✗ 5 of 7 steps passed. Failed: 5.")


@pytest.mark.needs("nginx")
@needs_k6
def test_thresholds_that_do_not_hold_fail_the_sixth_step(
    site: Server, stack: Monitoring, tmp_path: Path, nowhere: str
) -> None:
    with refusing(tmp_path, site, "/", 500) as front:
        found = validate(front, stack, "--alertmanager", nowhere)

    assert found.status == 1
    assert "✗ http_req_failed: rate<0.01 does not hold" in found.step(6)
    assert "→ Look at the latency and the errors by route" in found.step(6)
    assert found.step(6).count("http_req_duration: p(95)<1000") == 1


def test_what_does_not_reach_the_site_fails_the_fifth_step_and_what_reaches_slack_is_counted(
    site: Server, installation: Installation, tmp_path: Path
) -> None:
    with slack() as channel:
        told = {"ALERTS_TOKEN": "not the site's", "SLACK_WEBHOOK_URL": channel.url("warnings")}
        with _impatient(tmp_path, site, installation, **told) as watch:
            found = validate(site, watch, "--skip-load")

    assert found.status == 1
    assert "✗" not in found.step(2)
    assert re.search(r"✗ Alertmanager failed \d+ times to tell the site", found.step(5))
    assert "→ See that the site runs and has Alertmanager's token" in found.step(5)
    assert re.search(r"✓ Slack took \d+ messages: see #alerts-warnings", found.step(5))


def test_what_does_not_reach_slack_fails_the_fifth_step(
    site: Server, installation: Installation, tmp_path: Path, nowhere: str
) -> None:
    with _impatient(tmp_path, site, installation, SLACK_WEBHOOK_URL=nowhere) as watch:
        found = validate(site, watch, "--skip-load")

    assert found.status == 1
    assert "✓ Alertmanager has told the site, and nothing failed" in found.step(5)
    assert re.search(r"✗ Alertmanager failed \d+ times to tell Slack", found.step(5))
    assert "→ See SLACK_WEBHOOK_URL and its like in .env" in found.step(5)


def test_a_token_that_metrics_ask_for_is_read_from_the_environment_or_dotenv(
    installation: Installation, stack: Monitoring, tmp_path: Path, nowhere: str
) -> None:
    here = _checkout(tmp_path)
    (here / ".env").write_text('METRICS_TOKEN="a scrape token"\n')
    with installation.serving("daphne", METRICS_TOKEN="a scrape token") as closed:
        options = ("--alertmanager", nowhere, "--skip-load")
        without = validate(closed, stack, *options)
        told = validate(closed, stack, *options, METRICS_TOKEN="a scrape token")
        read = validate(closed, stack, *options, root=here)

    assert f"✗ {closed.url}/metrics answers 401" in without.step(3)
    assert "→ Set METRICS_TOKEN in .env to what the site has" in without.step(3)
    for found in (told, read):
        assert f"✓ {closed.url}/metrics has http_requests_total" in found.step(3)


def test_measures_for_staff_only_are_no_failure(installation: Installation, stack: Monitoring, nowhere: str) -> None:
    with installation.serving("daphne", DORA_PUBLIC="false") as closed:
        found = validate(closed, stack, "--alertmanager", nowhere, "--skip-load")

    assert f"– {closed.url}/dora is for staff only" in found.step(3)
    assert "✗" not in found.step(3)


def test_another_server_where_one_is_looked_for_is_a_sentence(site: Server, stack: Monitoring) -> None:
    found = validate(site, stack, "--prometheus", site.url, "--alertmanager", stack.node_exporter, "--skip-load")

    assert found.status == 1
    assert f"✗ Prometheus: {site.url}/-/ready answers 404" in found.step(1)
    assert f"✗ {stack.node_exporter}/api/v2/status answers 200, but not with JSON" in found.step(2)


def test_a_server_that_hangs_up_is_a_sentence(site: Server, stack: Monitoring) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        running_now = start_validation(site, stack, "--prometheus", address, "--node-exporter", address)
        for _ in range(4):  # Prometheus and node exporter, in steps 1 and 7
            listening.accept()[0].close()
        found = running_now.finish()

    assert found.status == 1
    assert f"✗ Prometheus is not there: {address}/-/ready: " in found.step(1)
    assert f"✗ Node exporter is not there: {address}/: " in found.step(1)


def test_ctrl_c_ends_it_with_a_word(site: Server, stack: Monitoring) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running_now = start_validation(site, stack, "--prometheus", address)
        silent.settimeout(20)
        with silent.accept()[0]:  # it has asked, and waits
            running_now.process.send_signal(signal.SIGINT)
            found = running_now.finish()

    assert found.status == 130
    assert found.output.rstrip().endswith("Interrupted.")


@pytest.mark.parametrize(
    ("options", "told", "sentence"),
    [
        (["--prometheus", "localhost:9090"], {}, "'localhost:9090' is no address such as http://localhost:9090"),
        (["--timeout", "soon"], {}, "'soon' is no number of seconds"),
        ([], {"ALERTMANAGER_URL": "alerts"}, "ALERTMANAGER_URL: 'alerts' is no address"),
        (["--frobnicate"], {}, "unrecognized arguments: --frobnicate"),
    ],
)
def test_a_wrong_option_is_a_sentence(
    site: Server, stack: Monitoring, options: list[str], told: dict[str, str], sentence: str
) -> None:
    found = validate(site, stack, *options, **told)

    assert found.status == 2
    assert sentence in found.output


def test_addresses_may_come_from_the_environment(site: Server, stack: Monitoring, nowhere: str) -> None:
    found = validate(site, stack, "--app", nowhere, NODE_EXPORTER_URL=nowhere)

    assert f"✗ Node exporter is not there: {nowhere}/: connection refused" in found.step(1)


def test_what_native_left_behind_when_it_was_killed_is_not_believed(
    site: Server, stack: Monitoring, tmp_path: Path, nowhere: str
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / "native.json"
    left.write_text(json.dumps({"pid": ended.pid, "urls": {"prometheus": nowhere}}))

    addresses = {"PROMETHEUS_URL": stack.prometheus.url, "ALERTMANAGER_URL": nowhere}
    found = validate(site, stack, "--native", str(left), "--skip-load", **addresses)

    assert "✓ Prometheus is ready" in found.step(1)
    assert "http://localhost:3001/api/health" in found.step(1)  # Grafana is looked for


def test_a_query_that_prometheus_refuses_and_a_dashboard_that_is_missing_fail_the_fourth_step(
    site: Server, stack: Monitoring, tmp_path: Path, nowhere: str
) -> None:
    here = _checkout(tmp_path)
    dashboards = here / "deploy" / "grafana" / "dashboards"
    (dashboards / "dora-metrics.json").unlink()
    spoilt = json.loads((dashboards / "auth-security.json").read_text())
    panel = next(panel for panel in spoilt["panels"] if panel.get("targets"))
    panel["targets"][0]["expr"] = "sum(rate(auth_attempts_total[5m])"
    (dashboards / "auth-security.json").write_text(json.dumps(spoilt))

    found = validate(site, stack, "--alertmanager", nowhere, "--skip-load", root=here)

    assert found.status == 1
    assert "✗ there is no dashboard 'DORA Metrics' in deploy/grafana/dashboards" in found.step(4)
    assert f"✗ Auth & Security, {panel['title']}: " in found.step(4)
    assert "parse error: unclosed left parenthesis" in found.step(4)
    assert "✓ Business Metrics: Prometheus takes its " in found.step(4)


def test_without_k6_the_load_is_skipped_and_that_is_no_failure(
    site: Server, stack: Monitoring, tmp_path: Path, nowhere: str
) -> None:
    found = validate(site, stack, "--alertmanager", nowhere, root=_checkout(tmp_path), PATH="/usr/bin:/bin")

    assert "– skipped: there is no k6 here. `make loadtest` installs it into .venv" in found.step(6)
    assert "Skipped, which is no failure: 6." in found.summary


def test_variables_of_dashboards_are_all_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DEPLOY / "monitoring"))
    from validation.dashboards import queries_of

    for path in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        queries = list(queries_of(json.loads(path.read_text())))
        assert len(queries) > 10
        for query in queries:
            assert "$" not in query.expression, f"{path.name}, {query.place}: {query.expression}"


def test_what_is_scraped_every_few_minutes_alone_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(DEPLOY / "monitoring"))
    from validation import scraping
    from validation.report import Report

    report = Report()
    certificate = {
        "labels": {"job": "certificate"},
        "scrapeUrl": "http://localhost:9115/probe",
        "scrapeInterval": "5m",
        "health": "unknown",
        "lastError": "",
    }

    assert not scraping._are_awaited([certificate])
    assert scraping._are_awaited([certificate, {**certificate, "labels": {"job": "node"}}])
    scraping._check_target(certificate, report)
    scraping._check_target({**certificate, "health": "down", "lastError": "refused"}, report)
    said = capsys.readouterr().out
    assert "– certificate: http://localhost:9115/probe was not asked yet; it is every 5m" in said
    assert "✗ certificate: http://localhost:9115/probe is down: refused" in said


@contextmanager
def _impatient(directory: Path, site: Server, installation: Installation, **settings: str) -> Iterator[Monitoring]:
    """A stack that looks each second and waits for nothing; what fires goes on for as long as it always does."""
    source, data = directory / "source", directory / "stack"
    for part in PARTS:
        shutil.copytree(DEPLOY / part, source / part)
    for name, waits in (
        ("prometheus/prometheus.yml", "scrape_interval|evaluation_interval"),
        ("prometheus/alerts/bambisleep.yml", "for"),
        ("alertmanager/alertmanager.yml", "group_wait"),
    ):
        path = source / name
        changed, count = re.subn(rf"^( *(?:{waits}): )\d+[smh]$", r"\g<1>1s", path.read_text(), flags=re.MULTILINE)
        assert count, name
        path.write_text(changed)
    data.mkdir()
    with monitoring(data, application=site.url, site_data=installation.data_dir, source=source, **settings) as watch:
        yield watch


@contextmanager
def _alertmanager(directory: Path, spoil: Any) -> Iterator[Server]:
    """A real Alertmanager with the repository's configuration, spoilt."""
    configuration = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    credentials = directory / "token"
    credentials.write_text("a token")
    configuration["templates"] = [str(DEPLOY / "alertmanager" / "templates" / "*.tmpl")]
    for receiver in configuration["receivers"]:
        for webhook in receiver.get("webhook_configs", ()):
            webhook.pop("http_config", None)
        receiver.pop("slack_configs", None)
    spoil(configuration)
    path = directory / "alertmanager.yml"
    path.write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        "prometheus-alertmanager",
        f"--config.file={path}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    log = directory / "alertmanager.log"
    with running(command, environment=environment, port=port, log=log, ready="/-/ready") as server:
        yield server


@contextmanager
def _prometheus(directory: Path, alertmanager: Server) -> Iterator[Server]:
    """A real Prometheus that has no rules, tells nobody, and scrapes nothing but that Alertmanager."""
    port = free_port()
    configuration = directory / "prometheus.yml"
    configuration.write_text(
        f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: alertmanager
    static_configs: [{{targets: ["127.0.0.1:{alertmanager.port}"]}}]
"""
    )
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    log = directory / "prometheus.log"
    with running(command, environment=environment, port=port, log=log, ready="/-/ready") as server:
        yield server


def _has(monitor: Server, promql: str) -> bool:
    return bool(monitor.json("/api/v1/query", query=promql)["data"]["result"])


def _checkout(directory: Path) -> Path:
    """A copy of what validate.py reads, without .venv."""
    here = directory / "checkout"
    shutil.copytree(DEPLOY, here / "deploy")
    for name in ("docker-compose.monitoring.yml", "loadtest.js"):
        shutil.copy(ROOT / name, here / name)
    return here
