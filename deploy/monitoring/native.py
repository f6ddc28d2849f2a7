#!/usr/bin/env python3
"""The monitoring stack without containers: the configuration of docker-compose.monitoring.yml, run by the machine's own
Prometheus, Alertmanager and node exporter (Debian's packages, or the projects' releases), without root.

The files under deploy/ are used as they are. The names that only containers know are replaced in a copy of the two
configurations (`REPLACED`), and nothing else. Grafana is not run: Debian has no package of it. Ctrl-C ends all.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
LOOPBACK = "127.0.0.1"


class CannotStart(Exception):
    """Why the stack does not run, and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says; .env is read as compose reads it, and the environment wins."""

    source: Path  # the folder that holds prometheus/, alertmanager/ and runbooks/
    data: Path
    site_data: Path
    application: str
    prometheus_port: int
    alertmanager_port: int
    node_exporter_port: int
    environment: Mapping[str, str]

    @property
    def run(self) -> Path:
        """Where secrets and derived configurations lie: a folder for the owner alone."""
        return self.data / "run"

    @property
    def urls(self) -> dict[str, str]:
        """Where the three listen."""
        return {
            "prometheus": f"http://localhost:{self.prometheus_port}",
            "alertmanager": f"http://localhost:{self.alertmanager_port}",
            "node_exporter": f"http://localhost:{self.node_exporter_port}",
        }

    @property
    def replaced(self) -> dict[str, str]:
        """The names that only containers know, and what they are here."""
        return {
            "host.docker.internal:3000": self.application.partition("://")[2],
            "alertmanager:9093": f"localhost:{self.alertmanager_port}",
            "node-exporter:9100": f"localhost:{self.node_exporter_port}",
            "localhost:9090": f"localhost:{self.prometheus_port}",
            "blackbox-exporter:9115": "localhost:9115",
            "/run/bambisleep": str(self.run),
            "/etc/alertmanager": str(self.source / "alertmanager"),
        }


def main() -> int:
    """Run until one of the three ends, or somebody ends this."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Environment: APP_URL (http://localhost:3000), PROMETHEUS_PORT (9090), ALERTMANAGER_PORT (9093),\n"
        "NODE_EXPORTER_PORT (9100), MONITORING_DATA_DIR (var/monitoring), and what .env.example has under Monitoring.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", type=Path, default=ROOT / "deploy", help="the folder of the configuration")
    parser.add_argument(
        "--prometheus-flag", action="append", default=[], metavar="FLAG", help="one more flag for Prometheus"
    )
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background job inherits that it is ignored
        signal.signal(number, _interrupt)
    try:
        return _run(_settings(options.source.resolve()), options.prometheus_flag)
    except CannotStart as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a .env file, as compose reads the simple ones; none where there is no file."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)", line)
        if match:
            value = match[2].strip()
            if value[:1] in {'"', "'"} and value.endswith(value[0]) and len(value) > 1:
                value = value[1:-1]
            else:
                value = re.sub(r"\s+#.*", "", value)
            found[match[1]] = value
    return found


def _settings(source: Path) -> Settings:
    told = {**read_dotenv(ROOT / ".env"), **{name: value for name, value in os.environ.items() if value}}

    def port(name: str, default: int) -> int:
        value = told.get(name) or str(default)
        if not value.isdigit() or not 0 < int(value) < 65_536:
            raise CannotStart(f"{name} is no port: {value!r}.")
        return int(value)

    application = (told.get("APP_URL") or f"http://localhost:{port('PORT', 3000)}").rstrip("/")
    if not re.fullmatch(r"http://[^/\s]+", application):
        raise CannotStart(f"APP_URL is no address such as http://localhost:3000: {application!r}.")
    return Settings(
        source=source,
        data=Path(told.get("MONITORING_DATA_DIR") or ROOT / "var" / "monitoring").resolve(),
        site_data=Path(told.get("DATA_DIR") or ROOT / "var").resolve(),
        application=application,
        prometheus_port=port("PROMETHEUS_PORT", 9090),
        alertmanager_port=port("ALERTMANAGER_PORT", 9093),
        node_exporter_port=port("NODE_EXPORTER_PORT", 9100),
        environment=told,
    )


def _run(settings: Settings, prometheus_flags: list[str]) -> int:
    for port in (settings.prometheus_port, settings.alertmanager_port, settings.node_exporter_port):
        _refuse_if_taken(port)
    prepare(settings)
    commands = _commands(settings, prometheus_flags)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    state = settings.data / "native.json"
    try:
        for name, (command, environment) in commands.items():
            with (settings.data / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        _wait_until_ready(settings, processes)
        state.write_text(json.dumps({"pid": os.getpid(), "urls": settings.urls}))
        print(_where(settings), flush=True)
        while True:
            _refuse_if_ended(settings, processes)
            time.sleep(0.5)
    finally:
        state.unlink(missing_ok=True)
        for process in processes.values():
            if process.poll() is None:
                process.terminate()
        for process in processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare(settings: Settings) -> None:
    """Lay out the data folder: the derived configuration of Prometheus, and links to what is used as it is."""
    for folder in (settings.run, settings.data / "prometheus", settings.data / "tsdb", settings.data / "alertmanager"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.site_data / "shared").mkdir(parents=True, exist_ok=True)
    for path in (settings.source / "prometheus").iterdir():
        link = settings.data / "prometheus" / path.name
        link.unlink(missing_ok=True)
        if path.name == "prometheus.yml":
            link.write_text(derived(path.read_text(), settings.replaced))
        else:
            link.symlink_to(path)
    configuration = (settings.source / "alertmanager" / "alertmanager.yml").read_text()
    # The site's own address is left to the entry point, which knows ALERTS_WEBHOOK_URL.
    replaced = {name: value for name, value in settings.replaced.items() if not name.startswith("host.docker")}
    (settings.run / "alertmanager-source.yml").write_text(derived(configuration, replaced))


def derived(text: str, replaced: Mapping[str, str]) -> str:
    """`text` with the names that only containers know replaced, longest first, each once."""
    names = "|".join(re.escape(name) for name in sorted(replaced, key=len, reverse=True))
    return re.sub(names, lambda match: replaced[match[0]], text)


def _commands(settings: Settings, prometheus_flags: list[str]) -> dict[str, tuple[list[str], dict[str, str]]]:
    told = settings.environment
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    shell = _program("sh")
    prometheus = {
        **inherited,
        "PROMETHEUS": _program("prometheus"),
        "RUN_DIR": str(settings.run),
        "METRICS_TOKEN": told.get("METRICS_TOKEN", ""),
        "DEPLOY_SERVICE": told.get("DEPLOY_SERVICE") or "bambisleep",
        "DEPLOY_ENVIRONMENT": told.get("DEPLOY_ENVIRONMENT") or "production",
        "GRAFANA_URL": told.get("GRAFANA_URL") or "http://localhost:3001",
    }
    secrets = ("SLACK_WEBHOOK_URL", "WATCHDOG_URL", "ALERTS_WEBHOOK_URL", "ALERTS_TOKEN")
    alertmanager = {
        **inherited,
        "ALERTS_WEBHOOK_URL": f"{settings.application}/alerts",
        **{name: value for name, value in told.items() if name.startswith(secrets) and value},
        "ALERTMANAGER": _program("prometheus-alertmanager", "alertmanager"),
        "CONFIGURATION": str(settings.run / "alertmanager-source.yml"),
        "RUN_DIR": str(settings.run),
        "SHARED_TOKEN": str(settings.run / "shared" / "alerts-token"),
    }
    (settings.run / "shared").mkdir(mode=0o700, exist_ok=True)
    _share_token(settings, shell, inherited)
    return {
        "node-exporter": (
            [
                _program("prometheus-node-exporter", "node_exporter"),
                *_collectors(),
                f"--web.listen-address={LOOPBACK}:{settings.node_exporter_port}",
            ],
            inherited,
        ),
        "alertmanager": (
            [
                shell,
                str(settings.source / "alertmanager" / "entrypoint.sh"),
                f"--storage.path={settings.data / 'alertmanager'}",
                f"--web.listen-address={LOOPBACK}:{settings.alertmanager_port}",
                f"--web.external-url={told.get('ALERTMANAGER_EXTERNAL_URL') or settings.urls['alertmanager']}",
                "--web.route-prefix=/",
                "--cluster.listen-address=",
            ],
            alertmanager,
        ),
        "prometheus": (
            [
                shell,
                str(settings.source / "prometheus" / "entrypoint.sh"),
                f"--config.file={settings.data / 'prometheus' / 'prometheus.yml'}",
                f"--storage.tsdb.path={settings.data / 'tsdb'}",
                "--storage.tsdb.retention.time=90d",
                f"--storage.tsdb.retention.size={told.get('PROMETHEUS_RETENTION_SIZE') or '20GB'}",
                f"--web.console.templates={settings.source / 'runbooks'}",
                f"--web.listen-address={LOOPBACK}:{settings.prometheus_port}",
                f"--web.external-url={told.get('PROMETHEUS_URL') or settings.urls['prometheus']}",
                "--web.route-prefix=/",
                # Since Prometheus 3 external labels are expanded without being asked for it.
                "--enable-feature=exemplar-storage,expand-external-labels",
                *prometheus_flags,
            ],
            prometheus,
        ),
    }


def _collectors() -> list[str]:
    """The collectors that the container runs, from the compose file, so that they are told once."""
    compose = (ROOT / "docker-compose.monitoring.yml").read_text()
    flags = re.findall(r"^ +- (--(?:no-)?collector\S+)$", compose, re.MULTILINE)
    return [flag.replace("$$", "$") for flag in flags]


def _share_token(settings: Settings, shell: str, inherited: Mapping[str, str]) -> None:
    environment = {
        **inherited,
        "SITE_DIR": str(settings.site_data / "shared"),
        "SHARED_DIR": str(settings.run / "shared"),
        "OWNER": f"{os.getuid()}:{os.getgid()}",
    }
    script = settings.source / "alertmanager" / "share-token.sh"
    done = subprocess.run([shell, str(script)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotStart(f"The token for /alerts cannot be shared: {done.stderr.strip()}")


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found:
            return found
    raise CannotStart(f"{names[0]} is not installed: `make services` installs it (Debian).")


def _refuse_if_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise CannotStart(
                f"Port {port} cannot be had ({error.strerror}): end what listens there, such as the containers, or "
                "choose another with PROMETHEUS_PORT, ALERTMANAGER_PORT or NODE_EXPORTER_PORT."
            ) from None


def _wait_until_ready(settings: Settings, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    opener = build_opener(ProxyHandler({}))
    waiting = {
        "prometheus": f"{settings.urls['prometheus']}/-/ready",
        "alertmanager": f"{settings.urls['alertmanager']}/-/ready",
        "node-exporter": f"{settings.urls['node_exporter']}/",
    }
    deadline = time.monotonic() + READY_SECONDS
    while waiting:
        _refuse_if_ended(settings, processes)
        for name, url in list(waiting.items()):
            try:
                opener.open(url, timeout=2).close()
                del waiting[name]
            except (URLError, OSError):
                continue
        if waiting and time.monotonic() > deadline:
            raise CannotStart(f"Not ready after {READY_SECONDS:.0f} s: {', '.join(waiting)}. See {settings.data}.")
        time.sleep(0.1)


def _refuse_if_ended(settings: Settings, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            log = (settings.data / f"{name}.log").read_text(errors="replace")
            raise CannotStart(f"{name} ended with {process.returncode}:\n{log[-2000:].strip()}")


def _where(settings: Settings) -> str:
    said = (settings.data / "alertmanager.log").read_text(errors="replace").splitlines()
    notes = [line for line in said if line.startswith(("No Slack", "Nobody is told"))]
    return "\n".join(
        [
            "",
            f"  Prometheus      {settings.urls['prometheus']}      scrapes {settings.application}",
            f"  Alertmanager    {settings.urls['alertmanager']}",
            f"  Node exporter   {settings.urls['node_exporter']}/metrics",
            "  Grafana         not here: Debian has no package of it; `make monitoring` runs all four in containers",
            "",
            *(f"  {note}" for note in notes),
            f"  Data and logs in {settings.data}. Ctrl-C ends it.",
            "",
        ]
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
