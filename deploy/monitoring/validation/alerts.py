"""Step 5: a hundred failed sign-ins make two alerts fire, and the site hears of them as everybody else does."""

import time
from collections import Counter
from dataclasses import dataclass

from . import prometheus
from .receivers import MEND, configured
from .report import Report
from .scraping import RUN_THE_SITE
from .settings import Settings
from .web import NoAnswer, ask, wait

TITLE = "A hundred failed sign-ins make two alerts fire"
WANTED = ("HighErrorRate", "HighAuthFailures")
CHANNEL = "slack-warnings"  # where warnings go, which both are
CREDENTIALS = {"username": "invalid", "password": "wrong"}
PROGRESS_SECONDS = 15
DELIVERY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Sent:
    """How often Alertmanager has sent something by one kind of integration since it started."""

    taken: float
    failed: float


def check(settings: Settings, report: Report) -> None:
    """Both alerts fire in Prometheus, are active in Alertmanager, and are delivered."""
    active = _active(settings.alertmanager)
    before = {integration: _sent(settings.alertmanager, integration) for integration in MEND}
    if not (_fail_to_sign_in(settings, report) and _fire(settings, report)):
        return
    are_new = any(active.get(name) != "active" for name in WANTED)
    _check_site(settings, report, before["webhook"], are_new=are_new)
    if "slack_configs" in configured(settings.alertmanager).get(CHANNEL, ()):
        _check_slack(settings, report, before["slack"], are_new=are_new)


def _fail_to_sign_in(settings: Settings, report: Report) -> bool:
    url = f"{settings.application}/auth/login"
    try:
        answers = Counter(ask(url, body=CREDENTIALS).status for _ in range(100))
    except NoAnswer as problem:
        report.failed(f"the site does not answer: {problem}", RUN_THE_SITE)
        return False
    told = ", ".join(f"{status} ({times} times)" for status, times in sorted(answers.items()))
    if set(answers) - {401, 429}:
        report.failed(f"POST {url} answers {told}, where 401 or 429 is right", "See the site's log.")
        return False
    report.passed(f"a hundred times POST {url}: {told}")
    return True


def _fire(settings: Settings, report: Report) -> bool:
    """Wait until all of WANTED fire in Prometheus and are active in Alertmanager."""
    started = told = time.monotonic()
    while True:
        states, active = prometheus.alert_states(settings.prometheus), _active(settings.alertmanager)
        now = time.monotonic()
        if all(states.get(name) == "firing" and active.get(name) == "active" for name in WANTED):
            break
        if now - started > settings.timeout:
            return _say_what_is_missing(settings, report, states, active)
        if now - told >= PROGRESS_SECONDS:
            told = now
            so_far = ", ".join(f"{name} {states.get(name, 'silent')}" for name in WANTED)
            report.waited(f"{now - started:.0f} s: {so_far}")
        time.sleep(1)
    for name in WANTED:
        report.passed(f"{name} fires, and Alertmanager has it ({now - started:.0f} s after)")
    return True


def _say_what_is_missing(settings: Settings, report: Report, states: dict[str, str], active: dict[str, str]) -> bool:
    for name in WANTED:
        state = states.get(name, "silent")
        if state != "firing":
            report.failed(
                f"{name} is {state} after {settings.timeout:.0f} s",
                "Look at its expression on Prometheus' page of alerts; HighErrorRate waits for two minutes, and where "
                "there is much other traffic a hundred failures are less than its 5 %.",
            )
        elif name not in active:
            report.failed(f"{name} fires, but Alertmanager does not have it", "See Prometheus' log and its `alerting`.")
        elif active[name] != "active":
            report.failed(
                f"{name} is {active[name]} in Alertmanager",
                "End the silence, or mend what the alert that inhibits it says.",
            )
    return False


def _check_site(settings: Settings, report: Report, before: Sent, *, are_new: bool) -> None:
    after = _wait_for_more(settings, "webhook", before, are_new=are_new)
    if after.failed > before.failed:
        report.failed(f"Alertmanager failed {after.failed - before.failed:.0f} times to tell the site", MEND["webhook"])
        return
    if are_new and after.taken == before.taken:
        report.failed(f"Alertmanager has told the site nothing after {DELIVERY_SECONDS} s", MEND["webhook"])
        return
    report.passed("Alertmanager has told the site, and nothing failed")
    if wait(lambda: _incidents(settings) >= len(WANTED), DELIVERY_SECONDS):
        report.passed(f"the site has {_incidents(settings):.0f} open incidents")
    else:
        report.failed(
            f"the site has {_incidents(settings):.0f} open incidents, where two alerts fire",
            "See the site's log, and that the alerts have the label opens_incident.",
        )


def _check_slack(settings: Settings, report: Report, before: Sent, *, are_new: bool) -> None:
    after = _wait_for_more(settings, "slack", before, are_new=are_new)
    if after.failed > before.failed:
        report.failed(f"Alertmanager failed {after.failed - before.failed:.0f} times to tell Slack", MEND["slack"])
    elif after.taken > before.taken:
        report.passed(f"Slack took {after.taken - before.taken:.0f} messages: see #alerts-warnings")
    else:
        report.noted("Slack was told of these alerts before, and is not told again so soon: see #alerts-warnings")


def _wait_for_more(settings: Settings, integration: str, before: Sent, *, are_new: bool) -> Sent:
    """What was sent once there is more of it than `before`, or there was time enough; at once where none is due."""
    if are_new:
        wait(lambda: _sent(settings.alertmanager, integration) != before, DELIVERY_SECONDS)
    return _sent(settings.alertmanager, integration)


def _active(alertmanager: str) -> dict[str, str]:
    """Of each alert that Alertmanager has, by name: "active", or "suppressed" by a silence or another alert."""
    answer = ask(f"{alertmanager}/api/v2/alerts")
    try:
        return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in answer.json()}
    except (KeyError, TypeError):
        raise NoAnswer(f"{answer.url} answers {answer.status}, but not as Alertmanager does") from None


def _sent(alertmanager: str, integration: str) -> Sent:
    page = ask(f"{alertmanager}/metrics")

    def count(metric: str) -> float:
        return sum(value for labels, value in page.samples(metric) if f'integration="{integration}"' in labels)

    failed = count("alertmanager_notification_requests_failed_total")
    return Sent(count("alertmanager_notification_requests_total") - failed, failed)


def _incidents(settings: Settings) -> float:
    page = ask(f"{settings.application}/metrics", token=settings.metrics_token)
    return sum(value for labels, value in page.samples("incidents_open") if 'service="demo"' not in labels)
