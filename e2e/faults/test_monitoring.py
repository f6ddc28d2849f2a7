"""Prometheus, Alertmanager and Slack away: the site does not notice, and what happened meanwhile is told afterwards."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from bambisleep.tests.environment import LONG
from e2e.faults.conftest import Whole
from e2e.faults.life import life
from e2e.servers import Server, free_port, prometheus, query, running, wait_for

ALERTMANAGER = "prometheus-alertmanager"
pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx", "prometheus", ALERTMANAGER)

AWAY_SECONDS = 600 if LONG else 3


def test_prometheus_killed_and_away(whole: Whole, tmp_path: Path) -> None:
    site = whole.site.processes[0]
    with life(whole.site, site) as people, prometheus(tmp_path, site) as watch:
        fact = f'deployment_frequency_total{{service="life-{people.name}"}}'
        events = 'http_requests_total{route="/dora/deployments",status="201"}'
        wait_for(lambda: (query(watch, fact) or 0) > 0 and (query(watch, events) or 0) > 0, "it has seen some")
        before = time.time()
        told_before, counted_before = query(watch, fact) or 0, query(watch, events) or 0
        watch.process.send_signal(signal.SIGKILL)
        watch.process.wait(10)
        people.go_on(AWAY_SECONDS)
        recorded = len(people.deployed)
        with _again(watch):
            wait_for(lambda: (_asked(watch, fact) or 0) >= recorded, "facts have caught up", seconds=30)
            assert (_asked(watch, events) or 0) - counted_before >= recorded - told_before, "so have events"
            assert watch.json("/api/v1/query", query=fact, time=before)["data"]["result"], "what it knew it knows"
            assert query(watch, f"resets({fact}[{AWAY_SECONDS + 60}s])") == 0
        people.recover()
        assert people.statuses()[503] == 0
    people.expect_answers()


def test_alertmanager_killed_while_slack_is_away(tmp_path: Path) -> None:
    slack_port, told = free_port(), []
    with _alertmanager(tmp_path, slack_port) as manager:
        _fire(manager)
        wait_for(lambda: _failed(manager) > 0, "Slack could not be told")
        manager.process.send_signal(signal.SIGKILL)
        manager.process.wait(10)
        with _again(manager):
            _fire(manager)  # as Prometheus does every minute
            wait_for(lambda: _failed(manager) > 0, "it has tried again")
            with _slack(slack_port, told):
                wait_for(lambda: told, "Slack is told once it is back", seconds=30)
    assert "HighErrorRate" in str(told[0])


def _asked(watch: Server, promql: str) -> float | None:
    with suppress(httpx.HTTPError):
        return query(watch, promql)
    return None


@contextmanager
def _again(server: Server) -> Iterator[None]:
    """The same program, on the same files, as systemd starts it again."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(server.log.parent)}
    with server.log.open("ab") as log:
        process = subprocess.Popen(server.process.args, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: _is_ready(server), "it is back", seconds=30)
        yield
    finally:
        process.kill()
        process.wait(10)


def _is_ready(server: Server) -> bool:
    try:
        return server.http.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _alertmanager(directory: Path, slack_port: int) -> Iterator[Server]:
    configuration = directory / "alertmanager.yml"
    configuration.write_text(
        f"""
route: {{receiver: slack, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}}
receivers:
  - name: slack
    slack_configs: [{{api_url: "http://127.0.0.1:{slack_port}/", title: "{{{{ .CommonLabels.alertname }}}}"}}]
"""
    )
    port = free_port()
    command = [ALERTMANAGER, f"--config.file={configuration}", f"--storage.path={directory / 'state'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    log = directory / "alertmanager.log"
    with running(command, environment=environment, port=port, log=log, ready="/-/ready") as server:
        yield server


def _fire(manager: Server) -> None:
    ends = datetime.now(UTC) + timedelta(minutes=4)
    alert = {"labels": {"alertname": "HighErrorRate"}, "endsAt": ends.isoformat()}
    manager.http.post("/api/v2/alerts", json=[alert]).raise_for_status()


def _failed(manager: Server) -> float:
    return manager.metric("alertmanager_notification_requests_failed_total", integration="slack")


@contextmanager
def _slack(port: int, told: list[bytes]) -> Iterator[None]:
    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Webhook)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
