"""The monitoring stack for tests: native.py, as `make monitoring-native` runs it, on free ports, with data of its own.

`hurried` makes a copy of the configuration in which every duration is a sixtieth, so that an alert that takes minutes
takes seconds; nothing else differs, and a test holds that.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from e2e.servers import ROOT, Server, free_port, running, wait_for

DEPLOY = ROOT / "deploy"
NATIVE = DEPLOY / "monitoring" / "native.py"
PARTS = ("prometheus", "alertmanager", "runbooks")
HURRY = 60
DURATION = r"\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*"
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@dataclass(frozen=True, slots=True)
class Monitoring:
    """A running stack."""

    prometheus: Server
    alertmanager: str  # its address
    node_exporter: str
    directory: Path

    def firing(self) -> dict[str, dict[str, Any]]:
        """The alerts that fire, by name."""
        alerts = self.prometheus.json("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}

    def value(self, query: str) -> float | None:
        """The first sample of an instant query."""
        result = self.prometheus.json("/api/v1/query", query=query)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def log(self, name: str) -> str:
        """What "prometheus", "alertmanager" or "node-exporter" has said."""
        return (self.directory / f"{name}.log").read_text()


@contextmanager
def monitoring(
    directory: Path, *, application: str, site_data: Path, source: Path, flags: tuple[str, ...] = (), **settings: str
) -> Iterator[Monitoring]:
    """Run the stack that `source` configures until the end of the block.

    Args:
        application: the address of the site, which Prometheus scrapes and Alertmanager tells.
        site_data: the site's data folder, in which the two share a token.
        source: the folder that holds prometheus/, alertmanager/ and runbooks/.
        flags: further flags of Prometheus.
        settings: what .env would say.
    """
    port, alertmanager, node_exporter = free_port(), free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "APP_URL": application,
        "DATA_DIR": str(site_data),
        "MONITORING_DATA_DIR": str(directory),
        "PROMETHEUS_PORT": str(port),
        "ALERTMANAGER_PORT": str(alertmanager),
        "NODE_EXPORTER_PORT": str(node_exporter),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    command = [sys.executable, str(NATIVE), "--source", str(source), *(f"--prometheus-flag={flag}" for flag in flags)]
    log = directory / "native.log"
    with running(command, environment=environment, port=port, log=log, ready="/-/ready") as server:
        try:
            wait_for((directory / "native.json").exists, "all three answer", seconds=120)
            yield Monitoring(server, f"http://localhost:{alertmanager}", f"http://localhost:{node_exporter}", directory)
        finally:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGINT)
                server.process.wait(30)


def hurried(directory: Path) -> Path:
    """A copy of the configuration under deploy/ in which every duration is a sixtieth, though at least a second, and a
    range at least four."""
    for part in PARTS:
        shutil.copytree(DEPLOY / part, directory / part)
    for path in yaml_files(directory):
        path.write_text(_hurry(path.read_text()))
    return directory


def yaml_files(directory: Path) -> list[Path]:
    """The configuration files in a copy, but for the unit tests of the rules."""
    return sorted(path for path in directory.rglob("*.yml") if "tests" not in path.parts)


def without_durations(text: str) -> str:
    """`text` with every duration blanked that `hurried` may change."""
    return _change(text, lambda duration, least: "DURATION")


def _hurry(text: str) -> str:
    return _change(text, lambda duration, least: f"{max(round(_seconds(duration) / HURRY), least)}s")


def _change(text: str, change: Any) -> str:
    def in_range(match: re.Match[str]) -> str:
        step = f":{change(match[2], 1) if match[2] else ''}" if match[0].find(":") > 0 else ""
        return f"[{change(match[1], 4)}{step}]"

    text = re.sub(rf"\[({DURATION})(?::({DURATION})?)?\]", in_range, text)
    text = re.sub(rf"\b(offset )({DURATION})", lambda match: match[1] + change(match[2], 1), text)
    # How long ago something began, in PromQL's plain seconds.
    text = re.sub(
        r"(process_start_time_seconds\{[^}]*\}\) < )(\d+)\b",
        lambda match: match[1] + change(f"{match[2]}s", 1).removesuffix("s"),
        text,
    )
    keys = "for|keep_firing_for|[a-z_]*interval|group_wait"
    return re.sub(
        rf"^(\s*(?:- )?(?:{keys}): )({DURATION})\b", lambda match: match[1] + change(match[2], 1), text, flags=re.M
    )


def _seconds(duration: str) -> float:
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))


@dataclass(slots=True)
class Slack:
    """A stand-in for Slack's incoming webhooks: it keeps what each address was sent."""

    port: int
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # path, attachment
    pings: list[str] = field(default_factory=list)  # the names of the alerts that were told without an attachment

    def url(self, channel: str) -> str:
        """The webhook of a channel."""
        return f"http://127.0.0.1:{self.port}/services/{channel}"

    def find(self, channel: str, summary: str, *, resolved: bool) -> dict[str, Any] | None:
        """The first message of a channel about that summary."""
        return next((each for each in self._about(channel, summary) if _is_resolved(each) == resolved), None)

    def last(self, channel: str, summary: str, *, resolved: bool) -> dict[str, Any] | None:
        """The last message of a channel about that summary, where it says so.

        What fires again before its end was told is not told again: then the first message still stands.
        """
        last = [None, *self._about(channel, summary)][-1]
        return last if last and _is_resolved(last) == resolved else None

    def _about(self, channel: str, summary: str) -> list[dict[str, Any]]:
        return [each for path, each in self.messages if path == f"/services/{channel}" and summary in each["title"]]


def _is_resolved(message: dict[str, Any]) -> bool:
    return bool(message["title"].startswith("Resolved"))


@contextmanager
def slack() -> Iterator[Slack]:
    """Run the stand-in until the end of the block."""
    found = Slack(0)

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.messages.extend((self.path, {**body, **each}) for each in body.get("attachments", ()))
            found.pings.extend(alert["labels"]["alertname"] for alert in body.get("alerts", ()))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def container_script(name: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the containers' scripts under deploy/ with busybox, as the images do."""
    shell = Path(environment["PATH"]) / "sh"
    command = [str(shell), str(DEPLOY / name), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
