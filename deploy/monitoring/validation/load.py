"""Step 6: k6 loads the site for thirty seconds, and Prometheus counts what it sends."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from native import ROOT

from . import prometheus
from .report import Report
from .settings import Settings
from .web import wait

TITLE = "The site bears a load"
COMMAND = ("run", "--vus", "10", "--duration", "30s", "loadtest.js")
REQUESTS = 'sum(http_requests_total{job="bambisleep"})'
SCRAPE_SECONDS = 45
MOST_SECONDS = 180
INSTALL = (
    "there is no k6 here. `make loadtest` installs it into .venv; on Windows `choco install k6`; "
    "or see https://grafana.com/docs/k6/latest/set-up/install-k6/"
)


def check(settings: Settings, report: Report) -> None:
    """The thresholds of loadtest.js hold, and Prometheus has seen every request."""
    k6 = find_k6()
    if not settings.load:
        report.waived("--skip-load")
        return
    if k6 is None:
        report.waived(INSTALL)
        return
    before = prometheus.total(settings.prometheus, REQUESTS)
    report.waited(f"k6 {' '.join(COMMAND)}")
    done, metrics = _run(k6, settings.application)
    for name, metric in sorted(metrics.items()):
        for threshold, is_crossed in metric.get("thresholds", {}).items():
            if is_crossed:
                advice = "Look at the latency and the errors by route on the first dashboard, and at the site's log."
                report.failed(f"{name}: {threshold} does not hold", advice)
            else:
                report.passed(f"{name}: {threshold}")
    sent = metrics.get("http_reqs", {}).get("count", 0)
    if done.returncode or not sent:
        said = "\n       ".join(done.stdout.strip().splitlines()[-4:])
        report.failed(f"k6 ends with {done.returncode}:\n       {said}", f"Run it by hand: k6 {' '.join(COMMAND)}")
        return
    _check_count(settings, report, before=before, sent=sent)


def find_k6() -> str | None:
    """k6 from the PATH, or the one that requirements-dev.txt brings into .venv."""
    own = Path(".venv") / "bin" / "k6"
    return shutil.which("k6") or shutil.which(str(ROOT / own))


def _run(k6: str, application: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        summary = Path(directory) / "summary.json"
        done = subprocess.run(
            [k6, *COMMAND, "--summary-export", str(summary), "--no-usage-report", "--no-color", "--quiet"],
            cwd=ROOT,
            env=os.environ | {"BASE_URL": application},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=MOST_SECONDS,
            check=False,
        )
        return done, json.loads(summary.read_text(encoding="utf-8"))["metrics"] if summary.exists() else {}


def _check_count(settings: Settings, report: Report, *, before: float, sent: float) -> None:
    """Others may have asked the site, too: at least as many as k6 sent."""

    def growth() -> float:
        return prometheus.total(settings.prometheus, REQUESTS) - before

    if wait(lambda: growth() >= sent, SCRAPE_SECONDS):
        report.passed(f"Prometheus counts {growth():.0f} requests more, of which k6 sent {sent:.0f}")
    else:
        report.failed(
            f"Prometheus counts {growth():.0f} requests more, but k6 sent {sent:.0f}",
            "See that Prometheus scrapes every process of the site, and that none was started anew meanwhile.",
        )
