"""The story that the tests here are about: a site that has every trouble its alerts are for, and gets over it.

Real traffic and real records drive each alert of the rooms that stand to firing. Prometheus, Alertmanager, node
exporter and two processes of the site are real; Slack and Stripe are stand-ins. Durations are a sixtieth of what they
are (e2e.monitoring.hurried), nothing else is changed.
"""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from e2e.alerting import chat, library
from e2e.alerting.payments import CURRENCIES, Shop
from e2e.monitoring import Monitoring, Slack, hurried, monitoring, slack
from e2e.servers import Installation, Server, free_port, installed, running, wait_for
from e2e.stripe.standin import standin

STORY_SECONDS = 240  # for each chapter: until all has fired, until all is over
PATIENCE_SECONDS = 120
CHANNELS = {"critical": "critical", "warning": "warnings", "info": "general"}
# Each alert whose room stands: its summary's beginning is read from the rules, its severity and incident are told here.
DRIVEN = {
    "HighErrorRate": ("warning", True),
    "SlowResponseTime": ("warning", True),
    "HighAuthFailures": ("warning", True),
    "DirectoryTraversalAttempts": ("warning", True),
    "SecurityEventSpike": ("warning", True),
    "LowDeploymentFrequency": ("info", False),
    "HighChangeFailureRate": ("warning", False),
    "SlowIncidentRecovery": ("warning", False),
    "SubscriptionFailures": ("warning", True),
    "StripeWebhookErrors": ("critical", True),
    "WebSocketConnectionDrop": ("warning", True),
}


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one alert."""

    fired: dict[str, Any]  # as Slack was told
    resolved: dict[str, Any]
    incidents: list[tuple[Any, ...]]  # severity, whether resolved, whether linked to a deployment


@dataclass(frozen=True, slots=True)
class Story:
    """What came of all, and what still runs."""

    told: dict[str, Told]
    restart: chat.Restart
    slack: Slack
    watch: Monitoring
    source: Path
    installation: Installation


@contextmanager
def story(directory: Path) -> Iterator[Story]:
    """The whole story: every alert fires, is over, and then the processes go down one by one and come back."""
    (directory / "data").mkdir()
    source = hurried(directory / "source")
    ports = free_port(), free_port()
    (source / "prometheus" / "targets" / "second.yml").write_text(f'- targets: ["localhost:{ports[1]}"]\n')
    with ExitStack() as stack:
        installation = stack.enter_context(installed(directory / "data"))
        heard = stack.enter_context(slack())
        shop = Shop(stack.enter_context(standin(directory)))
        first = stack.enter_context(ExitStack())
        second = stack.enter_context(ExitStack())
        library.fill(installation)
        start = partial(process, installation, **shop.settings, **library.SETTINGS)
        quiet = first.enter_context(start(ports[0]))
        site = second.enter_context(start(ports[1]))
        addresses = {f"SLACK_WEBHOOK_URL_{channel.upper()}": heard.url(channel) for channel in CHANNELS.values()}
        write_history(directory)
        watch = stack.enter_context(
            monitoring(
                directory,
                application=f"http://localhost:{ports[0]}",
                site_data=installation.data_dir,
                source=source,
                flags=("--rules.alert.resend-delay=1s",),
                WATCHDOG_URL=heard.url("watchdog"),
                **addresses,
            )
        )
        summaries = {alert: summary(watch, alert) for alert in (*DRIVEN, "ApplicationDown")}
        wait_for(lambda: len(up(watch)) == 2, "both processes are scraped", seconds=PATIENCE_SECONDS)
        # In a hurry, the second before the first scrape is long enough for ApplicationDown.
        wait_for(lambda: "ApplicationDown" not in watch.firing(), "it is known to be up", seconds=PATIENCE_SECONDS)
        do_business(shop, quiet, watch)
        people = stack.enter_context(chat.crowd(installation, [quiet, site]))

        def start_second() -> None:
            second.enter_context(start(ports[1]))

        def come_back() -> None:
            first.enter_context(start(ports[0]))
            start_second()

        told = everything(installation, watch, heard, site, shop, people, summaries)
        heard.messages.clear()
        restart = chat.restart(people, watch, second.close, start_second)
        # That one process was down may have been told: what is told of it next is news once that is over.
        wait_for(lambda: is_over(heard, summaries["ApplicationDown"]), "nothing is down", seconds=PATIENCE_SECONDS)
        told |= processes_go_down(installation, watch, heard, summaries["ApplicationDown"], first, second, come_back)
        # For what shows only what is open now.
        assert installation.manage("open_incident", "Slow pages", "--severity", "critical").returncode == 0
        assert installation.manage("backup").returncode == installation.manage("prune").returncode == 0
        wait_for(
            lambda: watch.value('sum(incidents_open{service="bambisleep"})'),
            "the open incident is scraped",
            seconds=PATIENCE_SECONDS,
        )
        yield Story(told, restart, heard, watch, source, installation)


def do_business(shop: Shop, site: Server, watch: Monitoring) -> None:
    """Payments that go well, and visitors, once Prometheus has seen that there were none: what it saw first is no
    increase."""
    shop.open(site.url)
    beginning = "count(fact:stripe_payment_value_total == 0)"
    wait_for(lambda: watch.value(beginning) == len(CURRENCIES), "each currency begins at 0", seconds=PATIENCE_SECONDS)
    shop.trade()
    library.is_visited(site)


def everything(
    installation: Installation,
    watch: Monitoring,
    heard: Slack,
    site: Server,
    shop: Shop,
    people: chat.Crowd,
    summaries: dict[str, str],
) -> dict[str, Told]:
    """All but ApplicationDown at once: records and traffic, then their end."""

    def all_told(*, resolved: bool) -> Callable[[], bool]:
        return lambda: all(
            heard.find(CHANNELS[severity], summaries[alert], resolved=resolved)
            for alert, (severity, _) in DRIVEN.items()
        )

    record_trouble(installation)
    shop.let_cards_fail()
    shop.let_events_fail()
    chat.settle(people, watch)
    people.are_cut_off()
    with traffic(site):
        wait_for(all_told(resolved=False), lacking(heard, summaries, resolved=False), seconds=STORY_SECONDS)
        wanted = [summaries[alert] for alert, (_, opens) in DRIVEN.items() if opens]
        wait_for(
            lambda: set(wanted) <= set(titles(installation)), "each has opened its incident", seconds=PATIENCE_SECONDS
        )
    people.return_()
    shop.mend()
    record_calm(installation)
    wait_for(all_told(resolved=True), lacking(heard, summaries, resolved=True), seconds=STORY_SECONDS)
    wait_for(lambda: not open_incidents(installation), "no incident is open", seconds=PATIENCE_SECONDS)
    return {
        alert: Told(
            must(heard.find(CHANNELS[severity], summaries[alert], resolved=False)),
            must(heard.find(CHANNELS[severity], summaries[alert], resolved=True)),
            incidents_of(installation, summaries[alert]),
        )
        for alert, (severity, _) in DRIVEN.items()
    }


def processes_go_down(
    installation: Installation,
    watch: Monitoring,
    heard: Slack,
    title: str,
    first: ExitStack,
    second: ExitStack,
    come_back: Callable[[], None],
) -> dict[str, Told]:
    """One of two is down: a warning. Both: critical. Back again: over."""
    wait_for(
        lambda: not watch.firing().keys() - {"Watchdog", "AvailabilityErrorBudgetBurn", "LatencyErrorBudgetBurn"},
        "all is calm",
        seconds=PATIENCE_SECONDS,
    )
    second.close()
    warned = wait_for(
        lambda: heard.last("warnings", title, resolved=False), "a warning: one is down", seconds=PATIENCE_SECONDS
    )
    wait_for(lambda: title in titles(installation), "the process that is left keeps it", seconds=PATIENCE_SECONDS)
    first.close()
    alarmed = wait_for(
        lambda: heard.last("critical", title, resolved=False), "critical: all are down", seconds=PATIENCE_SECONDS
    )
    come_back()
    calmed = wait_for(lambda: heard.last("critical", title, resolved=True), "it is over", seconds=PATIENCE_SECONDS)
    wait_for(lambda: heard.last("warnings", title, resolved=True), "the warning is over", seconds=PATIENCE_SECONDS)
    wait_for(lambda: not open_incidents(installation), "no incident is open", seconds=PATIENCE_SECONDS)
    return {
        "ApplicationDown, one of two": Told(warned, calmed, incidents_of(installation, title)),
        "ApplicationDown, all": Told(alarmed, calmed, incidents_of(installation, title)),
    }


def summary(watch: Monitoring, alert: str) -> str:
    """The constant summary of an alert, as Prometheus has loaded it."""
    groups = watch.prometheus.json("/api/v1/rules", type="alert")["data"]["groups"]
    [found] = {rule["annotations"]["summary"] for group in groups for rule in group["rules"] if rule["name"] == alert}
    return str(found)


def up(watch: Monitoring) -> list[Any]:
    """The processes of the site that answer a scrape."""
    answer = watch.prometheus.json("/api/v1/query", query='up{job="bambisleep"} == 1')
    return list(answer["data"]["result"])


def lacking(heard: Slack, summaries: dict[str, str], *, resolved: bool) -> str:
    """What a failure says: it reads the list of messages when it is printed."""

    class Sentence(str):
        def __str__(self) -> str:
            got = sorted({f"{path}: {message['title']}" for path, message in heard.messages})
            return f"{'resolved' if resolved else 'fired'}: {sorted(summaries.values())}; Slack heard {got}"

        __format__ = lambda self, spec: str(self)  # noqa: E731

    return Sentence()


def is_over(heard: Slack, title: str) -> bool:
    """Whether a warning, where there was one, is told to be over."""
    return not heard.last("warnings", title, resolved=False)


def titles(installation: Installation) -> list[str]:
    """The titles of all incidents."""
    return [row[0] for row in installation.rows("SELECT title FROM delivery_incident")]


def incidents_of(installation: Installation, title: str) -> list[tuple[Any, ...]]:
    """Severity, whether resolved, whether linked, of each incident with that title."""
    rows = installation.rows("SELECT title, severity, resolved_at, deployment_id FROM delivery_incident")
    return [(row[1], row[2] is not None, row[3] is not None) for row in rows if row[0] == title]


def open_incidents(installation: Installation) -> int:
    """How many incidents are open."""
    return len(installation.rows("SELECT 1 FROM delivery_incident WHERE resolved_at IS NULL"))


def must(message: dict[str, Any] | None) -> dict[str, Any]:
    """A message that was waited for."""
    assert message is not None
    return message


@contextmanager
def process(installation: Installation, port: int, **settings: str) -> Iterator[Server]:
    """One of the site's processes, in development as `make run` is, on a port that Prometheus knows."""
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    command.append("bambisleep.asgi:application")
    environment = installation.environment(PORT=str(port), FACTS_INTERVAL_SECONDS="1", **settings)
    log = installation.data_dir / f"uvicorn-{port}-{free_port()}.log"
    with running(command, environment=environment, port=port, log=log, ready="/health") as server:
        yield server
        server.process.send_signal(signal.SIGTERM)


def write_history(directory: Path) -> None:
    """Three quiet days before the story: a security event every hour, for what compares with the day before."""
    now, hours = int(time.time()), 72
    lines = ["# TYPE security_events counter"]
    for index in range(hours * 12):
        labels = 'type="invalid_token",job="bambisleep",instance="before:3000"'
        lines.append(f"security_events_total{{{labels}}} {index // 12} {now - hours * 3600 + index * 300}")
    file = directory / "history.txt"
    file.write_text("\n".join([*lines, "# EOF", ""]))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(directory / "tsdb")]
    (directory / "tsdb").mkdir()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def record_trouble(installation: Installation) -> None:
    """Two failed deployments of five, a service without one for nine days, an incident open for six hours."""
    now = datetime.now(UTC)
    lines = [
        deployment(f"1.{n}", now - timedelta(hours=6 - n), "failed" if n in (1, 2) else "succeeded") for n in range(5)
    ]
    lines.append(deployment("9.0", now - timedelta(days=9), "succeeded", service="billing"))
    imported(installation, lines)
    imported(installation, [deployment("1.5", now, "succeeded")])
    started = (now - timedelta(hours=6)).isoformat()
    opened = installation.manage(
        "open_incident", "Mail does not go out", "--started", started, "--external-id", "mail", "--service", "mail"
    )
    assert opened.returncode == 0, opened.stderr


def record_calm(installation: Installation) -> None:
    """Forty good deployments, one of the service that had none, and the incident resolved."""
    now = datetime.now(UTC)
    lines = [deployment(f"2.{n}", now, "succeeded") for n in range(40)]
    imported(installation, [*lines, deployment("9.1", now, "succeeded", service="billing")])
    [(number,)] = installation.rows("SELECT id FROM delivery_incident WHERE title = 'Mail does not go out'")
    resolved = installation.manage("resolve_incident", str(number))
    assert resolved.returncode == 0, resolved.stderr


def deployment(version: str, at: datetime, status: str, **more: str) -> dict[str, Any]:
    """A line of the import format."""
    sha = hashlib.sha1(version.encode()).hexdigest()
    commits = [{"sha": sha, "authored_at": (at - timedelta(hours=3)).isoformat()}]
    return {"version": version, "sha": sha, "deployed_at": at.isoformat(), "status": status, "commits": commits, **more}


def imported(installation: Installation, lines: list[dict[str, Any]]) -> None:
    """Record deployments, as an import of history does."""
    file = installation.data_dir / "deployments.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = installation.manage("import_deploys", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def traffic(site: Server) -> Iterator[None]:
    """What a bad day looks like: failed sign-ins, attempts to climb, what is not there, and clients so slow that most
    requests take more than a second. It ends with the block, and at the latest with the chapter."""
    over, deadline = Event(), time.monotonic() + STORY_SECONDS

    def repeat(act: Callable[[], None], pause_seconds: float) -> None:
        while not over.wait(pause_seconds) and time.monotonic() < deadline:
            with suppress(OSError):
                act()

    def climb() -> None:
        site.raw(b"GET /content/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    def wrong_password() -> None:
        site.http.post("/auth/login", json={"username": "invalid", "password": "wrong"})

    def miss() -> None:
        site.http.get("/nowhere")

    def live() -> None:
        name = f"member-{time.monotonic_ns()}"
        account = {"username": name, "email": f"{name}@example.org", "password": "a long enough phrase"}
        site.http.post("/auth/register", json=account)
        tokens = site.http.post("/auth/login", json={"username": name, "password": account["password"]}).json()
        site.http.get("/auth/me", headers={"Authorization": f"Bearer {tokens['access']}"})
        site.http.post("/auth/refresh", json={"refresh": tokens["refresh"]})

    with ThreadPoolExecutor(16) as threads:
        for act, pause_seconds in ((climb, 0.3), (wrong_password, 0.3), (miss, 0.5), (live, 3)):
            threads.submit(repeat, act, pause_seconds)
        for _ in range(12):
            threads.submit(repeat, lambda: slow_request(site.port), 0.01)
        try:
            yield
        finally:
            over.set()


def slow_request(port: int) -> None:
    """A sign-in whose body comes so late that it takes more than a second."""
    body = b'{"username": "slow", "password": "wrong"}'
    head = (
        f"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode())
        time.sleep(1.3)  # the client is what is slow
        connection.sendall(body)
        while connection.recv(65_536):
            pass
