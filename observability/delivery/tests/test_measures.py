"""The five measures as DESIGN.md defines them, on histories small enough to reckon by hand, and on any history."""

import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from bambisleep.tests.environment import FEWER
from observability.delivery import deployments, incidents, measures
from observability.delivery.deployments import Commit
from observability.delivery.measures import Measure, Window, days_before, quantile
from observability.delivery.models import Deployment, Incident

PIPELINE = {"service": "web", "environment": "production"}
START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=10))
HOUR = 3600.0


def deployed(day: float, *hours: float, version: str = "", **more: Any) -> Deployment:
    """A deployment that finished so many days after START, each of its commits authored so many hours before."""
    at = START + timedelta(days=day)
    version = version or f"1.{day}"
    commits = [Commit(f"{version}-{number}", at - timedelta(hours=each)) for number, each in enumerate(hours)]
    values: dict[str, Any] = {**PIPELINE, "version": version, "finished_at": at, "commits": commits, **more}
    return deployments.record(**values).deployment


def incident(day: float, hours: float | None = None, cause: Deployment | None = None) -> Incident:
    """An incident that started so many days after START and lasted so many hours; None where it is open."""
    at = START + timedelta(days=day)
    opened = incidents.open_incident(**PIPELINE, title="Slow", started_at=at, deployment=cause)
    if hours is not None:
        incidents.resolve(opened, resolved_at=at + timedelta(hours=hours))
    return opened


def measure(name: str, window: Window = WINDOW, **more: Any) -> Measure:
    """One measure of the pipeline."""
    return measures.compute(**{**PIPELINE, **more}, window=window)[name]


@pytest.mark.django_db
class TestDeploymentFrequency:
    def test_it_is_finished_deployments_a_day_whatever_became_of_them(self) -> None:
        deployed(1)
        deployed(2, status="failed")
        deployed(3, status="rolled_back", kind="hotfix")
        deployed(4, kind="rollback")
        deployed(5, status="started", finished_at=None, started_at=START + timedelta(days=5))

        found = measure("deployment_frequency")

        assert (found.value, found.unit, found.samples) == (0.4, "deployments/day", 4)

    def test_its_window_takes_the_first_instant_and_leaves_the_last(self) -> None:
        deployed(0)
        deployed(10)
        assert measure("deployment_frequency").samples == 1

    def test_it_knows_no_other_service_and_no_other_environment(self) -> None:
        deployed(1)
        deployed(1, service="mailer")
        deployed(1, environment="staging")
        assert measure("deployment_frequency").samples == 1
        assert measure("deployment_frequency", environment="staging").samples == 1

    def test_without_a_deployment_it_is_null_and_says_why(self) -> None:
        deployed(-1)
        found = measure("deployment_frequency")
        assert (found.value, found.samples, found.reason, found.tier) == (
            None, 0, "no finished deployment in the window", None,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("number", "days", "tier"),
        [
            (24, 1, "several times an hour"),
            (23, 1, "between once an hour and once a day"),
            (1, 1, "between once an hour and once a day"),
            (1, 7, "between once a day and once a week"),
            (1, 30, "between once a week and once a month"),
            (1, 182, "between once a month and once in six months"),
            (1, 183, "less than every six months"),
        ],
    )
    def test_its_tier_carries_the_year_of_its_table(self, number: int, days: int, tier: str) -> None:
        for each in range(number):
            deployed(each / 1000, version=str(each))
        found = measure("deployment_frequency", Window(START, START + timedelta(days=days)))
        assert found.tier == {"name": tier, "year": 2026}


@pytest.mark.django_db
class TestChangeLeadTime:
    def test_it_is_the_median_and_the_ninth_decile_of_the_commits(self) -> None:
        deployed(-1)
        deployed(1, 1, 2, 3)
        deployed(2, 10)

        found = measure("change_lead_time")

        assert (found.value, found.unit, found.samples) == (2.5 * HOUR, "seconds", 4)
        assert found.p90 == pytest.approx(7.9 * HOUR)
        assert found.reason is None

    def test_of_one_commit_both_are_its_own(self) -> None:
        deployed(-1)
        deployed(1, 5)
        found = measure("change_lead_time")
        assert (found.value, found.p90, found.samples) == (5 * HOUR, 5 * HOUR, 1)

    def test_what_it_leaves_out_it_counts_by_reason(self) -> None:
        deployed(1, 1, 1, version="first")
        deployed(2, 1, version="a")
        deployed(3, 1, version="back", kind="rollback")
        deployed(4, 1, -1, version="b")
        deployed(5, commits=[Commit("a-0", START)])
        deployed(6, 1, 1, version="broken", status="failed")

        found = measure("change_lead_time")

        assert found.samples == 2
        assert found.excluded == {"first_deployment": 2, "rollback": 1, "negative": 1, "already_deployed": 1}

    def test_a_commit_counts_in_the_window_of_its_first_succeeded_deployment(self) -> None:
        deployed(-2)
        deployed(-1, commits=[Commit("early", START - timedelta(days=3))])
        deployed(1, commits=[Commit("early", START - timedelta(days=3))])
        found = measure("change_lead_time")
        assert (found.value, found.samples, found.excluded["already_deployed"]) == (None, 0, 1)
        assert found.reason == "every commit in the window is excluded"
        assert measure("change_lead_time", WINDOW.before()).value == 48 * HOUR

    def test_without_a_commit_it_is_null_and_says_why(self) -> None:
        assert measure("change_lead_time").reason == "no succeeded deployment in the window"
        deployed(1, 1, status="failed")
        assert measure("change_lead_time").reason == "no succeeded deployment in the window"
        deployed(2)
        assert measure("change_lead_time").reason == "no commit recorded with the deployments in the window"
        assert measure("change_lead_time").value is None

    def test_deployed_at_once_is_a_true_zero(self) -> None:
        deployed(-1)
        deployed(1, 0)
        found = measure("change_lead_time")
        assert (found.value, found.p90, found.samples, found.reason) == (0.0, 0.0, 1, None)

    @pytest.mark.parametrize(
        ("hours", "tier"),
        [
            (0.99, "less than an hour"),
            (1, "less than a day"),
            (24, "less than a week"),
            (7 * 24, "less than a month"),
            (30 * 24, "less than six months"),
            (182 * 24, "six months or more"),
        ],
    )
    def test_its_tier_begins_where_the_one_before_ends(self, hours: float, tier: str) -> None:
        deployed(-1)
        deployed(1, hours)
        assert measure("change_lead_time").tier == {"name": tier, "year": 2026}


@pytest.mark.django_db
class TestChangeFailRate:
    def test_it_is_the_share_that_failed_was_rolled_back_or_caused_an_incident(self) -> None:
        deployed(1)
        deployed(2, status="failed")
        deployed(3, status="rolled_back")
        incident(4.1, cause=deployed(4))
        deployed(5, status="started", finished_at=None)

        found = measure("change_fail_rate")

        assert (found.value, found.unit, found.samples) == (0.75, "ratio", 4)

    def test_a_deployment_with_three_incidents_counts_once(self) -> None:
        bad = deployed(1)
        deployed(2)
        for hour in range(3):
            incident(1 + hour / 24, 1, cause=bad)
        assert measure("change_fail_rate").value == 0.5

    def test_a_failed_one_with_an_incident_counts_once(self) -> None:
        incident(1.5, cause=deployed(1, status="failed"))
        assert measure("change_fail_rate").value == 1.0

    def test_it_goes_by_when_the_deployment_finished_and_not_the_incident(self) -> None:
        incident(1, cause=deployed(-1))
        deployed(2)
        assert measure("change_fail_rate").value == 0.0
        assert measure("change_fail_rate", WINDOW.before()).value == 1.0

    def test_a_link_taken_away_is_no_failure(self) -> None:
        opened = incident(1.5, cause=deployed(1))
        incidents.link(opened, None)
        assert measure("change_fail_rate").value == 0.0

    def test_without_a_deployment_it_is_null_and_says_why(self) -> None:
        incident(1)
        found = measure("change_fail_rate")
        assert (found.value, found.samples, found.reason) == (None, 0, "no finished deployment in the window")


@pytest.mark.django_db
class TestRecoveryTime:
    def test_it_is_the_median_and_the_ninth_decile_of_what_changes_caused(self) -> None:
        bad = deployed(1)
        for hours in (1, 2, 9):
            incident(2, hours, cause=bad)

        found = measure("failed_deployment_recovery_time")

        assert (found.value, found.unit, found.samples) == (2 * HOUR, "seconds", 3)
        assert found.p90 == pytest.approx(7.6 * HOUR)

    def test_what_it_leaves_out_it_counts_by_reason(self) -> None:
        incident(2, 3, cause=deployed(1))
        incident(3, 1)
        incident(4, 1)
        incident(5, cause=deployed(4))
        incident(6)

        found = measure("failed_deployment_recovery_time")

        assert (found.value, found.samples) == (3 * HOUR, 1)
        assert found.excluded == {"not_caused_by_change": 2, "unresolved": 1}

    def test_it_goes_by_when_the_incident_was_resolved(self) -> None:
        incident(-1, 36, cause=deployed(-2))
        assert measure("failed_deployment_recovery_time").value == 36 * HOUR
        assert measure("failed_deployment_recovery_time", WINDOW.before()).value is None

    def test_without_one_it_is_null_and_says_why(self) -> None:
        incident(1, 1)
        found = measure("failed_deployment_recovery_time")
        assert (found.value, found.p90, found.samples) == (None, None, 0)
        assert found.reason == "no resolved incident caused by a change"


@pytest.mark.django_db
class TestReworkRate:
    def test_it_is_the_share_of_hotfixes_and_rollbacks(self) -> None:
        deployed(1)
        deployed(2, kind="hotfix")
        deployed(3, kind="rollback", status="failed")
        deployed(4, kind="hotfix", status="started", finished_at=None)

        found = measure("deployment_rework_rate")

        assert (found.value, found.unit, found.samples) == (pytest.approx(2 / 3), "ratio", 3)

    def test_without_a_deployment_it_is_null_and_says_why(self) -> None:
        found = measure("deployment_rework_rate")
        assert (found.value, found.samples, found.reason) == (None, 0, "no finished deployment in the window")


@pytest.mark.django_db
class TestTrend:
    def test_it_is_the_value_minus_that_of_the_window_before(self) -> None:
        deployed(-20)
        deployed(-5, 4, kind="hotfix")
        incident(-4, 5, cause=deployed(-4.5, status="failed"))
        deployed(1, 1)
        deployed(2, 2)
        incident(3, 2, cause=deployed(2.5, 3))

        found = measures.compute(**PIPELINE, window=WINDOW)

        assert {name: each.trend for name, each in found.items()} == {
            "deployment_frequency": pytest.approx(0.3 - 0.2),
            "change_lead_time": (2 - 4) * HOUR,
            "change_fail_rate": pytest.approx(1 / 3 - 1 / 2),
            "failed_deployment_recovery_time": (2 - 5) * HOUR,
            "deployment_rework_rate": -0.5,
        }

    def test_it_is_null_where_either_window_has_no_value(self) -> None:
        deployed(1, 1)
        assert measure("deployment_frequency").trend is None
        assert measure("deployment_frequency", Window(WINDOW.end, WINDOW.end + timedelta(days=10))).trend is None

    def test_nothing_is_counted_in_both_windows(self) -> None:
        deployed(0)
        assert [measure("deployment_frequency", each).samples for each in (WINDOW, WINDOW.before())] == [1, 0]


class TestQuantile:
    @given(
        values=st.lists(st.floats(0, 1e9), min_size=2, max_size=60).map(sorted),
        tenth=st.sampled_from([1, 5, 9]),
    )
    def test_it_is_that_of_the_standard_library(self, values: list[float], tenth: int) -> None:
        expected = statistics.quantiles(values, n=10, method="inclusive")[tenth - 1]
        assert quantile(values, len(values), tenth / 10) == pytest.approx(expected, rel=1e-9, abs=1e-6)

    def test_of_one_value_it_is_the_value(self) -> None:
        assert quantile([7.0], 1, 0.9) == 7.0


STATUSES = ["started", "succeeded", "failed", "rolled_back"]
deployment = st.fixed_dictionaries(
    {
        "day": st.integers(-12, 12),
        "status": st.sampled_from(["succeeded", *STATUSES]),
        "kind": st.sampled_from(["planned", "planned", "hotfix", "rollback"]),
        "shas": st.sets(st.sampled_from("abcdef"), max_size=3),
        "incidents": st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=3),
    }
)


def tell(service: str, number: int, of: dict[str, Any], *, status: str = "") -> Deployment:
    """The deployment as its pipeline tells it; `status` where it tells of an earlier stage."""
    at = START + timedelta(days=of["day"], seconds=number)
    status = status or of["status"]
    return deployments.record(
        service=service,
        environment="production",
        version=str(number),
        status=status,
        kind=of["kind"],
        finished_at=None if status == "started" else at,
        commits=[Commit(sha, START + timedelta(days="abcdef".index(sha) - 6)) for sha in sorted(of["shas"])],
    ).deployment


def blame(service: str, of: dict[str, Any], deployment: Deployment) -> None:
    """Open the incidents that it caused, and resolve those that are over."""
    at = deployment.finished_at
    for minutes, is_over in of["incidents"] if at else ():
        opened = incidents.open_incident(
            service=service, environment="production", title="Slow", started_at=at, deployment=deployment
        )
        if is_over:
            incidents.resolve(opened, resolved_at=at + timedelta(minutes=minutes))


class AnyHistory(TestCase):
    """Hypothesis runs each example in a transaction of its own."""

    @settings(
        max_examples=60 // FEWER,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(history=st.lists(deployment, max_size=6))
    def test_no_measure_is_a_fake_zero_and_every_rate_is_a_share(self, history: list[dict[str, Any]]) -> None:
        for number, of in enumerate(history):
            blame("web", of, tell("web", number, of))
        finished = [of for of in history if of["status"] != "started" and 0 <= of["day"] < 10]
        failed = [of for of in finished if of["status"] in STATUSES[2:] or of["incidents"]]
        rework = [of for of in finished if of["kind"] != "planned"]

        found = measures.compute(**PIPELINE, window=WINDOW)

        for each in found.values():
            assert (each.value is None) == (each.samples == 0) == (each.reason is not None)
            assert each.value is not None or (each.p90, each.tier, each.trend) == (None, None, None)
            assert each.value is None or each.value >= 0
        for name, rows in (("change_fail_rate", failed), ("deployment_rework_rate", rework)):
            value = found[name].value
            assert value == (len(rows) / len(finished) if finished else None)
            assert value is None or 0 <= value <= 1
        assert found["deployment_frequency"].samples == len(finished)

    @settings(
        max_examples=50 // FEWER,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(history=st.lists(deployment, max_size=5), data=st.data())
    def test_order_and_repetition_of_what_is_told_do_not_matter(
        self, history: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        """Every stage of every deployment, told in its own order and in any other, some of it twice."""
        stages = [
            (number, status)
            for number, of in enumerate(history)
            for status in dict.fromkeys(["started", *(["succeeded"] * (of["status"] != "started")), of["status"]])
        ]
        shuffled = data.draw(st.permutations(stages + stages[: len(stages) // 2]))
        answers = []
        for service, order in (("straight", stages), ("shuffled", shuffled)):
            for number, status in order:
                tell(service, number, history[number], status=status)
            for row in Deployment.objects.filter(service=service).in_order():
                blame(service, history[int(row.version)], row)
            answers.append(measures.compute(service=service, environment="production", window=WINDOW))
        assert answers[0] == answers[1]

    @given(days=st.integers(1, 3660))
    def test_the_last_so_many_days_and_those_before_meet_and_are_of_one_length(self, days: int) -> None:
        window = days_before(START, days)
        assert (window.end, window.days, window.before().end) == (START, days, window.start)
        assert window.before().days == days
