"""Delivery facts: counters of what was recorded, and gauges over the last thirty days."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Min, Q, Sum
from django.utils import timezone

from ..facts import Metric, Sample, bucket_expression, counter, fact, gauge, histogram, summary
from . import measures
from .models import DeployedCommit, Deployment, Incident, Pipeline, Severity

HOUR, DAY = 3600, 86_400
DURATIONS = (300, 900, 1800, HOUR, 4 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 180 * DAY)
WINDOW_DAYS = 30

FREQUENCY = counter(
    "deployment_frequency_total", "Deployments recorded as finished, whatever their result.", "service", "environment"
)
FAILURES = counter(
    "deployment_failures_total",
    "Deployments recorded as failed, rolled back, or the cause of an incident.",
    "service",
    "environment",
)
LEAD_TIME = histogram(
    "deployment_lead_time_seconds",
    "Seconds from a commit's authoring to the end of the deployment that first brought it.",
    "service",
    "environment",
    buckets=DURATIONS,
)
RECOVERY = histogram(
    "mttr_seconds",
    "Seconds from the start to the resolution of incidents caused by a change.",
    "service",
    "environment",
    buckets=DURATIONS,
)
CHANGE_FAILURE_RATE = gauge(
    "change_failure_rate",
    "Per cent of the deployments finished in the last 30 days that failed, were rolled back or caused an incident.",
    "service",
    "environment",
)
DEPLOYMENTS_PER_DAY = gauge(
    "dora_deployments_per_day", "Finished deployments a day over the last 30 days.", "service", "environment"
)
CHANGE_LEAD_TIME = summary(
    "dora_change_lead_time_seconds",
    "Lead time of the commits deployed in the last 30 days.",
    "service",
    "environment",
)
RECOVERY_TIME = summary(
    "dora_recovery_time_seconds",
    "Duration of the incidents caused by a change and resolved in the last 30 days.",
    "service",
    "environment",
)
REWORK_RATE = gauge(
    "dora_rework_rate",
    "Share, 0 to 1, of hotfixes and rollbacks in the deployments finished in the last 30 days.",
    "service",
    "environment",
)
SAMPLES = gauge("dora_samples", "Rows behind a measure of the last 30 days.", "service", "environment", "measure")
EXCLUDED = gauge(
    "dora_excluded",
    "Rows left out of a measure of the last 30 days, by reason.",
    "service",
    "environment",
    "measure",
    "reason",
)
LAST_DEPLOYMENT = gauge(
    "deployment_last_timestamp_seconds",
    "When the last finished deployment finished, in Unix time.",
    "service",
    "environment",
    "version",
)
INCIDENTS_OPEN = gauge("incidents_open", "Incidents not yet resolved.", "service", "environment", "severity")
REOPENED = counter(
    "incidents_reopened_total", "Times that a resolved incident was not over after all.", "service", "environment"
)
OLDEST_INCIDENT = gauge(
    "incident_oldest_open_timestamp_seconds",
    "When the incident open longest started, in Unix time.",
    "service",
    "environment",
    "severity",
)


def pipelines() -> list[tuple[str, str]]:
    """Every pipeline that was ever heard of, and the default one, so that its first deployment is seen."""
    default = (settings.DEPLOY_SERVICE, settings.DEPLOY_ENVIRONMENT)
    return sorted({default, *Pipeline.objects.values_list("service", "environment")})


def pipelines_in_use() -> list[tuple[str, str]]:
    """Those of which something was recorded for the last two windows or is open, and the default one.

    Each of them costs a dozen queries, and a review app is a pipeline for a week.
    """
    since = timezone.now() - timedelta(days=2 * WINDOW_DAYS)
    found = {(settings.DEPLOY_SERVICE, settings.DEPLOY_ENVIRONMENT)}
    for rows in (
        Deployment.objects.filter(finished_at__gte=since),
        Incident.objects.filter(Q(resolved_at__gte=since) | Q(resolved_at=None)),
    ):
        found.update(rows.order_by().values_list("service", "environment").distinct())
    return sorted(found)


@fact(FREQUENCY, FAILURES, reads=[Deployment, Pipeline, Incident])
def deployments() -> Iterator[Sample]:
    """How many deployments were recorded as finished, and how many as failed changes."""
    rows = (
        Deployment.objects.finished()
        .order_by()
        .values_list("service", "environment")
        .annotate(all=Count("pk"), failed=Count("pk", filter=Q(failure_recorded_at__isnull=False)))
    )
    counts = {(service, environment): (finished, failed) for service, environment, finished, failed in rows}
    for pipeline in pipelines():
        finished, failed = counts.get(pipeline, (0, 0))
        yield FREQUENCY.sample(finished, *pipeline)
        yield FAILURES.sample(failed, *pipeline)


@fact(LEAD_TIME, reads=[Deployment, Pipeline])
def lead_times() -> Iterator[Sample]:
    """Lead times as first observed."""
    observed = DeployedCommit.objects.filter(observed_lead_seconds__isnull=False)
    yield from _histogram(LEAD_TIME, observed, "observed_lead_seconds")


@fact(RECOVERY, reads=[Incident, Pipeline])
def recoveries() -> Iterator[Sample]:
    """Recovery times as first observed."""
    observed = Incident.objects.filter(observed_recovery_seconds__isnull=False)
    yield from _histogram(RECOVERY, observed, "observed_recovery_seconds")


@fact(LAST_DEPLOYMENT, reads=[Deployment, Pipeline])
def last_deployments() -> Iterator[Sample]:
    """The last finished deployment of each pipeline."""
    for pipeline in Pipeline.objects.with_last_deployment():
        finished_at = pipeline.last_finished_at  # type: ignore[attr-defined]
        if finished_at is not None:
            version = pipeline.last_version  # type: ignore[attr-defined]
            yield LAST_DEPLOYMENT.sample(finished_at.timestamp(), pipeline.service, pipeline.environment, version)


@fact(INCIDENTS_OPEN, OLDEST_INCIDENT, reads=[Incident, Pipeline])
def open_incidents() -> Iterator[Sample]:
    """Open incidents, 0 where there is none, and since when the oldest is open."""
    rows = Incident.objects.open().order_by().values_list("service", "environment", "severity")
    found = {row[:3]: row[3:] for row in rows.annotate(count=Count("pk"), oldest=Min("started_at"))}
    known = {(*pipeline, str(severity)) for pipeline in pipelines() for severity in Severity.values}
    for labels in sorted(known | found.keys()):
        count, oldest = found.get(labels, (0, None))
        yield INCIDENTS_OPEN.sample(count, *labels)
        if oldest is not None:
            yield OLDEST_INCIDENT.sample(oldest.timestamp(), *labels)


@fact(REOPENED, reads=[Incident, Pipeline])
def reopened_incidents() -> Iterator[Sample]:
    """How often incidents were opened again."""
    rows = Incident.objects.order_by().values_list("service", "environment").annotate(times=Sum("reopenings"))
    counts = {(service, environment): times for service, environment, times in rows}
    for pipeline in sorted({*pipelines(), *counts}):
        yield REOPENED.sample(counts.get(pipeline, 0), *pipeline)


@fact(
    CHANGE_FAILURE_RATE,
    DEPLOYMENTS_PER_DAY,
    CHANGE_LEAD_TIME,
    RECOVERY_TIME,
    REWORK_RATE,
    SAMPLES,
    EXCLUDED,
    reads=[Deployment, Incident, Pipeline],
    windowed=True,
)
def last_thirty_days() -> Iterator[Sample]:
    """The five measures of each pipeline in use, as `/dora` gives them; absent without data."""
    window = measures.days_before(timezone.now(), WINDOW_DAYS)
    for service, environment in pipelines_in_use():
        found = measures.compute(service=service, environment=environment, window=window, trends=False)
        yield from _windowed(found, service, environment)


def _windowed(found: dict[str, measures.Measure], service: str, environment: str) -> Iterator[Sample]:
    for name, metric, factor in (
        ("deployment_frequency", DEPLOYMENTS_PER_DAY, 1),
        ("change_fail_rate", CHANGE_FAILURE_RATE, 100),
        ("deployment_rework_rate", REWORK_RATE, 1),
    ):
        value = found[name].value
        if value is not None:
            yield metric.sample(value * factor, service, environment)
    for name, metric in (("change_lead_time", CHANGE_LEAD_TIME), ("failed_deployment_recovery_time", RECOVERY_TIME)):
        median, p90 = found[name].value, found[name].p90
        if median is not None and p90 is not None:
            yield metric.sample({"0.5": median, "0.9": p90}, service, environment)
    for name, measure in found.items():
        yield SAMPLES.sample(measure.samples, service, environment, name)
        for reason, number in measure.excluded.items():
            yield EXCLUDED.sample(number, service, environment, name, reason)


def _histogram(metric: Metric, rows: Any, column: str) -> Iterator[Sample]:
    grouped: Iterable[tuple[str, str, int, int, float]] = (
        rows.order_by()
        .annotate(bucket=bucket_expression(metric, column))
        .values_list("service", "environment", "bucket")
        .annotate(count=Count("pk"), total=Sum(F(column)))
    )
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * (len(metric.buckets) + 1))
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for service, environment, bucket, count, total in grouped:
        counts[service, environment][bucket] = count
        sums[service, environment] += total
    for pipeline in sorted({*pipelines(), *counts}):
        yield metric.sample((counts[pipeline], sums[pipeline]), *pipeline)
