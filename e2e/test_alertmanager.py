"""A real Alertmanager delivers to POST /alerts: what comes of it in incidents, in mttr_seconds and in /dora."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.servers import Installation, Server, free_port, installed, running, wait_for

ALERTMANAGER = "prometheus-alertmanager"
TOKEN = "a-token-for-alertmanager"
PIPELINE = {"service": "bambisleep", "environment": "production"}
FACTS_DELAY_SECONDS = 15  # the house's promise
LABELS = {"alertname": "HighErrorRate", "severity": "critical", "opens_incident": "true", "change_linkable": "true"}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """An installation that has no incident yet."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with installed(data_dir) as installation:
        yield installation


@contextmanager
def serving_on(installation: Installation, port: int, **settings: str) -> Iterator[Server]:
    """The application on a port that Alertmanager knows, where it can come back after a restart."""
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0"]
    command.append("bambisleep.asgi:application")
    environment = installation.environment(PORT=str(port), ALERTS_TOKEN=TOKEN, **settings)
    log = installation.data_dir / f"daphne-{free_port()}.log"
    with running(command, environment=environment, port=port, log=log, ready="/health") as server:
        yield server


@contextmanager
def alertmanager(directory: Path, *, webhook_port: int | None) -> Iterator[Server]:
    """A real Alertmanager that delivers to the application on `webhook_port`, or with None to nobody."""
    credentials = directory / "token"
    credentials.write_text(TOKEN + "\n")
    webhook = f"""
    webhook_configs:
      - url: http://127.0.0.1:{webhook_port}/alerts
        http_config: {{authorization: {{credentials_file: {credentials}}}}}"""
    configuration = directory / "alertmanager.yml"
    configuration.write_text(
        f"""
route: {{receiver: bambisleep, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 2s}}
receivers:
  - name: bambisleep{webhook if webhook_port else ""}
"""
    )
    port = free_port()
    command = [
        ALERTMANAGER,
        f"--config.file={configuration}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    log = directory / "alertmanager.log"
    with running(command, environment=environment, port=port, log=log, ready="/-/ready") as server:
        yield server


def tell(manager: Server, *, starts: datetime, ends: datetime) -> None:
    """What Prometheus does: an alert that will have ended then, if nothing more is heard of it."""
    alert = {
        "labels": LABELS,
        "annotations": {"summary": "Too many errors"},
        "startsAt": starts.isoformat(),
        "endsAt": ends.isoformat(),
        "generatorURL": "http://prometheus:9090/graph",
    }
    manager.http.post("/api/v2/alerts", json=[alert]).raise_for_status()


def deploy(installation: Installation, *, finished: datetime) -> None:
    """Record one deployment, by the command."""
    options = ("--version", "1.0", "--commit", "a" * 40, "--no-commits", "--finished", finished.isoformat())
    done = installation.manage("record_deploy", *options)
    assert done.returncode == 0, done.stderr


def open_incidents(server: Server) -> float:
    return server.metric("incidents_open", **PIPELINE)


def recovery(server: Server) -> Any:
    return server.json("/dora")["measures"]["failed_deployment_recovery_time"]


def deliveries(server: Server) -> float:
    return server.metric("http_requests_total", method="POST", route="/alerts", status="200")


@pytest.mark.needs(ALERTMANAGER)
def test_an_alert_after_a_deployment_is_one_incident_through_a_restart_and_a_recovery_at_its_end(
    here: Installation, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    starts = now - timedelta(minutes=10)
    deploy(here, finished=now - timedelta(minutes=20))
    port = free_port()
    with alertmanager(tmp_path, webhook_port=port) as manager:
        with serving_on(here, port) as server:
            tell(manager, starts=starts, ends=now + timedelta(hours=1))
            wait_for(lambda: open_incidents(server) == 1, "an incident is open", seconds=FACTS_DELAY_SECONDS)
        with serving_on(here, port) as server:
            wait_for(lambda: deliveries(server) >= 2, "Alertmanager repeats itself to the new process")
            assert here.count("delivery_incident") == 1
            assert open_incidents(server) == 1
            assert server.metric("mttr_seconds_count", **PIPELINE) == 0

            ended = datetime.now(UTC)
            tell(manager, starts=starts, ends=ended)

            wait_for(lambda: open_incidents(server) == 0, "the incident is closed", seconds=FACTS_DELAY_SECONDS)
            wait_for(lambda: server.metric("mttr_seconds_count", **PIPELINE) == 1, "mttr_seconds counts it")
            seconds = (ended - starts).total_seconds()
            assert server.metric("mttr_seconds_sum", **PIPELINE) == pytest.approx(seconds, abs=0.01)
            measure = recovery(server)
            assert (measure["samples"], measure["value"]) == (1, pytest.approx(seconds, abs=0.01))
            assert here.count("delivery_incident") == 1


@pytest.mark.needs(ALERTMANAGER)
def test_an_alert_that_no_change_caused_is_no_recovery_and_dora_says_why(here: Installation, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    deploy(here, finished=now - timedelta(hours=3))
    port = free_port()
    with alertmanager(tmp_path, webhook_port=port) as manager, serving_on(here, port) as server:
        tell(manager, starts=now - timedelta(minutes=10), ends=now + timedelta(hours=1))
        wait_for(lambda: here.count("delivery_incident") == 1, "an incident is open")
        tell(manager, starts=now - timedelta(minutes=10), ends=datetime.now(UTC))
        wait_for(lambda: recovery(server)["excluded"]["not_caused_by_change"] == 1, "it is closed, and left out")
        measure = recovery(server)
        assert (measure["value"], measure["samples"]) == (None, 0)
        assert measure["reason"] == "no resolved incident caused by a change"
        assert server.metric("mttr_seconds_count", **PIPELINE) == 0


@pytest.mark.needs(ALERTMANAGER)
def test_the_command_finds_what_was_never_delivered_and_closes_nothing_too_early(
    here: Installation, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    with alertmanager(tmp_path, webhook_port=None) as manager:
        tell(manager, starts=now - timedelta(minutes=10), ends=now + timedelta(hours=1))
        wait_for(lambda: _states(manager) == ["active"], "Alertmanager holds the alert as active")

        said = [here.manage("sync_incidents", "--url", manager.url).stdout for _ in range(2)]

        assert said[0].startswith("opened: Too many errors\nNothing was closed: ")
        assert said[1].startswith("Nothing was closed: ")
        assert here.count("delivery_incident") == 1


@pytest.mark.needs(ALERTMANAGER)
def test_what_fired_while_the_application_was_down_is_found_when_it_starts(here: Installation, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with alertmanager(tmp_path, webhook_port=None) as manager:
        tell(manager, starts=now - timedelta(minutes=10), ends=now + timedelta(hours=1))
        wait_for(lambda: _states(manager) == ["active"], "Alertmanager holds the alert as active")
        with serving_on(here, free_port(), ALERTMANAGER_URL=manager.url) as server:
            wait_for(lambda: open_incidents(server) == 1, "the incident is found", seconds=FACTS_DELAY_SECONDS)
            assert deliveries(server) == 0


def test_twenty_deliveries_of_one_alert_at_once_are_one_incident(here: Installation) -> None:
    alert = {
        "status": "firing",
        "labels": LABELS,
        "annotations": {"summary": "Too many errors"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "d2c6efc389df0927",
    }
    with serving_on(here, free_port()) as server:

        def deliver(_: int) -> httpx.Response:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            return httpx.post(f"{server.url}/alerts", json={"alerts": [alert]}, headers=headers, trust_env=False)

        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(deliver, range(20)))

        assert {answer.status_code for answer in answers} == {200}
        assert sum(answer.json()["opened"] for answer in answers) == 1
        assert here.count("delivery_incident") == 1


def _states(manager: Server) -> list[str]:
    return [alert["status"]["state"] for alert in manager.http.get("/api/v2/alerts").json()]
