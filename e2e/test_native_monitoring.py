"""`make monitoring-native`: the containers' configuration, run by the machine's own programs beside a running site."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.monitoring import DEPLOY, NATIVE, Monitoring, container_script, monitoring
from e2e.servers import Installation, Server, free_port, wait_for

PROGRAMS = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "promtool", "amtool", "busybox")
pytestmark = [pytest.mark.once, pytest.mark.needs(*PROGRAMS)]


@pytest.fixture(scope="module")
def stack(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Monitoring]]:
    """The stack beside a site in development, as two terminals with `make run` and `make monitoring-native`."""
    directory = tmp_path_factory.mktemp("native")
    with (
        installation.serving("daphne") as site,
        monitoring(directory, application=site.url, site_data=installation.data_dir, source=DEPLOY) as watch,
    ):
        yield site, watch


def test_every_target_is_up(stack: tuple[Server, Monitoring]) -> None:
    _, watch = stack

    def states() -> dict[str, str]:
        targets = watch.prometheus.json("/api/v1/targets")["data"]["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in targets}

    jobs = ("bambisleep", "prometheus", "alertmanager", "node")
    wait_for(lambda: states() == dict.fromkeys(jobs, "up"), "every target is up", seconds=40)


def test_prometheus_knows_its_alertmanager(stack: tuple[Server, Monitoring]) -> None:
    _, watch = stack

    found = wait_for(
        lambda: watch.prometheus.json("/api/v1/alertmanagers")["data"]["activeAlertmanagers"], "one is known"
    )

    assert [manager["url"] for manager in found] == [f"{watch.alertmanager}/api/v2/alerts"]


def test_only_names_that_containers_know_were_replaced(stack: tuple[Server, Monitoring]) -> None:
    site, watch = stack
    names = {
        "prometheus/prometheus.yml": DEPLOY / "prometheus" / "prometheus.yml",
        "run/alertmanager-source.yml": DEPLOY / "alertmanager" / "alertmanager.yml",
    }
    here = re.compile(rf"localhost:\d+|127\.0\.0\.1:{site.port}|{watch.directory}/run|{DEPLOY}/alertmanager")
    there = re.compile(
        r"host\.docker\.internal:3000|(?:alertmanager:9093|node-exporter:9100|blackbox-exporter:9115|localhost:9090)"
        r"|/run/bambisleep|/etc/alertmanager"
    )
    for derived, original in names.items():
        changed = (watch.directory / derived).read_text()
        assert changed != original.read_text()
        assert there.sub("NAME", here.sub("NAME", changed)) == there.sub("NAME", original.read_text())


def test_what_it_derives_is_valid(stack: tuple[Server, Monitoring]) -> None:
    _, watch = stack
    for command in (
        ["promtool", "check", "config", str(watch.directory / "prometheus" / "prometheus.yml")],
        ["amtool", "check-config", str(watch.directory / "run" / "alertmanager.yml")],
    ):
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alertmanager_tells_the_site_without_a_hand(stack: tuple[Server, Monitoring]) -> None:
    site, watch = stack
    alert = {"labels": {"alertname": "Probe", "severity": "info"}, "annotations": {"summary": "A probe"}}

    httpx.post(f"{watch.alertmanager}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()

    told = {"route": "/alerts", "method": "POST", "status": "200"}
    wait_for(lambda: site.metric("http_requests_total", **told) >= 1, "the site took it in", seconds=30)


def test_alerts_go_to_this_site_or_where_they_are_sent(stack: tuple[Server, Monitoring], tmp_path: Path) -> None:
    site, watch = stack
    elsewhere = "https://members.example/alerts"
    with monitoring(
        tmp_path, application=site.url, site_data=tmp_path / "site", source=DEPLOY, ALERTS_WEBHOOK_URL=elsewhere
    ) as other:
        found = [(stack.directory / "run" / "alertmanager.yml").read_text() for stack in (watch, other)]

    assert f"url: {site.url}/alerts " in found[0]
    assert f"url: {elsewhere} " in found[1]


def test_prometheus_serves_the_runbooks(stack: tuple[Server, Monitoring]) -> None:
    _, watch = stack

    answer = watch.prometheus.http.get("/consoles/HighErrorRate.md")

    assert answer.text == (DEPLOY / "runbooks" / "HighErrorRate.md").read_text()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_it_says_that_there_is_no_slack(stack: tuple[Server, Monitoring]) -> None:
    _, watch = stack

    assert "No Slack for #alerts-critical" in watch.prometheus.output


def test_without_slack_nothing_fails_to_be_sent(stack: tuple[Server, Monitoring]) -> None:
    _, watch = stack

    metrics = httpx.get(f"{watch.alertmanager}/metrics", trust_env=False).text
    failed = re.findall(r"^alertmanager_notification\w*_failed_total\{[^}]*slack[^}]*\} (\S+)", metrics, re.MULTILINE)

    assert failed
    assert set(failed) == {"0"}


def test_nothing_listens_beyond_loopback(stack: tuple[Server, Monitoring]) -> None:
    _, watch = stack
    ports = {int(url.rpartition(":")[2]) for url in (watch.prometheus.url, watch.alertmanager, watch.node_exporter)}

    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, _, port = line.split()[1].partition(":")
        if line.split()[3] == "0A" and int(port, 16) in ports:
            listening.add((address, int(port, 16)))
    six = Path("/proc/net/tcp6").read_text()

    assert listening == {("0100007F", port) for port in ports}
    assert not [port for port in ports if f":{port:04X} 00000000" in six]


def test_a_taken_port_is_a_sentence(stack: tuple[Server, Monitoring], tmp_path: Path) -> None:
    _, watch = stack

    refused = _native(tmp_path, PROMETHEUS_PORT=str(watch.prometheus.port))

    assert refused.returncode == 1
    assert f"Port {watch.prometheus.port} cannot be had" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMETHEUS_PORT", "none"),
        ("ALERTMANAGER_PORT", "70000"),
        ("APP_URL", "localhost"),
        ("APP_URL", "http://a b"),
    ],
)
def test_a_wrong_setting_is_a_sentence(tmp_path: Path, name: str, value: str) -> None:
    refused = _native(tmp_path, **{name: value})

    assert refused.returncode == 1
    assert name in refused.stderr
    assert "Traceback" not in refused.stderr


def test_one_that_ends_ends_all_and_its_last_words_are_shown(tmp_path: Path) -> None:
    refused = _native(tmp_path, SLACK_WEBHOOK_URL="no address")

    assert refused.returncode == 1
    assert "alertmanager ended with 1" in refused.stderr
    assert "SLACK_WEBHOOK_URL is no address" in refused.stderr
    assert not (tmp_path / "native.json").exists()


@pytest.mark.needs("promtool")
def test_promtool_finds_it_valid() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_has_the_jobs_of_the_contract() -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}

    assert jobs.keys() == {"bambisleep", "prometheus", "alertmanager", "node", "certificate"}
    assert jobs["bambisleep"].keys() >= {"static_configs", "file_sd_configs", "dns_sd_configs"}
    assert configuration["global"]["scrape_interval"] == "15s"
    for pattern in configuration["rule_files"]:
        assert list((DEPLOY / "prometheus").glob(pattern)), pattern


@pytest.mark.needs("busybox")
def test_the_scrape_token_goes_into_a_file_that_its_owner_alone_can_read(
    busybox: dict[str, str], tmp_path: Path
) -> None:
    environment = {**busybox, "RUN_DIR": str(tmp_path), "PROMETHEUS": "echo", "METRICS_TOKEN": "a scrape token"}

    done = container_script("prometheus/entrypoint.sh", environment, "--config.file=x")

    assert done.stdout == "--config.file=x\n"
    assert (tmp_path / "metrics-token").read_text() == "a scrape token"
    assert (tmp_path / "metrics-token").stat().st_mode & 0o777 == 0o600


def _native(directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run native.py to its end, on free ports but for what `settings` say."""
    ports = {name: str(free_port()) for name in ("PROMETHEUS_PORT", "ALERTMANAGER_PORT", "NODE_EXPORTER_PORT")}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "DATA_DIR": str(directory / "site"),
        "MONITORING_DATA_DIR": str(directory),
        **ports,
        **settings,
    }
    command = ["python3", str(NATIVE)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
