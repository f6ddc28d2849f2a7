"""Step 3: Prometheus scrapes everything, and the site tells what it should."""

from typing import Any

from . import prometheus
from .report import Ground, Report
from .settings import Settings
from .web import NoAnswer, ask, wait

TITLE = "Prometheus scrapes the site, the host and its own kin"
JOBS = ("bambisleep", "prometheus", "alertmanager", "node")
FIRST_SCRAPE_SECONDS = 30
RUN_THE_SITE = "Start the site with `make run`, or say where it is with --app URL."
TELL_BOTH = "Set METRICS_TOKEN in .env to what the site has, and start the monitoring again."


def check(settings: Settings, report: Report) -> None:
    """Every target is up; /metrics and /dora answer."""
    targets = _targets(settings.prometheus)
    if _are_awaited(targets):
        report.waited("Prometheus has not scraped everything yet")
        wait(lambda: not _are_awaited(_targets(settings.prometheus)), FIRST_SCRAPE_SECONDS)
        targets = _targets(settings.prometheus)
    for target in targets:
        _check_target(target, report)
    jobs = {target["labels"].get("job") for target in targets}
    for job in JOBS:
        if job not in jobs:
            report.failed(f"{job}: no target", "See `scrape_configs` in deploy/prometheus/prometheus.yml.")
    is_scraped = any(target["labels"].get("job") == "bambisleep" and target["health"] == "up" for target in targets)
    if _has_metrics(settings, report) and _has_measures(settings, report) and is_scraped:
        report.stands(Ground.SITE)


def _targets(base: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = prometheus.api(base, "targets", state="active")["activeTargets"]
    return sorted(found, key=lambda target: (target["labels"].get("job", ""), target["scrapeUrl"]))


def _are_awaited(targets: list[dict[str, Any]]) -> bool:
    """Whether one of them will soon be scraped for the first time; others, such as certificates, may take minutes."""
    return any(target["health"] == "unknown" and target["labels"].get("job") in JOBS for target in targets)


def _check_target(target: dict[str, Any], report: Report) -> None:
    job, url, error = target["labels"].get("job", "?"), target["scrapeUrl"], target["lastError"]
    if target["health"] == "up":
        report.passed(f"{job}: {url} is up")
    elif target["health"] == "unknown" and job not in JOBS:
        report.noted(f"{job}: {url} was not asked yet; it is every {target.get('scrapeInterval', 'few minutes')}")
    elif job == "bambisleep":
        advice = (
            TELL_BOTH if "401" in error else "See that the site runs (`make run`), and that Prometheus can reach it."
        )
        report.failed(f"{job}: {url} is {target['health']}: {error}", advice)
    else:
        report.failed(f"{job}: {url} is {target['health']}: {error}", "See that it runs where Prometheus looks for it.")


def _has_metrics(settings: Settings, report: Report) -> bool:
    try:
        answer = ask(f"{settings.application}/metrics", token=settings.metrics_token)
    except NoAnswer as problem:
        report.failed(f"the site does not answer: {problem}", RUN_THE_SITE)
        return False
    if answer.status in {401, 403}:
        report.failed(f"{answer.url} answers {answer.status}", TELL_BOTH)
        return False
    if answer.status != 200 or "http_requests_total" not in answer.text:
        report.failed(f"{answer.url} answers {answer.status}, without http_requests_total", RUN_THE_SITE)
        return False
    report.passed(f"{answer.url} has http_requests_total")
    return True


def _has_measures(settings: Settings, report: Report) -> bool:
    answer = ask(f"{settings.application}/dora")
    if answer.status in {401, 403}:
        report.noted(f"{answer.url} is for staff only (DORA_PUBLIC=false), and was not looked at")
        return True
    found = answer.json()
    if answer.status != 200 or not isinstance(found, dict) or "measures" not in found:
        report.failed(f"{answer.url} answers {answer.status}, without measures", "See the site's log, and its /health.")
        return False
    report.passed(f"{answer.url} has {len(found['measures'])} measures")
    return True
