"""fail_deploy, open_incident, resolve_incident and link_incident."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from observability.delivery import deployments
from observability.delivery.models import Deployment, Incident, Pipeline
from observability.models import FactSample

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def deployed() -> Deployment:
    return deploy(external_id="run-1")


def deploy(**more: Any) -> Deployment:
    told: dict[str, Any] = {"service": "web", "environment": "production", "version": "1.0", "finished_at": NOON}
    return deployments.record(**{**told, **more}).deployment


def facts() -> list[Any]:
    return [sample for row in FactSample.objects.all() for sample in row.samples]


@pytest.mark.parametrize("name", ["run-1", "1.0"])
def test_a_deployment_failed_after_all(name: str, deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("fail_deploy", name, service="web")
    deployed.refresh_from_db()
    assert deployed.status == "failed"
    assert "failed (updated)" in capsys.readouterr().out
    assert ["deployment_failures_total", ["web", "production"], 1] in facts()


def test_a_deployment_was_rolled_back(deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("fail_deploy", "run-1", service="web", status="rolled_back")
    call_command("fail_deploy", "run-1", service="web")
    deployed.refresh_from_db()
    assert deployed.status == "rolled_back"
    assert "rolled_back (unchanged)" in capsys.readouterr().out


def test_an_unknown_deployment_is_named(deployed: Deployment) -> None:
    with pytest.raises(CommandError, match="web in staging has no deployment run-1"):
        call_command("fail_deploy", "run-1", service="web", environment="staging")


def test_a_version_deployed_twice_asks_which(deployed: Deployment) -> None:
    deploy(external_id="run-2")
    with pytest.raises(CommandError, match=r"(?s)Several.*run-2.*run-1"):
        call_command("fail_deploy", "1.0", service="web")
    assert not Deployment.objects.filter(status="failed").exists()


def test_one_that_has_not_finished_is_not_failed(deployed: Deployment) -> None:
    deploy(external_id="run-2", version="2", status="started", finished_at=None)
    with pytest.raises(CommandError, match=r"(?s)not finished.*Nothing was recorded"):
        call_command("fail_deploy", "2", service="web")


def test_an_incident_is_opened_linked_and_resolved(deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    call_command(
        "open_incident", "Slow pages", "--started", "2026-03-02T14:00:00+01:00", service="web", severity="critical"
    )
    number = re.findall(r"Incident (\d+) opened: Slow pages", capsys.readouterr().out)[0]
    assert ["incidents_open", ["web", "production", "critical"], 1] in facts()

    call_command("link_incident", number, deployment="run-1")
    call_command("resolve_incident", number, "--resolved", "2026-03-02T15:00:00Z")

    incident = Incident.objects.get(pk=number)
    assert incident.deployment == deployed
    assert incident.recovery_seconds == 2 * 3600
    said = capsys.readouterr().out
    assert "was caused by web 1.0 → production" in said
    assert "is resolved: 2026-03-02 15:00:00 UTC" in said


def test_a_link_is_taken_away(deployed: Deployment) -> None:
    call_command("open_incident", "Slow pages", service="web", deployment="run-1")
    incident = Incident.objects.get()
    assert incident.deployment == deployed
    call_command("link_incident", incident.pk, none=True)
    incident.refresh_from_db()
    assert incident.deployment is None


def test_a_link_goes_to_a_deployment_of_the_same_service() -> None:
    deploy(service="api", external_id="run-9")
    call_command("open_incident", "Slow pages", service="web")
    with pytest.raises(CommandError, match="web in production has no deployment run-9"):
        call_command("link_incident", Incident.objects.get().pk, deployment="run-9")


def test_an_incident_with_an_external_id_is_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        call_command("open_incident", "Slow pages", service="web", external_id="page-7")
    assert Incident.objects.count() == 1
    assert "was open already" in capsys.readouterr().out


def test_an_incident_with_an_unknown_cause_is_not_opened() -> None:
    with pytest.raises(CommandError, match="no deployment"):
        call_command("open_incident", "Slow pages", deployment="no-such")
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"started": datetime(2999, 1, 1, tzinfo=UTC)}, "future"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"title": " "}, "title"),
    ],
)
def test_an_incident_that_cannot_be_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        call_command("open_incident", values.pop("title", "Slow"), **values)
    assert "Nothing was recorded." in str(caught.value)
    assert not Incident.objects.exists()


def test_an_incident_resolved_twice_keeps_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("open_incident", "Slow", "--started", "2026-03-02T12:00:00Z")
    number = Incident.objects.get().pk
    call_command("resolve_incident", number, "--resolved", "2026-03-02T13:00:00Z")
    call_command("resolve_incident", number)
    assert Incident.objects.get().recovery_seconds == 3600
    assert "was already resolved" in capsys.readouterr().out


def test_an_incident_that_was_not_over_is_opened_again(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("open_incident", "Slow", "--started", "2026-03-02T12:00:00Z", service="web")
    number = Incident.objects.get().pk
    call_command("resolve_incident", number, "--resolved", "2026-03-02T13:00:00Z")
    assert ["incidents_reopened_total", ["web", "production"], 0] in facts()

    call_command("reopen_incident", number)
    call_command("reopen_incident", number)

    assert "is open again" in capsys.readouterr().out
    assert ["incidents_reopened_total", ["web", "production"], 1] in facts()
    assert ["incidents_open", ["web", "production", "warning"], 1] in facts()
    call_command("resolve_incident", number, "--resolved", "2026-03-02T14:00:00Z")
    assert Incident.objects.get().recovery_seconds == 2 * 3600


def test_what_was_counted_of_a_recovery_stays_counted(deployed: Deployment) -> None:
    call_command("open_incident", "Slow", "--started", "2026-03-02T12:00:00Z", service="web", deployment="run-1")
    number = Incident.objects.get().pk
    for end in ("13", "14"):
        call_command("resolve_incident", number, "--resolved", f"2026-03-02T{end}:00:00Z")
        call_command("reopen_incident", number)
    assert Incident.objects.get().observed_recovery_seconds == 3600


def test_an_external_id_that_looks_like_an_alerts_is_refused() -> None:
    with pytest.raises(CommandError, match=r"(?s)external_id.*Alertmanager.*Nothing was recorded"):
        call_command("open_incident", "Slow", external_id="0123456789abcdef")
    assert not Incident.objects.exists()


@pytest.mark.parametrize("names", [{"service": "shop"}, {"environment": "review/7"}])
def test_a_pipeline_outside_of_the_lists_is_not_made(names: dict[str, str], settings: Any) -> None:
    settings.DEPLOY_SERVICES, settings.DEPLOY_ENVIRONMENTS = ["web"], ["production", "staging"]
    pipeline = {"service": "web", "environment": "production", **names}
    with pytest.raises(CommandError, match=r"(?s)Is none of .*(DEPLOY_SERVICES|DEPLOY_ENVIRONMENTS)"):
        call_command("open_incident", "Slow", **pipeline)
    with pytest.raises(CommandError, match=r"(?s)Is none of .*(DEPLOY_SERVICES|DEPLOY_ENVIRONMENTS)"):
        call_command("record_deploy", "--no-commits", "--commit", "a" * 40, version="1", **pipeline)
    assert not Pipeline.objects.exists()


def test_eight_digits_are_a_date() -> None:
    call_command("open_incident", "Slow", "--started", "20260302")
    assert Incident.objects.get().started_at == datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("time", ["2026030", "1999-12-31", "0"])
def test_a_time_before_2000_is_a_mistake(time: str) -> None:
    with pytest.raises(CommandError, match="before anything here can have been"):
        call_command("open_incident", "Slow", "--started", time)
    assert not Incident.objects.exists()


def test_an_incident_does_not_end_before_it_began() -> None:
    call_command("open_incident", "Slow", "--started", "2026-03-02T12:00:00Z")
    with pytest.raises(CommandError, match="before the start"):
        call_command("resolve_incident", Incident.objects.get().pk, "--resolved", "2026-03-02T11:00:00Z")
    assert Incident.objects.get().resolved_at is None


@pytest.mark.parametrize("arguments", [("resolve_incident", "99"), ("link_incident", "99", "--none")])
def test_an_unknown_incident_is_answered_with_those_that_are_open(arguments: tuple[str, ...]) -> None:
    call_command("open_incident", "Slow pages")
    with pytest.raises(CommandError, match=r"(?s)no incident 99.*Slow pages"):
        call_command(*arguments)
