"""Whether somebody would hear of it: Prometheus, Alertmanager, and Slack behind it."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from socket import create_connection
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.utils import timezone

from observability.delivery.models import DeployToken, Scope

from .findings import Finding, check, error, note, ok, warning

TIMEOUT_SECONDS = 4.0
START = "Start it (make monitoring), or correct"


@check("prometheus", seconds=10)
def prometheus_scrapes() -> Iterator[Finding]:
    """It is there, and its targets are up."""
    if not settings.PROMETHEUS_URL:
        yield note(
            "PROMETHEUS_URL is not set: whether the site is scraped is not known here.",
            "Set it, such as http://localhost:9090.",
        )
        return
    try:
        targets = _json(f"{settings.PROMETHEUS_URL}/api/v1/targets?state=active")["data"]["activeTargets"]
        ours = [target for target in targets if target["labels"].get("job") == "bambisleep"]
        down = [target for target in ours if target["health"] != "up"]
    except (requests.RequestException, KeyError, TypeError, ValueError) as problem:
        yield error(f"It does not answer at {settings.PROMETHEUS_URL}: {_reason(problem)}", f"{START} PROMETHEUS_URL.")
        return
    if not ours:
        yield error(
            "It has no target of the job bambisleep: nothing is measured.",
            "Put the processes into deploy/prometheus/targets (its README says how).",
        )
    for target in down:
        yield error(
            f"It cannot scrape {target['scrapeUrl']}: {target.get('lastError') or target['health']}",
            "Is the process up, is METRICS_TOKEN the same on both sides, and may it connect?",
        )
    if ours and not down:
        yield ok(f"It scrapes {len(ours)} {'process' if len(ours) == 1 else 'processes'}.")


@check("alertmanager", seconds=10)
def alerts_arrive() -> Iterator[Finding]:
    """It is there, it tells somebody, and it may tell the site."""
    tokens = DeployToken.objects.filter(revoked_at=None).exclude(expires_at__lte=timezone.now())
    if not settings.ALERTS_TOKEN and not any(Scope.ALERTS_WRITE in token.scopes for token in tokens):
        yield warning(
            "Alertmanager has no token for POST /alerts: no alert opens an incident.",
            "Set ALERTS_TOKEN on both sides, or use manage.py createtoken alertmanager --scope alerts:write.",
        )
    if not settings.ALERTMANAGER_URL:
        yield note(
            "ALERTMANAGER_URL is not set: incidents are not compared with Alertmanager's alerts.",
            "Set it, such as http://localhost:9093.",
        )
        return
    try:
        status = _json(f"{settings.ALERTMANAGER_URL}/api/v2/status")
        configuration, version = str(status["config"]["original"]), status["versionInfo"]["version"]
    except (requests.RequestException, KeyError, TypeError, ValueError) as problem:
        yield error(
            f"It does not answer at {settings.ALERTMANAGER_URL}: {_reason(problem)}", f"{START} ALERTMANAGER_URL."
        )
        return
    yield ok(f"Alertmanager {version} is up.")
    if "/alerts" not in configuration:
        yield warning("It does not tell the site: no receiver posts to /alerts.", "See deploy/alertmanager.")
    if "slack_configs" not in configuration and "email_configs" not in configuration:
        yield warning("It tells no person of an alert: no receiver is for Slack or mail.", "See deploy/alertmanager.")


@check("slack", seconds=10)
def slack_is_in_reach() -> Iterator[Finding]:
    """A connection is made, and nothing is sent."""
    urls = [url for url in settings.SLACK_WEBHOOK_URLS if url]
    if not urls:
        yield note("SLACK_WEBHOOK_URL is not set here: no alert reaches Slack, unless Alertmanager alone has it.")
    for host, port, scheme in sorted({_place(url) for url in urls}):
        try:
            with create_connection((host, port), TIMEOUT_SECONDS) as plain:
                if scheme == "https":
                    ssl.create_default_context().wrap_socket(plain, server_hostname=host).close()
        except OSError as problem:
            yield error(f"{host} cannot be reached: {problem}", "May this machine connect to it? Alerts go unheard.")
        else:
            yield ok(f"{host} is in reach. manage.py doctor --send shows whether messages arrive.")


def _place(url: str) -> tuple[str, int, str]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), parts.scheme


def _json(url: str) -> Any:
    with _neighbour() as session:
        answer = session.get(url, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()


def _neighbour() -> requests.Session:
    """A proxy for the outside world does not know the way to it."""
    session = requests.Session()
    session.trust_env = False
    return session


def _reason(problem: Exception) -> str:
    return "no connection" if isinstance(problem, requests.ConnectionError) else f"{type(problem).__name__}: {problem}"


def send() -> Iterator[Finding]:
    """Raise an alert that is over in a minute; it goes the way that real ones go."""
    if not settings.ALERTMANAGER_URL:
        yield note("No alert is sent: ALERTMANAGER_URL is not set.")
        return
    alert: dict[str, Any] = {
        "labels": {"alertname": "DoctorTest", "severity": "info", "service": settings.DEPLOY_SERVICE},
        "annotations": {"summary": "A test", "description": "manage.py doctor --send sent this. Nothing is wrong."},
        "endsAt": (timezone.now() + timedelta(minutes=1)).isoformat(),
    }
    try:
        with _neighbour() as session:
            url = f"{settings.ALERTMANAGER_URL}/api/v2/alerts"
            session.post(url, json=[alert], timeout=TIMEOUT_SECONDS).raise_for_status()
    except requests.RequestException as problem:
        yield error(f"The test alert is not taken: {_reason(problem)}", "See what is said of Alertmanager above.")
    else:
        yield ok("A test alert is on its way: within a minute it is in Slack, on the general channel.")
