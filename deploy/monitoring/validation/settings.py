"""Where the servers are, and what to do with them: options first, then the environment, then what runs here."""

import argparse
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from native import ROOT, read_dotenv

DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
COMPOSE_FILE = "docker-compose.monitoring.yml"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts" / "bambisleep.yml"
DEFAULTS = {
    "prometheus": "http://localhost:9090",
    "alertmanager": "http://localhost:9093",
    "grafana": "http://localhost:3001",
    "node_exporter": "http://localhost:9100",
}
DESCRIPTION = """\
Check the running site and its monitoring, from scrape to alert: seven steps, about five minutes. The fifth sends a
hundred failed sign-ins to the site, so that two alerts fire, and reach whoever hears of alerts.

Ends with 0 if every step passed."""
EPILOG = """\
Each address may be told by the environment instead: APP_URL, PROMETHEUS_URL, ALERTMANAGER_URL, GRAFANA_URL,
NODE_EXPORTER_URL. While `make monitoring-native` runs, its addresses are the defaults, and Grafana is not looked at.
METRICS_TOKEN and GRAFANA_ADMIN_PASSWORD are read from the environment or from .env."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the steps need to know."""

    application: str
    prometheus: str
    alertmanager: str
    node_exporter: str
    grafana: str | None  # None: not looked at
    is_native: bool
    load: bool
    timeout: float  # seconds that alerts may take to fire
    metrics_token: str
    grafana_password: str

    def start(self, name: str) -> str:
        """What to do where a server of the stack is not there."""
        if name == "Grafana":
            return "Start it with `make monitoring`, say where it is with --grafana URL, or leave it out: --no-grafana."
        how = "`make monitoring-native`" if self.is_native else "`make monitoring` (or `make monitoring-native`)"
        option = name.lower().replace(" ", "-")
        return f"Start it with {how}, or say where it is with --{option} URL."


def read(arguments: list[str]) -> Settings:
    """The settings; ends the program where an option is wrong."""
    parser = argparse.ArgumentParser(
        prog="validate.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    native_file = Path(os.environ.get("MONITORING_DATA_DIR") or ROOT / "var" / "monitoring") / "native.json"
    told = read_dotenv(ROOT / ".env") | {name: value for name, value in os.environ.items() if value}
    # Of addresses, .env has those that people use, for the links in alerts; these are asked from this very host.
    environment = os.environ
    parser.add_argument("--app", metavar="URL", type=_address, help=f"the site (http://localhost:{_port(told)})")
    for name, default in DEFAULTS.items():
        option = f"--{name.replace('_', '-')}"
        title = name.replace("_", " ").capitalize()
        parser.add_argument(option, metavar="URL", type=_address, help=f"{title} ({default})")
    parser.add_argument("--no-grafana", action="store_true", help="run the dashboards' queries on Prometheus alone")
    parser.add_argument("--skip-load", action="store_true", help="leave out the load test")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=300.0, help="how long alerts may take to fire (300)"
    )
    parser.add_argument(
        "--native", metavar="FILE", type=Path, default=native_file, help="the state of a running native.py"
    )
    options = parser.parse_args(arguments)
    native = _native(options.native)

    def address(name: str) -> str:
        variable = f"{name.upper()}_URL"
        try:
            from_environment = _address(environment[variable]) if environment.get(variable) else ""
        except argparse.ArgumentTypeError as problem:
            parser.error(f"{variable}: {problem}")
        return getattr(options, name) or from_environment or _native_url(native, name) or DEFAULTS.get(name, "")

    without_grafana = options.no_grafana or (native is not None and not options.grafana)
    return Settings(
        application=address("app") or f"http://localhost:{_port(told)}",
        prometheus=address("prometheus"),
        alertmanager=address("alertmanager"),
        node_exporter=address("node_exporter"),
        grafana=None if without_grafana else address("grafana"),
        is_native=native is not None,
        load=not options.skip_load,
        timeout=options.timeout,
        metrics_token=told.get("METRICS_TOKEN", ""),
        grafana_password=told.get("GRAFANA_ADMIN_PASSWORD") or "admin",
    )


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://localhost:9090")
    return text.rstrip("/")


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def _port(told: Mapping[str, str]) -> str:
    return told.get("PORT") or "3000"


def _native(path: Path) -> dict[str, Any] | None:
    """What native.py says of itself in `path`; None where none runs that has written it."""
    try:
        state = json.loads(path.read_text())
        os.kill(int(state["pid"]), 0)
    except PermissionError:
        return state if isinstance(state, dict) else None  # it runs, for another user
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if isinstance(state, dict) else None


def _native_url(native: dict[str, Any] | None, name: str) -> str:
    urls = native.get("urls") if native else None
    return str(urls.get(name) or "") if isinstance(urls, dict) else ""
