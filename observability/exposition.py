"""GET /metrics: the process's events and the snapshot of facts, as Prometheus text or OpenMetrics.

A scrape costs one SELECT. With the database down it still answers, with the events and
`bambisleep_collector_up{collector="facts"} 0`.
"""

import asyncio
import gzip
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from . import facts
from .models import FactSample
from .problems import error_response
from .refresh import refresh

FACTS_DEADLINE_SECONDS = 1.2
FIRST_REFRESH_SECONDS = 1.0
# Gauges of django-prometheus whose names end in _total: as untyped, promtool has nothing to remark.
MISNAMED = {"django_migrations_applied_total", "django_migrations_unapplied_total"}

log = structlog.get_logger("bambisleep.metrics")

# Threads of their own, so that scrapes and health checks get through while requests hold all others, and a hung
# database can hold no more than these.
threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="operations")


@csrf_exempt
async def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape; with METRICS_TOKEN set, only to `Authorization: Bearer <token>`."""
    if request.method not in {"GET", "HEAD"}:
        return error_response(request, 405, "A scrape is a GET.", {"Allow": "GET, HEAD"})
    if settings.METRICS_TOKEN:
        expected = f"Bearer {settings.METRICS_TOKEN}"
        if not constant_time_compare(request.headers.get("Authorization", ""), expected):
            challenge = {"WWW-Authenticate": 'Bearer realm="metrics"'}
            return error_response(request, 401, "Send the scrape token as a bearer token.", challenge)
    loop = asyncio.get_running_loop()
    try:
        samples = await asyncio.wait_for(loop.run_in_executor(threads, read_snapshot), FACTS_DEADLINE_SECONDS)
    except (DatabaseError, TimeoutError) as error:
        log.warning("facts_unreadable", error=str(error).strip()[:300] or "no answer in time")
        samples = None
    encode, content_type = _encoder(request.headers.get("Accept", ""))
    # Not in `threads`: there a hung database may hold every one.
    body = await asyncio.to_thread(encode, Exposition(samples))
    response = HttpResponse(body, content_type=content_type)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = await asyncio.to_thread(gzip.compress, body, compresslevel=1)
        response["Content-Encoding"] = "gzip"
    response["Vary"] = "Accept, Accept-Encoding"
    response["Cache-Control"] = "no-store"
    return response


def read_snapshot() -> list[FactSample]:
    """The facts as last computed, by one SELECT; on a new installation or version, computed first.

    Raises:
        DatabaseError: where the database does not answer.
    """
    try:
        rows = list(FactSample.objects.all())
        deadline = time.monotonic() + FIRST_REFRESH_SECONDS
        while not facts.FACTS.keys() <= {row.fact for row in rows} and time.monotonic() < deadline:
            if not refresh():
                time.sleep(0.05)  # another process or thread is computing them for the first time
            rows = list(FactSample.objects.all())
        return rows
    finally:
        connections.close_all()


class Exposition:
    """What the encoders of prometheus_client take for a registry: events, then facts.

    Args:
        samples: the snapshot, or None where it could not be read.
        events: whether to give the process's own metrics, too.
    """

    def __init__(self, samples: list[FactSample] | None, *, events: bool = True) -> None:
        self.samples = samples
        self.events = events

    def collect(self) -> Iterator[Metric]:
        """Every metric family, facts without a sample included."""
        if self.events:
            for family in REGISTRY.collect():
                if family.name in MISNAMED:
                    family.type = "unknown"
                yield family
        yield from fact_families(self.samples)


def fact_families(rows: Iterable[FactSample] | None) -> Iterator[Metric]:
    """The fact metrics of a snapshot, and what is to be known about the snapshot itself."""
    up = GaugeMetricFamily("bambisleep_collector_up", "Whether a collector answered.", labels=["collector"])
    up.add_metric(["facts"], 0 if rows is None else 1)
    yield up
    fact_up = GaugeMetricFamily("bambisleep_fact_up", "Whether a fact was computed at its last turn.", labels=["fact"])
    families = {metric.name: _family(metric) for metric in facts.METRICS.values()}
    checked: list[datetime] = []
    for row in rows or ():
        if row.fact not in facts.FACTS:
            continue  # of another version, running beside this one
        checked.append(row.checked_at)
        fact_up.add_metric([row.fact], 0 if row.error else 1)
        for name, labels, value in row.samples:
            if name in families and len(labels) == len(facts.METRICS[name].labels):
                _add(families[name], facts.METRICS[name], labels, value)
    yield fact_up
    if checked:
        age = max(0.0, (timezone.now() - min(checked)).total_seconds())
        yield GaugeMetricFamily(
            "bambisleep_facts_age_seconds", "Seconds since the fact checked longest ago was checked.", value=age
        )
    yield from families.values()


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    """The format that is asked for, with its content type; text, where what is asked for makes no sense."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")


def _family(metric: facts.Metric) -> Metric:
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    if metric.kind == "histogram":
        return HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    if metric.kind == "summary":
        return Metric(metric.name, metric.meaning, "summary")
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)


def _add(family: Metric, metric: facts.Metric, labels: list[str], value: Any) -> None:
    if isinstance(family, HistogramMetricFamily):
        counts, total = value
        cumulative, buckets = 0, []
        bounds = [*(_bound(bound) for bound in metric.buckets), "+Inf"]
        for bound, count in zip(bounds, counts, strict=True):
            cumulative += count
            buckets.append((bound, float(cumulative)))
        family.add_metric(labels, buckets=buckets, sum_value=total)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        family.add_metric(labels, value)
    else:
        for quantile, number in value.items():
            family.add_sample(
                metric.name, {**dict(zip(metric.labels, labels, strict=True)), "quantile": quantile}, number
            )


def _bound(bound: float) -> str:
    return repr(float(bound))
