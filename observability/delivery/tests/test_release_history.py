"""A public project's releases, told by every door: the same rows, and the figures of an independent computation."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from django.core.management import call_command
from django.test import TestCase

from bambisleep.tests.client import AsgiClient
from observability.delivery import deployments, facts, measures, tokens
from observability.delivery.deployments import Commit
from observability.delivery.models import DeployedCommit, Deployment, Pipeline
from observability.delivery.tests import independent

FILE = Path(__file__).parent / "data" / "release-history.jsonl"
RELEASES = independent.read(FILE)
EXPECTED = independent.judged(RELEASES)
WINDOWS = independent.windows(EXPECTED)
PIPELINE = {"service": "bambisleep", "environment": "production"}

Rows = tuple[list[Any], list[Any]]


def rows() -> Rows:
    """Every deployment and every deployed commit, but for their ids and for when they were recorded."""
    recorded = Deployment.objects.order_by("service", "environment", "external_id").values_list(
        "service", "environment", "version", "sha", "external_id", "status", "kind", "started_at", "finished_at", "url",
        "previous_sha", "failure_recorded_at",
    )  # fmt: skip
    commits = DeployedCommit.objects.order_by("service", "environment", "deployment__external_id", "sha").values_list(
        "service", "environment", "deployment__external_id", "sha", "authored_at", "deployed_at", "lead_seconds",
        "standing",
    )  # fmt: skip
    return list(recorded), list(commits)


def tell(releases: list[dict[str, Any]]) -> list[str]:
    """Each outcome of recording them in this order."""
    return [
        deployments.record(
            **PIPELINE,
            version=release["version"],
            sha=release["sha"],
            finished_at=datetime.fromisoformat(release["deployed_at"]),
            commits=[
                Commit(commit["sha"], datetime.fromisoformat(commit["authored_at"])) for commit in release["commits"]
            ],
        ).outcome
        for release in releases
    ]


def post(releases: list[dict[str, Any]]) -> list[int]:
    """Each status of posting them in this order."""
    _, raw = tokens.issue(name="the pipeline", scopes=["deployments:write"])
    client = AsgiClient()
    headers = {"Authorization": f"Bearer {raw}"}
    return [client.post("/dora/deployments", json=release, headers=headers).status for release in releases]


def measured(start: datetime, end: datetime) -> dict[str, Any]:
    """What the product says of the window, reduced to what the independent computation tells."""
    found = measures.compute(**PIPELINE, window=measures.Window(start, end), trends=False)
    frequency, lead_time = found["deployment_frequency"], found["change_lead_time"]
    return {
        "deployment_frequency": {name: getattr(frequency, name) for name in ("value", "samples", "excluded")},
        "change_lead_time": {name: getattr(lead_time, name) for name in ("value", "p90", "samples", "excluded")},
    }


def nearly(figures: dict[str, Any]) -> dict[str, Any]:
    """The same, but for the last bits of a float."""
    return {
        name: {key: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value for key, value in of.items()}
        for name, of in figures.items()
    }


class ReleaseHistory(TestCase):
    """Recorded once in the file's order; a test that tells it otherwise starts from nothing."""

    in_order: ClassVar[Rows]

    @classmethod
    def setUpTestData(cls) -> None:
        tell(RELEASES)
        cls.in_order = rows()

    def forget(self) -> None:
        Deployment.objects.all().delete()
        Pipeline.objects.all().delete()
        assert rows() == ([], [])

    def told_again(self, act: Callable[[], object]) -> None:
        """What `act` records from nothing is the same rows."""
        self.forget()
        act()
        assert rows() == self.in_order

    def test_it_is_what_the_file_holds(self) -> None:
        recorded, commits = self.in_order
        standings = Counter(row[-1] for row in commits)

        assert (len(recorded), len(commits)) == (110, 4417)
        assert standings["already_deployed"] == 748
        assert standings["counted"] + standings["negative"] == 4417 - 748
        assert Counter(row.standing for row in EXPECTED.brought) == standings

    def test_two_releases_of_one_commit_are_two_deployments_and_one_may_be_called_percent_s(self) -> None:
        first = {row[2]: row[4] for row in self.in_order[0] if row[3].startswith("2818e7c2")}
        assert set(first) == {"%s", "0.1.1"}
        assert len(set(first.values())) == 2

    def test_told_in_reverse_it_is_the_same(self) -> None:
        self.told_again(lambda: tell(RELEASES[::-1]))
        # The histogram is append-only: it keeps what it saw first of each commit, and sees each commit once.
        observed = DeployedCommit.objects.filter(observed_lead_seconds__isnull=False).values_list("sha", flat=True)
        assert len(observed) == len(set(observed))

    def test_told_in_any_order_it_is_the_same(self) -> None:
        shuffled = random.Random(3).sample(RELEASES, len(RELEASES))
        self.told_again(lambda: tell(shuffled))

    def test_told_twice_it_is_the_same(self) -> None:
        assert set(tell(RELEASES)) == {"unchanged"}
        assert rows() == self.in_order

    def test_half_of_it_told_and_then_all_in_reverse_it_is_the_same(self) -> None:
        self.told_again(lambda: tell(RELEASES[:55]) + tell(RELEASES[::-1]))

    def test_posted_over_http_it_is_the_same(self) -> None:
        statuses: list[int] = []
        self.told_again(lambda: statuses.extend(post(RELEASES)))
        assert set(statuses) == {201}

    def test_posted_once_more_it_changes_nothing(self) -> None:
        assert set(post(RELEASES[::-1])) == {200}
        assert rows() == self.in_order

    def test_imported_it_is_the_same(self) -> None:
        self.told_again(lambda: call_command("import_deploys", str(FILE), stdout=StringIO(), stderr=StringIO()))

    def test_recorded_by_the_command_it_is_the_same_but_that_it_finds_the_previous_commits(self) -> None:
        self.forget()
        with TemporaryDirectory() as directory:
            for release in RELEASES:
                commits = Path(directory) / "commits"
                commits.write_text("".join(f"{each['sha']} {each['authored_at']}\n" for each in release["commits"]))
                call_command(
                    "record_deploy",
                    f"--version={release['version']}",
                    f"--commit={release['sha']}",
                    f"--finished={release['deployed_at']}",
                    f"--commits-from={commits}",
                    stdout=StringIO(),
                )
        recorded, commits_recorded = rows()
        previous = 10  # the column
        assert commits_recorded == self.in_order[1]
        assert [row[:previous] + row[previous + 1 :] for row in recorded] == [
            row[:previous] + row[previous + 1 :] for row in self.in_order[0]
        ]
        assert sum(row[previous] != "" for row in recorded) == 108  # not the first, nor the one of the same commit

    def test_imported_twice_it_is_the_same(self) -> None:
        call_command("import_deploys", str(FILE), stdout=StringIO(), stderr=StringIO())
        assert rows() == self.in_order

    def test_every_figure_equals_the_independent_computation(self) -> None:
        for start, end in WINDOWS:
            with self.subTest(start=start, end=end):
                assert measured(start, end) == nearly(EXPECTED.figures(start, end))

    def test_the_windows_hold_something_nothing_and_exclusions_of_two_kinds(self) -> None:
        """So that the comparison above compares."""
        found = [EXPECTED.figures(start, end)["change_lead_time"] for start, end in WINDOWS]
        assert any(lead_time["samples"] == 0 for lead_time in found)
        assert any(lead_time["samples"] > 1000 for lead_time in found)
        assert found[0]["excluded"]["already_deployed"] == 748
        assert sum(lead_time["samples"] > 0 for lead_time in found[1:16]) == 13

    def test_a_window_that_no_day_bounds_takes_its_first_instant_and_leaves_its_last(self) -> None:
        for at in EXPECTED.times[::9]:
            for start, end in ((at - timedelta(days=30), at), (at, at + timedelta(days=30))):
                with self.subTest(start=start, end=end):
                    assert measured(start, end) == nearly(EXPECTED.figures(start, end))

    def test_the_trend_is_the_difference_of_two_independent_figures(self) -> None:
        for year in range(2014, 2027):
            start, end = (datetime(each, 1, 1, tzinfo=UTC) for each in (year, year + 1))
            now, before = EXPECTED.figures(start, end), EXPECTED.figures(start - (end - start), start)
            found = measures.compute(**PIPELINE, window=measures.Window(start, end))
            for name in now:
                pair = (now[name]["value"], before[name]["value"])
                expected = None if None in pair else pytest.approx(pair[0] - pair[1], rel=1e-9, abs=1e-12)
                with self.subTest(year=year, name=name):
                    assert found[name].trend == expected

    def test_dora_answers_with_the_same_figures(self) -> None:
        client = AsgiClient()
        for start, end in WINDOWS:
            last = (end - timedelta(days=1)).date()
            if (end - start).days > 3660:
                continue
            answer = client.get("/dora", query=f"from={start.date()}&to={last}").json["measures"]
            for name, figures in nearly(EXPECTED.figures(start, end)).items():
                with self.subTest(start=start, end=end, name=name):
                    assert {key: answer[name][key] for key in figures} == figures

    def test_what_nobody_recorded_is_null_and_not_zero(self) -> None:
        found = measures.compute(**PIPELINE, window=measures.Window(*WINDOWS[0]))
        assert found["change_fail_rate"].value == 0.0  # 110 deployments, of which none is known to have failed
        assert found["failed_deployment_recovery_time"].value is None
        assert found["failed_deployment_recovery_time"].reason

    def test_the_histogram_has_the_same_buckets(self) -> None:
        assert facts.DURATIONS == independent.BOUNDS
        by_pipeline = {sample.labels: sample.value for sample in facts.lead_times()}
        counts, total = by_pipeline["bambisleep", "production"]  # type: ignore[misc]
        expected_counts, expected_total = EXPECTED.histogram()
        assert counts == expected_counts
        assert total == pytest.approx(expected_total, rel=1e-12)
