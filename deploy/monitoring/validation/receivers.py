"""Step 2: Alertmanager would tell the site and, where it is configured, the three channels of Slack; and it can."""

import re

from . import prometheus
from .report import Ground, Report
from .settings import Settings
from .web import NoAnswer, ask

TITLE = "Alertmanager tells Slack and the site"
CHANNELS = {
    "slack-critical": ("#alerts-critical", "SLACK_WEBHOOK_URL (or SLACK_WEBHOOK_URL_CRITICAL)"),
    "slack-warnings": ("#alerts-warnings", "SLACK_WEBHOOK_URL (or SLACK_WEBHOOK_URL_WARNINGS)"),
    "slack-general": ("#alerts-general", "SLACK_WEBHOOK_URL (or SLACK_WEBHOOK_URL_GENERAL)"),
}
SITE = "bambisleep"
RESTORE = "Bring deploy/alertmanager/alertmanager.yml back, and restart Alertmanager."
COUNTERS = ("alertmanager_notifications_failed_total", "alertmanager_notification_requests_failed_total")
MEND = {
    "slack": "See SLACK_WEBHOOK_URL and its like in .env; Alertmanager's log says why a message was refused.",
    "webhook": (
        "See that the site runs and has Alertmanager's token (var/shared/alerts-token, or ALERTS_TOKEN on both sides); "
        "Alertmanager's log says why."
    ),
}


def check(settings: Settings, report: Report) -> None:
    """The receivers exist, the routes lead to them, and nothing failed to be sent."""
    configuration = _configuration(settings.alertmanager)
    receivers = _receivers(configuration)
    routed = set(re.findall(r"^[ -]*receiver: *['\"]?([^'\"\n]+)", _section(configuration, "route"), re.MULTILINE))
    is_whole = True
    for name, (channel, variable) in CHANNELS.items():
        if name not in receivers or name not in routed:
            report.failed(f"{_lack(name, receivers)} for {channel}", RESTORE)
            is_whole = False
        elif "slack_configs" in receivers[name]:
            report.passed(f"{channel} goes to Slack")
        else:
            again = "start `make monitoring-native` again" if settings.is_native else "run `make monitoring`"
            report.noted(f"{channel}: no Slack, which is fine. To have it, set {variable} in .env, and {again}.")
    if SITE not in receivers or SITE not in routed:
        report.failed(f"{_lack(SITE, receivers)} for the site's /alerts", RESTORE)
    elif "webhook_configs" not in receivers[SITE]:
        report.failed(f"the receiver {SITE} has no webhook", RESTORE)
    else:
        report.passed("the site is told, by POST /alerts")
        if _nothing_failed(settings, report) and is_whole:
            report.stands(Ground.RECEIVERS)


def configured(alertmanager: str) -> dict[str, set[str]]:
    """The names of the receivers that Alertmanager has, and the kinds of message that each sends."""
    return _receivers(_configuration(alertmanager))


def _configuration(alertmanager: str) -> str:
    answer = ask(f"{alertmanager}/api/v2/status")
    try:
        return str(answer.json()["config"]["original"])
    except (KeyError, TypeError):
        raise NoAnswer(f"{answer.url} answers {answer.status}, but not as Alertmanager does") from None


def _section(configuration: str, key: str) -> str:
    """A top-level part of the configuration, which Alertmanager writes out in one regular form."""
    found = re.search(rf"^{key}:\n((?:[ -].*\n|\n)*)", configuration + "\n", re.MULTILINE)
    return found[1] if found else ""


def _receivers(configuration: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for receiver in re.split(r"^- ", _section(configuration, "receivers"), flags=re.MULTILINE)[1:]:
        name = re.search(r"^(?:  )?name: *['\"]?([^'\"\n]+)", receiver, re.MULTILINE)
        if name:
            found[name[1]] = set(re.findall(r"^(?:  )?(\w+_configs):", receiver, re.MULTILINE))
    return found


def _lack(name: str, receivers: dict[str, set[str]]) -> str:
    return f"no route leads to {name}," if name in receivers else f"Alertmanager has no receiver {name},"


def _nothing_failed(settings: Settings, report: Report) -> bool:
    if Ground.PROMETHEUS not in report.grounds:
        report.noted("whether messages failed to be sent was not looked at: Prometheus does not answer")
        return False
    failures: dict[str, float] = {}
    for counter in COUNTERS:
        increase = f'sum by (integration) (increase({counter}{{job="alertmanager"}}[5m])) > 0'
        for labels, value in prometheus.series(settings.prometheus, increase):
            integration = labels.get("integration", "?")
            failures[integration] = max(failures.get(integration, 0), value)
    for integration, value in sorted(failures.items()):
        advice = MEND.get(integration, "Alertmanager's log says why.")
        report.failed(
            f"sending by {integration} failed {value:.0f} times in the last five minutes",
            f"{advice} Then wait for five minutes.",
        )
    if not failures:
        report.passed("no message failed to be sent in the last five minutes")
    return not failures
