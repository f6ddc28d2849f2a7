"""What people ask Prometheus about revenue is what the ledger says, over a whole hour and through a rolling deployment.

An hour cannot be waited for. So time is set, and nothing else: a ledger is written half a minute at a time,
/metrics is asked after each, as Prometheus would, and what it answered is put into Prometheus under the time that it
would have been scraped at (promtool). The recording rules are ours, evaluated by promtool over the same time.
"""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bambisleep.tests.client import AsgiClient
from bambisleep.tests.environment import LONG
from e2e.servers import ROOT, Server, free_port, running
from observability import exposition
from observability.refresh import refresh
from payments.models import Movement, Plan

pytestmark = [
    pytest.mark.once,
    pytest.mark.needs("prometheus", "promtool"),
    pytest.mark.django_db(transaction=True),
]

# Prometheus asks every 15 seconds; every 30 takes half as long to tell.
STEP = 15 if LONG else 30
HOUR, MINUTES = 3600, 100
RULES = ROOT / "deploy" / "prometheus" / "recording.yml"
CURRENCIES = ("eur", "usd")
# The processes that are scraped, each from one minute to another: one lives through it all, two follow each other.
PROCESSES = {"one:3000": (0, MINUTES), "two:3000": (0, 62), "three:3000": (58, MINUTES)}
SEED_QUERY = "rate(stripe_payment_value_total[1h]) * 3600 / 100"
DOCUMENTED = "rate(fact:stripe_payment_value_total[1h]) * 3600 / 100"


@dataclass(frozen=True, slots=True)
class Told:
    """A series of samples as /metrics told them, and the time of each."""

    name: str
    labels: str
    at: int
    value: str


@pytest.fixture
def began() -> int:
    """When the first payment was made."""
    return int(time.time()) // STEP * STEP - (MINUTES + 5) * 60


@pytest.fixture
def told(began: int, monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[Told]:
    """What /metrics told, every half a minute, while the ledger was written."""
    # However busy the machine: a scrape that must not wait tells what was known before.
    monkeypatch.setattr(exposition, "FACTS_DEADLINE_SECONDS", 60)
    settings.FACTS_TIMEOUT_SECONDS = 60
    for currency in CURRENCIES:
        Plan.objects.create(
            price_id=f"price_{currency}", name="Member", currency=currency, amount_minor=900, interval="month"
        )
    client, chance = AsgiClient(), random.Random(8)
    found: list[Told] = []
    for now in range(began, began + MINUTES * 60 + 1, STEP):
        if now > began:
            Movement.objects.bulk_create(list(_moved(now, chance)))
        refresh()
        for line in client.get("/metrics").body.decode().splitlines():
            if line.startswith("stripe_payment_"):
                series, _, value = line.rpartition(" ")
                name, _, labels = series.partition("{")
                found.append(Told(name, labels.rstrip("}"), now, value))
    return found


def _moved(now: int, chance: random.Random) -> Iterator[Movement]:
    """What was paid, and here and there paid back, in the step before `now`."""
    for currency in CURRENCIES:
        for number in range(chance.randint(2, 6)):
            fields = {
                "currency": currency,
                "occurred_at": datetime.fromtimestamp(now - chance.randrange(STEP), UTC),
                "charge_id": f"ch_{currency}_{now}_{number}",
            }
            amount = chance.choice((900, 1299, 9000))
            yield Movement(kind="charge", stripe_id=fields["charge_id"], amount_minor=amount, **fields)
            if chance.random() < 0.1:
                yield Movement(kind="refund", stripe_id=f"re_{fields['charge_id']}", amount_minor=-amount, **fields)


@pytest.fixture
def prometheus(told: list[Told], began: int, tmp_path: Path) -> Iterator[Server]:
    """A Prometheus that has scraped it all, and recorded what our rules say."""
    history = tmp_path / "history.txt"
    lines = [
        f'{sample.name}{{{sample.labels},job="bambisleep",instance="{instance}"}} {sample.value} {sample.at}'
        for name in sorted({sample.name for sample in told})
        for instance, (first, last) in PROCESSES.items()
        for sample in told
        if sample.name == name and first * 60 <= sample.at - began <= last * 60
    ]
    history.write_text("\n".join([*lines, "# EOF", ""]))
    data = tmp_path / "tsdb"
    data.mkdir()
    _promtool("create-blocks-from", "openmetrics", str(history), str(data))
    with _serving(tmp_path) as server:
        times = [f"--start={began}", f"--end={began + MINUTES * 60}", f"--eval-interval={STEP}s"]
        recorded = tmp_path / "recorded"
        _promtool("create-blocks-from", "rules", f"--url={server.url}", f"--output-dir={recorded}", *times, str(RULES))
    for block in recorded.iterdir():
        block.rename(data / block.name)
    with _serving(tmp_path) as server:
        yield server


def _promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", "tsdb", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def _serving(directory: Path) -> Iterator[Server]:
    port = free_port()
    configuration = directory / "prometheus.yml"
    configuration.write_text(f"global: {{scrape_interval: {STEP}s}}\n")
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = directory / f"prometheus-{port}.log"
    with running(command, environment={"HOME": str(directory)}, port=port, log=log, ready="/-/ready") as server:
        yield server


def _answers(prometheus: Server, promql: str, at: float) -> dict[tuple[str, str], float]:
    """Currency and process of each series, and its value."""
    result = prometheus.json("/api/v1/query", query=promql, time=at)["data"]["result"]
    return {(row["metric"]["currency"], row["metric"].get("instance", "")): float(row["value"][1]) for row in result}


def _ledger(currency: str, until: float) -> float:
    """What was charged in the hour before, in whole units."""
    hour = {
        "occurred_at__gt": datetime.fromtimestamp(until - HOUR, UTC),
        "occurred_at__lte": datetime.fromtimestamp(until, UTC),
    }
    charges = Movement.objects.filter(kind="charge", currency=currency, **hour)
    return sum(charges.values_list("amount_minor", flat=True)) / 100


def test_the_hour_s_revenue_is_the_ledger_s(prometheus: Server, began: int) -> None:
    for minute in (61, 70, 83.3, 99.9):  # the hour before each holds the change of processes but for its last moments
        now = began + minute * 60
        documented = _answers(prometheus, DOCUMENTED, now)
        assert documented == {
            (currency, ""): pytest.approx(_ledger(currency, now), rel=0.01) for currency in CURRENCIES
        }, minute
        # The page's own query is as right for each process that lived through the hour, and for no other.
        one = {key: value for key, value in _answers(prometheus, SEED_QUERY, now).items() if key[1] == "one:3000"}
        assert {currency: value for (currency, _), value in one.items()} == {
            currency: pytest.approx(value, rel=0.01) for (currency, _), value in documented.items()
        }
        assert _ledger("eur", now) > 1000
