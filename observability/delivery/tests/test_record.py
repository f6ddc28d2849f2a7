"""deployments.record: one row however often and in whatever order a deployment is told."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from bambisleep.tests.environment import FEWER
from observability.delivery import deployments
from observability.delivery.deployments import Commit, InvalidDeployment
from observability.delivery.models import DeployedCommit, Deployment, Standing

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def told(day: int, *shas: str, **more: Any) -> deployments.Recorded:
    """Deployment number `day`, finished at noon of that day, with commits authored an hour before."""
    finished_at = NOON + timedelta(days=day)
    commits = [Commit(sha, finished_at - timedelta(hours=1)) for sha in shas]
    values = {"version": f"1.{day}", "sha": f"{day:040x}", "finished_at": finished_at, "commits": commits, **more}
    return deployments.record(service="web", environment="production", **values)


def standings() -> dict[tuple[str, str], str]:
    rows = DeployedCommit.objects.values_list("deployment__version", "sha", "standing")
    return {(version, sha): standing for version, sha, standing in rows}


@pytest.mark.django_db
class TestRecord:
    def test_it_is_one_row_when_told_twice(self) -> None:
        first = told(1, "a")
        again = told(1, "a", finished_at=None)

        assert (first.outcome, again.outcome) == ("created", "unchanged")
        assert Deployment.objects.get().finished_at == NOON + timedelta(days=1)
        assert DeployedCommit.objects.count() == 1

    def test_it_finishes_what_was_started(self) -> None:
        told(1, status="started", finished_at=None, started_at=NOON)
        ended = told(1, status="succeeded")

        assert ended.outcome == "updated"
        assert ended.deployment.started_at == NOON
        assert ended.deployment.status == "succeeded"

    def test_it_takes_the_graver_status_in_whatever_order_they_come(self) -> None:
        for number, order in enumerate(permutations(["started", "succeeded", "rolled_back"])):
            for status in order:
                deployments.record(service=f"web{number}", environment="production", version="1", status=status)
        assert set(Deployment.objects.values_list("status", flat=True)) == {"rolled_back"}
        assert Deployment.objects.filter(failure_recorded_at=None).count() == 0

    def test_it_refuses_a_rollback_by_the_name_of_the_way_there(self) -> None:
        told(1)
        told(2, external_id="mine", kind="rollback")
        with pytest.raises(InvalidDeployment) as caught:
            told(1, kind="rollback")
        [said] = (caught.value.errors or {})["external_id"]
        assert "is known as planned; give the rollback an external id of its own" in said
        assert told(2, external_id="mine", kind="rollback").outcome == "unchanged"

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"started_at": NOON + timedelta(days=2)}, "finished_at"),
            ({"status": "done"}, "status"),
            ({"kind": "sudden"}, "kind"),
            ({"version": "v" * 201}, "version"),
            ({"version": ""}, "version"),
            ({"url": "javascript:alert(1)"}, "url"),
            ({"commits": [Commit("", NOON)]}, "commits"),
        ],
    )
    def test_it_refuses_what_cannot_be(self, values: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidDeployment) as caught:
            told(1, **values)
        assert field in (caught.value.errors or {})
        assert not Deployment.objects.exists()

    def test_it_refuses_an_end_more_than_five_minutes_ahead(self) -> None:
        with pytest.raises(InvalidDeployment) as caught:
            told(1, finished_at=timezone.now() + timedelta(minutes=6))
        assert "finished_at" in (caught.value.errors or {})
        assert not Deployment.objects.exists()


@pytest.mark.django_db
class TestLeadTime:
    def test_it_does_not_count_the_first_deployment(self) -> None:
        told(1, "a")
        told(2, "b")
        assert standings() == {("1.1", "a"): Standing.FIRST_DEPLOYMENT, ("1.2", "b"): Standing.COUNTED}

    def test_it_counts_a_commit_once(self) -> None:
        told(1)
        told(2, "a", "b")
        told(3, "b", "c")
        assert standings()[("1.3", "b")] == Standing.ALREADY_DEPLOYED
        assert DeployedCommit.objects.filter(standing=Standing.COUNTED).count() == 3

    def test_it_moves_a_commit_to_the_deployment_that_turns_out_to_be_earlier(self) -> None:
        told(1)
        told(3, "a")
        told(2, "a")
        assert standings() == {("1.2", "a"): Standing.COUNTED, ("1.3", "a"): Standing.ALREADY_DEPLOYED}
        # What the histogram has counted stays counted, once.
        assert DeployedCommit.objects.filter(observed_lead_seconds__isnull=False).count() == 1

    def test_it_leaves_rollbacks_failures_and_the_unborn_out(self) -> None:
        told(1)
        told(2, "a", kind="rollback")
        told(3, "b", status="failed")
        told(4, commits=[Commit("c", NOON + timedelta(days=5))])
        told(5, "a", "b")
        assert standings() == {
            ("1.2", "a"): Standing.ROLLBACK,
            ("1.3", "b"): Standing.PENDING,
            ("1.4", "c"): Standing.NEGATIVE,
            ("1.5", "a"): Standing.COUNTED,
            ("1.5", "b"): Standing.COUNTED,
        }

    def test_it_hands_a_failed_deployments_commits_on(self) -> None:
        told(1)
        second = told(2, "a")
        told(3, "a")
        assert deployments.mark_failed(second.deployment)
        assert standings() == {("1.2", "a"): Standing.PENDING, ("1.3", "a"): Standing.COUNTED}

    @pytest.mark.parametrize("status", ["failed", "rolled_back"])
    def test_what_failed_and_was_built_upon_counts_where_it_was_mended(self, status: str) -> None:
        """The range of the fix begins at the failed commit, so that git does not name a and b there."""
        told(1)
        second = told(2, "a", "b").deployment
        told(3, "c", previous_sha=second.sha)
        told(4, kind="rollback", previous_sha=second.sha)
        deployments.mark_failed(second, status=status)

        assert standings() == {
            **{("1.2", sha): Standing.PENDING for sha in "ab"},
            **{("1.3", sha): Standing.COUNTED for sha in "abc"},
        }
        a = DeployedCommit.objects.get(deployment__version="1.3", sha="a")
        assert a.lead_seconds == 25 * 3600, "until the end of the deployment that shipped it"
        assert DeployedCommit.objects.filter(sha="a", observed_lead_seconds__isnull=False).count() == 1

    def test_it_is_the_same_where_the_failure_was_known_before(self) -> None:
        told(1)
        second = told(2, "a", status="failed").deployment
        told(3, "b", previous_sha=second.sha)
        assert standings() == {
            ("1.2", "a"): Standing.PENDING,
            ("1.3", "a"): Standing.COUNTED,
            ("1.3", "b"): Standing.COUNTED,
        }

    def test_a_way_back_ships_nothing_of_what_it_takes_back_whatever_it_is_called(self) -> None:
        first = told(1).deployment
        second = told(2, "a", "b").deployment
        told(3, sha=first.sha, previous_sha=second.sha)
        deployments.mark_failed(second, status="rolled_back")
        told(4, "a", "b", "c", previous_sha=first.sha)

        assert standings() == {
            **{("1.2", sha): Standing.PENDING for sha in "ab"},
            **{("1.4", sha): Standing.COUNTED for sha in "abc"},
        }

    def test_what_was_tried_again_with_success_is_not_given_to_the_next(self) -> None:
        told(1)
        failed = told(2, "b", "c", status="failed").deployment
        told(3, "b", "c", sha=failed.sha)
        told(4, "d", previous_sha=failed.sha)
        assert standings() == {
            **{("1.2", sha): Standing.PENDING for sha in "bc"},
            **{("1.3", sha): Standing.COUNTED for sha in "bc"},
            ("1.4", "d"): Standing.COUNTED,
        }

    def test_what_failed_counts_where_the_same_commit_was_deployed_again(self) -> None:
        """The second deployment of a commit has no range, so that git names nothing there."""
        told(1)
        second = told(2, "a").deployment
        told(3, sha=second.sha)
        told(4, "b", previous_sha=second.sha)
        deployments.mark_failed(second)
        assert standings() == {
            ("1.2", "a"): Standing.PENDING,
            ("1.3", "a"): Standing.COUNTED,
            ("1.4", "b"): Standing.COUNTED,
        }

    @pytest.mark.parametrize("order", [(2, 3), (3, 2)])
    def test_of_two_failures_in_a_row_the_third_ships_all(self, order: tuple[int, ...]) -> None:
        told(1)
        rows = {2: told(2, "a").deployment}
        rows[3] = told(3, "b", previous_sha=rows[2].sha).deployment
        told(4, "c", previous_sha=rows[3].sha)
        for number in order:
            deployments.mark_failed(rows[number])
        counted = DeployedCommit.objects.filter(standing=Standing.COUNTED)
        assert set(counted.values_list("deployment__version", "sha")) == {("1.4", sha) for sha in "abc"}


history = st.lists(
    st.tuples(
        st.integers(0, 9),  # the day it finished
        st.sampled_from(["succeeded", "succeeded", "failed", "rolled_back"]),
        st.sampled_from(["planned", "planned", "rollback"]),
        st.sets(st.sampled_from("abcdef"), max_size=4),
    ),
    max_size=7,
)


class OrderOfTelling(TestCase):
    @settings(
        max_examples=60 // FEWER,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(history=history, data=st.data())
    def test_it_does_not_matter(self, history: list[Any], data: st.DataObject) -> None:
        """Any history, told in its own order and in any other, some of it twice, stands the same."""
        numbered = list(enumerate(history))
        shuffled = data.draw(st.permutations(numbered + numbered[: len(numbered) // 2]))
        results = []
        for service, order in (("straight", numbered), ("shuffled", shuffled)):
            for number, (day, status, kind, shas) in order:
                finished_at = NOON + timedelta(days=day, seconds=number)
                deployments.record(
                    service=service,
                    environment="production",
                    version=str(number),
                    status=status,
                    kind=kind,
                    finished_at=finished_at,
                    commits=[Commit(sha, finished_at - timedelta(hours=1)) for sha in sorted(shas)],
                )
            rows = DeployedCommit.objects.filter(service=service)
            results.append(sorted(rows.values_list("deployment__version", "sha", "standing", "lead_seconds")))
            counted = rows.filter(standing=Standing.COUNTED).values_list("sha", flat=True)
            assert len(set(counted)) == len(counted)
            observed = rows.filter(observed_lead_seconds__isnull=False).values_list("sha", flat=True)
            assert len(set(observed)) == len(observed)
        assert results[0] == results[1]


class Shipping(TestCase):
    @settings(max_examples=150 // FEWER, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["deploy", "deploy", "fail"]),
                st.integers(1, 5),  # the commit that is deployed, or which deployment turns out to have failed
                st.sampled_from(["succeeded", "succeeded", "failed"]),
                st.sampled_from(["planned", "rollback"]),  # what ways back are called
            ),
            max_size=10,
        )
    )
    def test_each_commit_counts_at_the_first_that_shipped_it_and_stood(self, steps: list[Any]) -> None:
        """Against a line of commits that are their numbers: a deployment of n ships all from 2 to n."""
        told(1)
        made: list[tuple[int, Deployment]] = []
        for what, number, status, way_back in steps:
            if what == "fail" and made:
                _, row = made[number % len(made)]
                row.refresh_from_db()
                deployments.mark_failed(row, status="rolled_back")
            elif what == "deploy":
                last = deployments.previous_commit(service="web", environment="production", external_id="")
                previous = int(last, 16)
                if 1 < number < previous and number not in dict(made):
                    continue  # that it is older is known to git alone
                recorded = told(
                    len(made) + 2,
                    *(_sha(commit) for commit in range(previous + 1, number + 1)),
                    sha=_sha(number),
                    previous_sha="" if number == previous else last,
                    status=status,
                    kind=way_back if number < previous else "planned",
                )
                made.append((number, recorded.deployment))

        expected: dict[str, int] = {}
        standing = set(Deployment.objects.shipping().values_list("pk", flat=True))
        for number, row in made:
            assert set(row.commits.values_list("sha", flat=True)) <= set(map(_sha, range(2, number + 1)))
            if row.pk in standing:
                expected = {**{_sha(commit): row.pk for commit in range(2, number + 1)}, **expected}
        counted = DeployedCommit.objects.filter(standing=Standing.COUNTED)
        assert dict(counted.values_list("sha", "deployment")) == expected


def _sha(number: int) -> str:
    return f"{number:040x}"
