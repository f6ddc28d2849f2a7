"""Step 1: the servers of the stack are up, and Prometheus has its alerts and its Alertmanager."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from native import ROOT

from . import prometheus
from .report import Ground, Report
from .settings import ALERTS, COMPOSE_FILE, Settings
from .web import NoAnswer, ask, wait

TITLE = "The stack is up"
STARTING_SECONDS = 60
LOGS = f"docker compose -f {COMPOSE_FILE} logs"


def check(settings: Settings, report: Report) -> None:
    """Each server is ready; containers, where there are any, are healthy."""
    if _is_ready("Prometheus", f"{settings.prometheus}/-/ready", settings, report):
        report.stands(Ground.PROMETHEUS)
    if _is_ready("Alertmanager", f"{settings.alertmanager}/-/ready", settings, report):
        report.stands(Ground.ALERTMANAGER)
    _is_ready("Node exporter", f"{settings.node_exporter}/", settings, report)
    if settings.grafana:
        _is_ready("Grafana", f"{settings.grafana}/api/health", settings, report)
    if not settings.is_native:
        _check_containers(report)
    if Ground.PROMETHEUS in report.grounds:
        _check_rules(settings, report)
        _check_alertmanagers(settings, report)


def _is_ready(name: str, url: str, settings: Settings, report: Report) -> bool:
    try:
        if ask(url).status == 503:
            report.waited(f"{name} is starting")
            wait(lambda: ask(url).status != 503, STARTING_SECONDS)
        status = ask(url).status
    except NoAnswer as problem:
        report.failed(f"{name} is not there: {problem}", settings.start(name))
        return False
    if status != 200:
        report.failed(f"{name}: {url} answers {status}", f"See that it is {name} that listens there, and its log.")
        return False
    report.passed(f"{name} is ready ({url})")
    return True


def _check_containers(report: Report) -> None:
    compose = _compose()
    if compose is None:
        report.noted("containers were not looked at: there is no `docker compose` here")
        return
    containers = _containers(compose)
    if not containers:
        report.noted(f"containers were not looked at: {COMPOSE_FILE} has none here")
        return
    if any(container.get("Health") == "starting" for container in containers):
        report.waited("containers are starting")
        wait(lambda: all(found.get("Health") != "starting" for found in _containers(compose)), STARTING_SECONDS)
        containers = _containers(compose)
    for container in containers:
        name, state, health = (str(container.get(key, "")) for key in ("Service", "State", "Health"))
        if state == "exited" and container.get("ExitCode") == 0 and name == "alerts-token":
            report.passed(f"container {name} has done its work")
        elif state == "running" and health in {"", "healthy"}:
            report.passed(f"container {name} is {health or state}")
        else:
            report.failed(f"container {name} is {health or state}", f"See `{LOGS} {name}`.")


def _compose() -> list[str] | None:
    """The command; the older docker-compose cannot tell its containers' state as JSON."""
    command = ["docker", "compose"]
    return command if _run([*command, "version"]) is not None else None


def _containers(compose: list[str]) -> list[dict[str, Any]]:
    """What `ps` tells: one JSON array, or, since 2.21, an object a line."""
    told = (_run([*compose, "-f", str(ROOT / COMPOSE_FILE), "ps", "--all", "--format", "json"]) or "").strip()
    try:
        found = json.loads(told) if told.startswith("[") else [json.loads(line) for line in told.splitlines()]
    except ValueError:
        return []
    return [container for container in found if isinstance(container, dict)]


def _run(command: list[str]) -> str | None:
    """What a command prints; None where it is not there, fails, or does not end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _check_rules(settings: Settings, report: Report) -> None:
    wanted = re.findall(r"^ *- alert: *(\w+)", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)
    groups = prometheus.api(settings.prometheus, "rules")["groups"]
    loaded = {
        rule["name"]: rule for group in groups for rule in group["rules"] if Path(group["file"]).name == ALERTS.name
    }
    reload = f"Have Prometheus read its rules again: `docker compose -f {COMPOSE_FILE} kill -s HUP prometheus`."
    if missing := [name for name in wanted if name not in loaded]:
        report.failed(f"Prometheus does not have {', '.join(missing)} of {ALERTS.name}", reload)
    if strangers := sorted(set(loaded) - set(wanted)):
        report.failed(f"Prometheus has {', '.join(strangers)}, which {ALERTS.name} does not", reload)
    broken = [f"{name} ({rule.get('lastError')})" for name, rule in loaded.items() if rule.get("health") == "err"]
    if broken:
        report.failed(f"not evaluated: {', '.join(broken)}", "Mend the expression: `promtool check rules` helps.")
    if not missing and not strangers and not broken:
        report.passed(f"Prometheus has the {len(wanted)} alerts of {ALERTS.name}")
        report.stands(Ground.RULES)


def _check_alertmanagers(settings: Settings, report: Report) -> None:
    known: list[str] = []

    def is_known() -> bool:
        found = prometheus.api(settings.prometheus, "alertmanagers")["activeAlertmanagers"]
        known[:] = [manager["url"] for manager in found]
        return bool(known)

    if wait(is_known, 10):
        report.passed(f"Prometheus tells Alertmanager ({', '.join(known)})")
    else:
        report.failed(
            "Prometheus knows no Alertmanager", "See `alerting` in deploy/prometheus/prometheus.yml, and reload it."
        )
