"""Step 7: every server says that it is well."""

from .report import Report
from .scraping import RUN_THE_SITE
from .settings import Settings
from .web import NoAnswer, ask

TITLE = "Everything is healthy"
HEAD = 20


def check(settings: Settings, report: Report) -> None:
    """/health, /-/healthy, /api/health, and the first lines of node exporter's metrics."""
    _check_site(settings, report)
    _check("Prometheus", f"{settings.prometheus}/-/healthy", settings, report)
    if settings.grafana:
        _check("Grafana", f"{settings.grafana}/api/health", settings, report)
    _check_node_exporter(settings, report)


def _check_site(settings: Settings, report: Report) -> None:
    try:
        answer = ask(f"{settings.application}/health")
        found = answer.json()
        checks = found["checks"].items()
    except NoAnswer as problem:
        report.failed(f"the site does not answer: {problem}", RUN_THE_SITE)
        return
    except (KeyError, TypeError, AttributeError):
        report.failed(f"{answer.url} answers {answer.status}, but not as the site does", RUN_THE_SITE)
        return
    failing = [f"{name} ({outcome.get('detail')})" for name, outcome in checks if outcome.get("status") != "ok"]
    if failing:
        report.failed(f"the site: {', '.join(failing)}", "Mend what it names; the site's log says more.")
    else:
        report.passed(f"the site is healthy: {', '.join(name for name, _ in checks)}")


def _check(name: str, url: str, settings: Settings, report: Report) -> None:
    try:
        status = ask(url).status
    except NoAnswer as problem:
        report.failed(f"{name} is not there: {problem}", settings.start(name))
        return
    if status == 200:
        report.passed(f"{name} is healthy")
    else:
        report.failed(f"{name}: {url} answers {status}", "See its log.")


def _check_node_exporter(settings: Settings, report: Report) -> None:
    try:
        answer = ask(f"{settings.node_exporter}/metrics")
    except NoAnswer as problem:
        report.failed(f"Node exporter is not there: {problem}", settings.start("Node exporter"))
        return
    head = answer.text.splitlines()[:HEAD]
    if len(head) == HEAD and head[0].startswith("# HELP ") and answer.samples("node_cpu_seconds_total"):
        report.passed(f"Node exporter tells of its host in {len(answer.text.splitlines())} lines")
    else:
        report.failed(
            f"{answer.url} answers {answer.status}, without node_cpu_seconds_total",
            "See that it is node exporter that listens there.",
        )
