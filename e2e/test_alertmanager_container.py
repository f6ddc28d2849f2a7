"""What Alertmanager's container does before it becomes Alertmanager: secrets from the environment into files, a
configuration without what has no address, and a token shared with the site. Run with busybox, as the image does."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from e2e import rules as rules_files
from e2e.monitoring import DEPLOY, container_script
from e2e.servers import Installation

SECRET = "https://hooks.slack.example/services/T0/B0/a-secret-word"
pytestmark = [pytest.mark.once, pytest.mark.needs("busybox", "amtool")]


@pytest.fixture
def environment(busybox: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """What the container has, with files instead of mounts; Alertmanager itself only tells how it was called."""
    (tmp_path / "run").mkdir()
    (tmp_path / "alerts-token").write_text("shared\n")
    return {
        **busybox,
        "CONFIGURATION": str(DEPLOY / "alertmanager" / "alertmanager.yml"),
        "RUN_DIR": str(tmp_path / "run"),
        "SHARED_TOKEN": str(tmp_path / "alerts-token"),
        "ALERTMANAGER": "echo",
    }


def test_without_slack_it_says_so_and_leaves_slack_out(environment: dict[str, str]) -> None:
    done, configuration = _enter(environment)

    for channel in ("critical", "warnings", "general"):
        assert f"No Slack for #alerts-{channel}" in done.stderr
    assert "slack_configs" not in configuration
    assert _receivers(configuration) >= {"slack-critical", "slack-warnings", "slack-general", "bambisleep"}


def test_one_address_serves_all_three_channels(environment: dict[str, str]) -> None:
    done, configuration = _enter({**environment, "SLACK_WEBHOOK_URL": SECRET})

    assert "No Slack" not in done.stderr
    assert configuration.count("slack_configs") == 3
    run = Path(environment["RUN_DIR"])
    assert {(run / f"slack-{name}").read_text() for name in ("critical", "warnings", "general")} == {SECRET}


def test_each_channel_may_have_its_own(environment: dict[str, str]) -> None:
    done, configuration = _enter({**environment, "SLACK_WEBHOOK_URL_CRITICAL": SECRET})

    assert "No Slack for #alerts-critical" not in done.stderr
    assert "No Slack for #alerts-general" in done.stderr
    assert configuration.count("slack_configs") == 1


def test_no_secret_is_in_the_configuration_or_in_what_is_said(environment: dict[str, str]) -> None:
    done, configuration = _enter({**environment, "SLACK_WEBHOOK_URL": SECRET, "ALERTS_TOKEN": "a-token"})

    assert "a-secret-word" not in configuration + done.stderr + done.stdout
    assert "a-token" not in configuration + done.stderr + done.stdout
    for path in Path(environment["RUN_DIR"]).iterdir():
        assert path.stat().st_mode & 0o77 == 0, path.name


@pytest.mark.parametrize(
    "address",
    [
        "slack.com/hush",
        "https://",
        "https://a hush",
        "https://a|hush",
        "https://a'hush",
        'https://a"hush',
        "hush\nhush",
    ],
)
@pytest.mark.parametrize("name", ["SLACK_WEBHOOK_URL", "SLACK_WEBHOOK_URL_GENERAL", "WATCHDOG_URL"])
def test_what_is_no_address_stops_it_unseen(environment: dict[str, str], name: str, address: str) -> None:
    done = container_script("alertmanager/entrypoint.sh", {**environment, name: address})

    assert done.returncode != 0
    assert f"{name} is no address" in done.stderr
    assert "hush" not in done.stderr


def test_the_watchdog_goes_where_it_is_sent(environment: dict[str, str]) -> None:
    _, without = _enter(environment)
    _, configuration = _enter({**environment, "WATCHDOG_URL": "https://watch.example/ping/1?a=b&c=d&e"})

    assert "- url: https://watch.example/ping/1?a=b&c=d&e #" in configuration
    assert "watchdog.invalid" not in without + configuration


def test_alerts_go_to_a_site_elsewhere(environment: dict[str, str]) -> None:
    _, configuration = _enter({**environment, "ALERTS_WEBHOOK_URL": "https://members.example/alerts?a=b&c=d"})

    assert "https://members.example/alerts?a=b&c=d" in configuration
    assert "host.docker.internal" not in configuration


def test_the_token_is_the_shared_one_unless_one_is_set(environment: dict[str, str]) -> None:
    token = Path(environment["RUN_DIR"]) / "alerts-token"

    _enter(environment)
    assert token.read_text() == "shared\n"
    _enter({**environment, "ALERTS_TOKEN": "mine"})
    assert token.read_text() == "mine"


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=HighErrorRate", "severity=critical"], "bambisleep,slack-critical"),
        (["alertname=HighErrorRate", "severity=warning"], "bambisleep,slack-warnings"),
        (["alertname=LowDeploymentFrequency", "severity=info"], "bambisleep,slack-general"),
        (["alertname=Another", "severity=page"], "bambisleep,slack-general"),
        (["alertname=Another"], "bambisleep,slack-general"),
        (["alertname=Watchdog", "severity=none"], "watchdog"),
    ],
)
@pytest.mark.parametrize("address", ["", SECRET])
def test_each_severity_has_its_channel_and_the_site_hears_of_all(
    environment: dict[str, str], labels: list[str], receivers: str, address: str
) -> None:
    _enter({**environment, "SLACK_WEBHOOK_URL": address})
    configuration = Path(environment["RUN_DIR"]) / "alertmanager.yml"

    command = ["amtool", "config", "routes", "test", f"--config.file={configuration}"]
    routed = subprocess.run([*command, f"--verify.receivers={receivers}", *labels], capture_output=True, text=True)

    assert routed.returncode == 0, routed.stdout + routed.stderr


def test_the_routing_test_can_fail(environment: dict[str, str]) -> None:
    _enter(environment)
    configuration = Path(environment["RUN_DIR"]) / "alertmanager.yml"

    command = ["amtool", "config", "routes", "test", f"--config.file={configuration}"]
    routed = subprocess.run([*command, "--verify.receivers=slack-critical", "severity=info"], capture_output=True)

    assert routed.returncode != 0


def test_of_two_words_the_worse_holds_back_only_what_is_said_of_the_same_thing() -> None:
    """Two hosts, two tasks, two integrations: labels by which an alert tells one thing from another."""
    configuration = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    rules = [rule for rule in configuration["inhibit_rules"] if rule["target_matchers"] == ['severity="warning"']]
    [equal] = [set(rule["equal"]) for rule in rules]
    two = {alert.name: alert for alert in rules_files.alerts() if {"warning", "critical"} <= alert.severities}
    assert {"CertificateExpiring", "ApplicationDown"} <= two.keys()

    assert {"alertname", "service", "environment"} <= equal
    told = {
        label
        for expectation in rules_files.expectations()
        if expectation.alert in two
        for labels in expectation.labels
        for label in labels
    }
    assert told - {"severity", "team", "category", "opens_incident", "change_linkable"} <= equal


@pytest.fixture
def folders(busybox: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Two folders for two mounts, and an owner that these tests may give a file to."""
    (tmp_path / "site").mkdir()
    (tmp_path / "container").mkdir()
    owner = f"{os.getuid()}:{os.getgid()}"
    return {**busybox, "SITE_DIR": str(tmp_path / "site"), "SHARED_DIR": str(tmp_path / "container"), "OWNER": owner}


def test_where_the_site_comes_first_it_is_the_site_s(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "site" / "alerts-token").write_text("the-site-was-first")

    assert container_script("alertmanager/share-token.sh", folders).returncode == 0

    assert (tmp_path / "container" / "alerts-token").read_text() == "the-site-was-first"


def test_where_it_comes_first_the_site_takes_it_over(
    folders: dict[str, str], tmp_path: Path, blank_installation: Installation
) -> None:
    shared = blank_installation.data_dir / "shared"
    shared.mkdir()

    assert container_script("alertmanager/share-token.sh", {**folders, "SITE_DIR": str(shared)}).returncode == 0

    token = (tmp_path / "container" / "alerts-token").read_text()
    assert len(token) >= 32
    said = blank_installation.manage("shell", "-c", "from django.conf import settings; print(settings.ALERTS_TOKEN)")
    assert said.stdout.splitlines()[-1] == token


def test_it_stays_the_same(folders: dict[str, str], tmp_path: Path) -> None:
    container_script("alertmanager/share-token.sh", folders)
    first = (tmp_path / "container" / "alerts-token").read_text()

    container_script("alertmanager/share-token.sh", folders)

    assert (tmp_path / "container" / "alerts-token").read_text() == first


def test_only_its_owner_can_read_it(folders: dict[str, str], tmp_path: Path) -> None:
    container_script("alertmanager/share-token.sh", folders)

    for folder in ("site", "container"):
        assert (tmp_path / folder / "alerts-token").stat().st_mode & 0o777 == 0o600


def test_twenty_at_once_make_one(folders: dict[str, str], tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as threads:
        done = list(threads.map(lambda _: container_script("alertmanager/share-token.sh", folders), range(20)))

    assert {each.returncode for each in done} == {0}
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["alerts-token"]
    assert (tmp_path / "site" / "alerts-token").read_text() == (tmp_path / "container" / "alerts-token").read_text()


def _enter(environment: dict[str, str]) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run Alertmanager's entry point: what it said, and the configuration it made, which amtool finds valid."""
    done = container_script("alertmanager/entrypoint.sh", environment, "--storage.path=x")
    configuration = Path(environment["RUN_DIR"]) / "alertmanager.yml"
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"--config.file={configuration} --storage.path=x\n"
    checked = subprocess.run(["amtool", "check-config", str(configuration)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return done, configuration.read_text()


def _receivers(configuration: str) -> set[str]:
    return {receiver["name"] for receiver in yaml.safe_load(configuration)["receivers"]}
