"""manage.py prune: what it says, what it records, and that no counter of /metrics falls by it."""

from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import OutgoingMail, User
from bambisleep.tests.objects import objects_of
from content.models import Opening, Viewing
from observability import retention
from observability.facts import METRICS
from observability.models import FactSample, MaintenanceTask, SecurityEvent
from observability.refresh import refresh
from observability.retention import KEPT

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    output, errors = StringIO(), StringIO()
    call_command("prune", *arguments, stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


def old_events(number: int) -> None:
    at = timezone.now() - timedelta(days=100)
    SecurityEvent.objects.bulk_create(SecurityEvent(at=at, type="bad_host") for _ in range(number))


def counted() -> dict[tuple[str, ...], float]:
    """Every series of a fact that only grows: counters, and the buckets and sums of histograms."""
    refresh(force=True)
    found: dict[tuple[str, ...], float] = {}
    for fact in FactSample.objects.all():
        assert not fact.error
        for name, labels, value in fact.samples:
            if METRICS[name].kind == "counter":
                found[name, *labels] = value
            elif METRICS[name].kind == "histogram":
                found |= {(name, *labels, str(bucket)): number for bucket, number in enumerate(value[0])}
                found[name, *labels, "sum"] = value[1]
    return found


def test_no_counter_falls_however_much_goes(settings: Any) -> None:
    member = User.objects.create_user("mara", "mara@example.org", "a long enough phrase")
    things = objects_of(owner=member)
    now = timezone.now()
    Opening.objects.create(item=things.item, day=now.date(), user=member, number=2)
    for kept in KEPT.values():
        if kept.days:
            setattr(settings, kept.days, 1)
    before = counted()
    assert sum(before.values()) > 0
    assert before["video_stream_duration_seconds", "sum"] > 0
    steps = list(retention.prune(KEPT, now=now + timedelta(days=4000)))
    assert not [step.error for step in steps if step.error]
    gone = {step.kept.name: step.number for step in steps if step.is_done}
    for name in ("security-events", "failed-sign-ins", "refresh-families", "mails", "viewers", "uploads"):
        assert gone[name], name
    assert not Viewing.objects.filter(user=member).exists()
    after = counted()
    assert {series: value for series, value in before.items() if after.get(series, 0) < value} == {}


def test_it_says_what_went_and_records_that_it_ran() -> None:
    old_events(3)
    output, errors = run()
    assert output == "security-events: 3 gone\n"
    assert errors == "3 in all are gone.\n"
    task = MaintenanceTask.objects.get(task="prune")
    assert task.succeeded_at is not None
    assert task.detail == "3 rows and files"
    assert ["maintenance_last_success_timestamp_seconds", ["prune"], task.succeeded_at.timestamp()] in [
        sample for row in FactSample.objects.all() for sample in row.samples
    ]


def test_a_dry_run_deletes_nothing_and_is_not_recorded() -> None:
    old_events(3)
    assert run("--dry-run") == ("security-events: 3 would go\n", "3 in all would go.\n")
    assert SecurityEvent.objects.count() == 3
    assert not MaintenanceTask.objects.exists()


def test_only_what_is_named_goes_and_that_is_no_whole_run() -> None:
    old_events(3)
    at = timezone.now() - timedelta(days=100)
    OutgoingMail.objects.create(recipients=["a@example.org"], sender="b@example.org", subject="Hi", created_at=at)
    assert run("--only", "mails")[0] == "mails: 1 gone\n"
    assert SecurityEvent.objects.count() == 3
    assert not MaintenanceTask.objects.exists()


def test_the_list_names_all_with_how_long_and_what() -> None:
    output, _ = run("--list")
    lines = output.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(KEPT)
    assert "90 days (SECURITY_EVENTS_DAYS)" in output
    assert "for ever (CHAT_HISTORY_DAYS)" in output


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(CommandError, match="viewers"):
        run("--only", "everything")


def test_what_could_not_be_finished_is_named_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(before: Any) -> Any:
        raise ValueError("That table is broken.")

    old_events(3)
    monkeypatch.setitem(KEPT, "broken", retention.Kept("broken", "", "", timedelta(0), broken))
    errors = StringIO()
    with pytest.raises(CommandError, match="Not finished: broken"):
        call_command("prune", stdout=StringIO(), stderr=errors)
    assert "broken: ValueError: That table is broken." in errors.getvalue()
    assert not SecurityEvent.objects.exists()
    task = MaintenanceTask.objects.get(task="prune")
    assert task.succeeded_at is None
    assert "Not finished: broken" in task.error


def test_ctrl_c_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(before: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(KEPT, "slow", retention.Kept("slow", "", "", timedelta(0), interrupted))
    with pytest.raises(CommandError, match="Run it again to go on") as ended:
        run()
    assert ended.value.returncode == 130


def test_every_setting_that_says_how_long_is_one_of_the_settings(settings: Any) -> None:
    for kept in KEPT.values():
        assert not kept.days or isinstance(getattr(settings, kept.days), int)


def test_files_in_a_bucket_go_only_where_they_are_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be another installation's, or of a database yet to be restored; and no backup holds them."""
    asked: list[str] = []

    def counted(before: Any) -> Any:
        asked.append("library-files")
        return iter(())

    files = KEPT["library-files"]
    monkeypatch.setitem(KEPT, "library-files", replace(files, outdated=counted))
    run()
    assert asked == ["library-files"]
    settings.LIBRARY_BUCKET = "films"
    run()
    assert asked == ["library-files"]
    assert "until --only library-files" in run("--list")[0]
    run("--only", "library-files")
    assert asked == ["library-files"] * 2
