"""manage.py dora_report: the measures as /dora answers them."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from observability.delivery import deployments
from observability.delivery.deployments import Commit

if TYPE_CHECKING:
    from bambisleep.tests.client import AsgiClient

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def deploy(number: int, at: datetime, **more: Any) -> None:
    commit = Commit(f"{number:040x}", at - timedelta(hours=3))
    deployments.record(
        service="web", environment="production", version=str(number), finished_at=at, commits=[commit], **more
    )


def report(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    call_command("dora_report", "--service", "web", *options)
    return capsys.readouterr().out


def test_json_is_what_the_endpoint_answers(asgi: "AsgiClient", capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        deploy(number, NOON + timedelta(days=number), status="failed" if number == 3 else "succeeded")
    days = {"from": "2026-03-11", "to": "2026-03-13"}

    told = json.loads(report(capsys, "--from", days["from"], "--to", days["to"], "--json"))

    answer = asgi.get("/dora", query=f"service=web&from={days['from']}&to={days['to']}").json
    assert told == answer
    assert told["measures"]["change_fail_rate"]["value"] == pytest.approx(1 / 3)


def test_people_read_values_tiers_trends_and_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    deploy(1, NOON)
    deploy(2, NOON + timedelta(days=1))
    deploy(3, NOON + timedelta(days=1, hours=1))

    said = report(capsys, "--from", "2026-03-11", "--to", "2026-03-11")

    rows = {line[:31].strip(): line[31:].split("  ") for line in said.splitlines()}
    frequency = [cell.strip() for cell in rows["deployment frequency"] if cell.strip()]
    assert frequency[:4] == ["2 a day", "–", "+1 a day", "2"]
    assert "(20" in frequency[4], "a tier carries its year"
    lead_time = [cell.strip() for cell in rows["change lead time"] if cell.strip()]
    assert lead_time[:4] == ["3.0 hours", "3.0 hours", "–", "2"]
    assert "failed deployment recovery time: no resolved incident caused by a change" in said


def test_what_was_left_out_is_counted_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    deploy(1, NOON)
    assert "excluded: 1 first deployment" in report(capsys, "--from", "2026-03-10", "--to", "2026-03-10")


def test_without_data_nothing_is_zero(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(report(capsys, "--json", "--days", "7"))
    assert {measure["value"] for measure in told["measures"].values()} == {None}
    assert told["window"]["days"] == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "2026-03-11"), "both --from and --to"),
        (("--from", "2026-03-11", "--to", "2026-03-10"), "before"),
        (("--from", "2026-03-11", "--to", "2026-03-12", "--days", "3"), "--days"),
        (("--from", "1990-03-11", "--to", "2026-03-12"), "longer than"),
        (("--days", "0"), "--days"),
        (("--from", "soon", "--to", "2026-03-12"), "--from"),
    ],
)
def test_a_window_that_cannot_be_is_refused(options: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("dora_report", *options)
