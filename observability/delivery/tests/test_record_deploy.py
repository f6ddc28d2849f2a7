"""manage.py record_deploy inside a CI: what it finds by itself."""

import json
import os
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from observability.delivery import ci
from observability.delivery.models import Deployment

from .test_ci import BUILDKITE, CIRCLECI, GITHUB, GITLAB, JENKINS, SHA

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs these tests is not what they are about."""
    for name in [*ci.SYSTEMS, "DEPLOY_ENVIRONMENT", "DEPLOY_TOKEN", "DEPLOY_TOKEN_FILE"]:
        monkeypatch.delenv(name, raising=False)


def inside(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("variables", [GITHUB, GITLAB, JENKINS, CIRCLECI, BUILDKITE])
def test_a_ci_needs_to_tell_nothing_else(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, variables)

    call_command("record_deploy", "--no-commits")

    row, run = Deployment.objects.get(), ci.run(variables)
    assert (row.sha, row.version, row.external_id) == (SHA, "v1.4.0", run.external_id)
    assert (row.url, row.actor) == (run.url, run.actor)
    assert row.url
    assert row.actor
    assert row.environment == (run.environment or "production")


def test_what_is_told_wins_over_what_ci_says(monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, GITLAB)
    told = {
        "version": "2.0",
        "external_id": "mine",
        "environment": "production",
        "actor": "sam",
        "url": "https://x.example",
    }

    call_command("record_deploy", "--no-commits", **told)

    row = Deployment.objects.get()
    assert {name: getattr(row, name) for name in told} == told


def test_our_own_variable_wins_over_cis_environment(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    inside(monkeypatch, {**GITLAB, "DEPLOY_ENVIRONMENT": "canary"})
    settings.DEPLOY_ENVIRONMENT = "canary"
    call_command("record_deploy", "--no-commits")
    assert Deployment.objects.get().environment == "canary"


def test_cis_tag_does_not_name_another_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, GITHUB)
    call_command("record_deploy", "--no-commits", "--version", "3.0", "--commit", "b" * 40)
    row = Deployment.objects.get()
    assert (row.version, row.sha) == ("3.0", "b" * 40)


def test_a_run_is_recorded_as_started_and_finished_later(monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, GITHUB)
    call_command("record_deploy", "--no-commits", "--status", "started", "--started", "2026-03-02T12:00:00+05:30")
    assert Deployment.objects.get().finished_at is None

    call_command("record_deploy", "--no-commits", "--finished", "1772442000")

    row = Deployment.objects.get()
    assert row.status == "succeeded"
    assert row.started_at and row.finished_at  # noqa: PT018 - both, for the type checker
    assert (row.started_at.isoformat(), row.finished_at.isoformat()) == (
        "2026-03-02T06:30:00+00:00", "2026-03-02T09:00:00+00:00",
    )  # fmt: skip


def test_the_same_commit_may_be_deployed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in ("1", "2"):
        inside(monkeypatch, {**GITHUB, "GITHUB_RUN_ATTEMPT": attempt})
        call_command("record_deploy", "--no-commits")
    assert list(Deployment.objects.values_list("sha", "previous_sha")) == [(SHA, ""), (SHA, "")]


def test_a_remote_needs_a_token() -> None:
    with pytest.raises(CommandError, match=r"(?s)Set DEPLOY_TOKEN.*Nothing was recorded"):
        call_command("record_deploy", "--no-commits", "--remote", "http://127.0.0.1:1")
    assert not Deployment.objects.exists()


def test_it_shows_what_it_found_without_recording(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside(monkeypatch, CIRCLECI)
    call_command("record_deploy", "--no-commits", "--dry-run", "--json")
    assert json.loads(capsys.readouterr().out)["sha"] == SHA
    assert not Deployment.objects.exists()


def test_times_in_json_are_iso_8601(capsys: pytest.CaptureFixture[str]) -> None:
    told = ("--no-commits", "--commit", SHA, "--version", "1", "--started", "2026-03-02T12:00:00Z")
    call_command("record_deploy", *told, "--finished", "2026-03-02T12:05:00Z", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert (answer["started_at"], answer["finished_at"]) == ("2026-03-02T12:00:00Z", "2026-03-02T12:05:00Z")


def test_the_environment_is_the_processs_own() -> None:
    assert ci.variables() == os.environ
