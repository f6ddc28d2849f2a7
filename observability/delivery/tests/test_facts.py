"""Delivery facts against a model of their own: after any history of writes, corrections and rollbacks."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from bambisleep.tests.environment import FEWER
from observability.delivery import deployments, incidents
from observability.delivery.deployments import Commit
from observability.delivery.facts import DURATIONS
from observability.delivery.models import Deployment, Incident
from observability.facts import FACTS
from observability.models import FactSample
from observability.problems import Problem
from observability.refresh import _refresh_one

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PIPELINE = ["web", "production"]
RANK = ["started", "succeeded", "failed", "rolled_back"]


class Model:
    """What the counters should say, in plain Python: no query, no function of the product."""

    def __init__(self) -> None:
        self.deployments: dict[str, dict[str, Any]] = {}
        self.incidents: list[dict[str, Any]] = []
        self.failed_ever: set[str] = set()
        self.lead: dict[str, float] = {}
        self.recovered: dict[int, float] = {}

    def record(self, version: str, status: str, kind: str, finished_at: datetime, shas: set[str]) -> None:
        row = self.deployments.get(version)
        if row is None:
            self.deployments[version] = {
                "status": status,
                "kind": kind,
                "at": None if status == "started" else finished_at,
                "shas": set(shas),
                "number": len(self.deployments),
            }
        elif RANK.index(status) > RANK.index(row["status"]):
            row["at"] = row["at"] or finished_at
            row["kind"] = kind if row["kind"] == "planned" else row["kind"]
            row["status"] = status
            row["shas"] |= shas
        self.note()

    def fail(self, version: str) -> None:
        row = self.deployments.get(version)
        if row and row["at"] and RANK.index(row["status"]) < 2:
            row["status"] = "failed"
        self.note()

    def note(self) -> None:
        rows = sorted(
            (row for row in self.deployments.values() if row["at"]), key=lambda row: (row["at"], row["number"])
        )
        self.failed_ever |= {name for name, row in self.deployments.items() if row["status"] in RANK[2:]}
        shipping = [row for row in rows if row["status"] == "succeeded" and row["kind"] != "rollback"]
        seen: set[str] = set()
        for position, row in enumerate(shipping):
            for sha in sorted(row["shas"] - seen):
                seconds = (row["at"] - authored(sha)).total_seconds()
                if position and seconds >= 0 and sha not in self.lead:
                    self.lead[sha] = seconds
            seen |= row["shas"]

    def settle(self) -> None:
        for number, incident in enumerate(self.incidents):
            if incident["cause"]:
                self.failed_ever.add(incident["cause"])
                if incident["end"] and number not in self.recovered:
                    self.recovered[number] = (incident["end"] - incident["start"]).total_seconds()

    def expected(self) -> dict[str, Any]:
        return {
            "deployment_frequency_total": sum(1 for row in self.deployments.values() if row["at"]),
            "deployment_failures_total": len(self.failed_ever),
            "deployment_lead_time_seconds": buckets(self.lead.values()),
            "mttr_seconds": buckets(self.recovered.values()),
        }


def authored(sha: str) -> datetime:
    """Each commit has its own time, some of them after the deployments that hold it."""
    return NOON + timedelta(hours=7 * "abcdefgh".index(sha))


def buckets(values: Any) -> list[Any]:
    counts = [0] * (len(DURATIONS) + 1)
    for value in values:
        counts[bisect_left(DURATIONS, value)] += 1
    return [counts, float(sum(values))]


def shown() -> dict[str, Any]:
    """What the snapshot says of the pipeline."""
    for name in ("deployments", "lead_times", "recoveries"):
        _refresh_one(FACTS[name], None, force=True)
    found: dict[str, Any] = {}
    for row in FactSample.objects.all():
        assert not row.error, row.error
        found |= {name: value for name, labels, value in row.samples if labels == PIPELINE}
    return found


recording = st.tuples(
    st.just("record"),
    st.sampled_from("12345"),
    st.sampled_from(["succeeded", "succeeded", "succeeded", *RANK]),
    st.sampled_from(["planned", "planned", "planned", "hotfix", "rollback"]),
    st.integers(0, 6),
    st.sets(st.sampled_from("abcd"), max_size=3),
)
correction = st.one_of(
    st.tuples(st.just("fail"), st.sampled_from("12345")),
    st.tuples(st.just("open"), st.integers(0, 6)),
    st.tuples(st.just("link"), st.integers(0, 2), st.sampled_from("12345")),
    st.tuples(st.just("unlink"), st.integers(0, 2)),
    st.tuples(st.just("resolve"), st.integers(0, 2), st.integers(1, 400)),
)
operation = st.one_of(recording, recording, correction)
rolled_back = st.sampled_from([False, False, False, True])


class Facts(TestCase):
    """Hypothesis runs each example in a transaction of its own."""

    @settings(
        max_examples=100 // FEWER,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(history=st.lists(st.tuples(operation, rolled_back), min_size=6, max_size=16))
    def test_they_equal_the_model_and_no_counter_falls(self, history: list[Any]) -> None:
        model = Model()
        before = {name: self.flat(value) for name, value in model.expected().items()}
        for act, rolled_back in history:
            if rolled_back:
                with transaction.atomic():
                    list(self.perform(Model(), act))
                    transaction.set_rollback(True)
                continue
            list(self.perform(model, act))
            now = shown()
            if not model.deployments:
                continue  # the pipeline is not known yet
            assert {name: now[name] for name in before} == model.expected()
            for name, values in before.items():
                assert all(new >= old for new, old in zip(self.flat(now[name]), values, strict=True)), name
            before = {name: self.flat(now[name]) for name in before}

    @staticmethod
    def flat(value: Any) -> list[float]:
        return [*value[0], value[1]] if isinstance(value, list) else [value]

    @staticmethod
    def perform(model: Model, act: Any) -> Iterator[None]:
        """Do the same to the product and to the model."""
        name, *arguments = act
        if name == "record":
            version, status, kind, day, shas = arguments
            finished_at = NOON + timedelta(days=day)
            try:
                deployments.record(
                    service="web",
                    environment="production",
                    version=version,
                    status=status,
                    kind=kind,
                    finished_at=finished_at,
                    commits=[Commit(sha, authored(sha)) for sha in sorted(shas)],
                )
            except Problem:
                assert kind == "rollback"  # by the name of the way there, which changes nothing
                assert Deployment.objects.get(version=version).kind != "rollback"
            model.record(version, status, kind, finished_at, shas)
        elif name == "fail":
            row = Deployment.objects.filter(version=arguments[0]).first()
            if row and row.finished_at:
                deployments.mark_failed(row)
                model.fail(arguments[0])
        elif name == "open":
            start = NOON + timedelta(days=arguments[0])
            incidents.open_incident(service="web", environment="production", title="Slow", started_at=start)
            model.incidents.append({"start": start, "end": None, "cause": None})
        else:
            found = list(Incident.objects.order_by("pk"))
            if arguments[0] < len(found):
                Facts.correct(model, name, found[arguments[0]], *arguments)
        model.settle()
        yield

    @staticmethod
    def correct(model: Model, name: str, incident: Incident, number: int, *arguments: Any) -> None:
        known = (
            model.incidents[number] if number < len(model.incidents) else {"start": incident.started_at, "end": None}
        )
        if name == "link":
            deployment = Deployment.objects.filter(version=arguments[0]).first()
            try:
                if deployment is not None:
                    incidents.link(incident, deployment)
                    known["cause"] = deployment.version
            except Problem:
                assert deployment is not None
                assert deployment.finished_at is None
        elif name == "unlink":
            incidents.link(incident, None)
            known["cause"] = None
        elif incidents.resolve(incident, resolved_at=incident.started_at + timedelta(minutes=arguments[0])):
            known["end"] = incident.resolved_at


@pytest.mark.django_db
def test_the_measures_are_those_of_pipelines_in_use() -> None:
    """A review app's series go sixty days after its last deployment; its counters stay, as counters do."""
    for environment, days in (("review/1", 61), ("review/2", 59), ("staging", 400)):
        finished_at = timezone.now() - timedelta(days=days)
        deployments.record(service="web", environment=environment, version="1", finished_at=finished_at)
    incidents.open_incident(service="web", environment="staging", title="Slow")

    samples = {name: list(FACTS[name].compute()) for name in ("last_thirty_days", "deployments")}

    measured = {sample.labels[1] for sample in samples["last_thirty_days"] if sample.labels[0] == "web"}
    assert measured == {"review/2", "staging"}
    counted = {sample.labels[1] for sample in samples["deployments"] if sample.labels[0] == "web"}
    assert counted == {"review/1", "review/2", "staging"}
