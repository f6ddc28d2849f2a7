"""What `manage.py doctor` finds of the site itself: settings, people, this machine, what has to be done regularly."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.core.management import call_command
from django.utils import timezone

from accounts.models import User
from bambisleep.doctor import (
    clocks,
    configuration,
    machine,
    people,
    upkeep,
)
from bambisleep.doctor.findings import Level
from bambisleep.tests.diagnosis import levels, worst
from content.tests import rows as library
from observability.models import FactSample, MaintenanceTask
from observability.refresh import refresh
from payments.tests.conftest import stripe_standin  # noqa: F401 - a fixture

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


# --- Settings ---


@pytest.mark.django_db
def test_the_systems_checks_are_findings(settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    found = levels(configuration.settings_are_good())
    assert found["/metrics answers without a token. (observability.W001)"] == "warning"
    assert found["STRIPE_SECRET_KEY is not set: plans are shown, and nothing can be bought. (payments.W002)"] == "note"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({"PUBLIC_URL": "https://elsewhere.example"}, Level.ERROR, "ALLOWED_HOSTS does not hold elsewhere.example"),
        ({"HTTPS": True}, Level.WARNING, "PUBLIC_URL begins with http"),
        ({"HTTPS": True}, Level.WARNING, "TRUSTED_PROXIES is 0"),
        ({"SECRET_KEY_FALLBACKS": ["x" * 50]}, Level.NOTE, "Former keys"),
        ({"DEBUG": True}, Level.NOTE, "DEBUG is on"),
    ],
)
def test_settings_that_do_not_fit_together(changed: dict[str, Any], level: Level, said: str, settings: Any) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    assert level in [finding.level for finding in configuration.settings_are_good() if said in finding.text]


@pytest.mark.parametrize(
    ("contact", "days", "level"),
    [
        ("", 0, Level.WARNING),
        ("mailto:a@example.org", None, Level.OK),
        ("mailto:a@example.org", 60, Level.OK),
        ("mailto:a@example.org", 20, Level.WARNING),
        ("mailto:a@example.org", -3, Level.WARNING),
    ],
)
def test_whom_to_tell_of_a_hole(contact: str, days: int | None, level: Level, settings: Any) -> None:
    settings.SECURITY_CONTACT = contact
    last = timezone.now().date() + timedelta(days=days or 0)
    settings.SECURITY_CONTACT_EXPIRES = "" if days is None else last.isoformat()
    assert worst(configuration.somebody_can_be_told()).level == level


def test_static_files_that_were_not_collected_or_are_old(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    assert "no staticfiles.json" in worst(configuration.static_files_are_collected()).text
    call_command("collectstatic", interactive=False, verbosity=0)
    (tmp_path / "staticfiles.json").write_text("{}")
    assert worst(configuration.static_files_are_collected()).level == Level.OK
    (tmp_path / "site.css").write_text("old")
    found = worst(configuration.static_files_are_collected())
    assert found.level == Level.WARNING
    assert found.text.startswith("1 of our own")
    assert "site.css" in found.text


# --- People ---


@pytest.mark.django_db
def test_somebody_has_to_be_in_charge_with_more_than_a_password(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    assert "no superuser" in worst(people.somebody_is_in_charge()).text
    sam = User.objects.create_superuser("sam", "sam@example.org", "a long enough phrase")
    assert "1 of 1 superusers" in worst(people.somebody_is_in_charge()).text
    sam.authenticator_set.create(type="totp", data={})
    assert worst(people.somebody_is_in_charge()).level == Level.OK
    (tmp_path / "admin-password").write_text("a password that is not shown")
    found = worst(people.somebody_is_in_charge())
    assert found.level == Level.WARNING
    assert "admin-password" in found.text
    assert "not shown" not in found.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("addresses", "level"),
    [
        (["10.0.0.1"] * 25, Level.WARNING),
        (["10.0.0.1"] * 24 + ["192.0.2.7"], Level.WARNING),  # documentation's, as private as the others
        (["10.0.0.1"] * 24 + ["8.8.8.8"], Level.OK),
        (["10.0.0.1"] * 5, Level.OK),
    ],
)
def test_proxies_that_are_taken_for_clients(addresses: list[str], level: Level, member: User) -> None:
    UserSession.objects.bulk_create(
        UserSession(user=member, ip=address, session_key=f"key-{number}") for number, address in enumerate(addresses)
    )
    assert worst(people.clients_are_told_apart()).level == level


# --- Clocks ---


@pytest.mark.parametrize(
    ("seconds", "level", "said"),
    [
        (0, Level.OK, "agrees"),
        (1.5, Level.OK, "agrees"),
        (-1.5, Level.OK, "agrees"),
        (10, Level.WARNING, "10 seconds ahead"),
        (-10, Level.WARNING, "10 seconds behind"),
        (3600, Level.ERROR, "3600 seconds ahead"),
        (-3600, Level.ERROR, "3600 seconds behind"),
    ],
)
def test_a_clock_is_compared(seconds: float, level: Level, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks.timezone, "now", lambda: NOW)
    found = clocks.compared("Theirs:", NOW + timedelta(seconds=seconds), asked_at=NOW)
    assert found.level == level
    assert said in found.text


def test_an_answer_that_took_long_is_no_clock_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks.timezone, "now", lambda: NOW)
    asked_at = NOW - timedelta(seconds=20)
    for ago in (20.9, 10, 0):
        theirs = NOW - timedelta(seconds=ago)
        assert clocks.compared("Its", theirs, asked_at=asked_at, exact_to_seconds=1).level == Level.OK


# --- This machine ---


@pytest.mark.parametrize(("soft", "level"), [(200, Level.ERROR), (2000, Level.NOTE), (65536, Level.OK)])
def test_how_many_files_may_be_open(soft: int, level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (soft, soft))
    assert worst(machine.descriptors_are_enough()).level == level


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [(0.5, 0.5, Level.OK), (0.08, 0.5, Level.WARNING), (0.5, 0.08, Level.WARNING), (0.02, 0.5, Level.ERROR),
     (0.5, 0.02, Level.ERROR)],
)  # fmt: skip
def test_how_much_room_there_is(
    free: float, inodes: float, level: Level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk(_: Any) -> os.statvfs_result:
        blocks, left = int(2**28 * free), int(1000 * inodes)
        told = [4096, 4096, 2**28, blocks, blocks, 1000, left, left]
        return os.statvfs_result([*told, 0, 255])

    tmp_path.chmod(0o750)
    monkeypatch.setattr(machine.os, "statvfs", disk)
    assert worst(machine._directory("DATA_DIR", tmp_path)).level == level


def test_directories_that_everybody_reads_or_that_are_on_one_disk(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = settings.LIBRARY_DIR = settings.BACKUP_DIR = tmp_path
    tmp_path.chmod(0o755)
    found = levels(machine.disks_have_room())
    assert any("Everybody on this machine" in text for text in found)
    assert found["BACKUP_DIR is on the disk of DATA_DIR: who loses the one loses both."] == "warning"
    tmp_path.chmod(0o750)
    assert not any("Everybody on this machine" in text for text in levels(machine.disks_have_room()))


def test_versions_are_told_and_an_old_django_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(iter(machine.versions_are_supported())).text.startswith("Python 3.")
    monkeypatch.setattr(machine, "DJANGO_SUPPORTED_UNTIL", {machine.django.VERSION[:2]: date(2020, 1, 1)})
    assert worst(machine.versions_are_supported()).level == Level.WARNING


# --- What has to be done again and again ---


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "level", "said"),
    [
        (None, Level.WARNING, "backup was never run"),
        ({"succeeded_at": timedelta(hours=3), "detail": "1.2 GiB"}, Level.OK, "3 hours ago (1.2 GiB)"),
        ({"succeeded_at": timedelta(hours=30)}, Level.WARNING, "Overdue: backup succeeded 30 hours ago"),
        (
            {"succeeded_at": timedelta(hours=30), "error": "OSError: disk full"},
            Level.ERROR,
            "OSError: disk full",
        ),
        ({"error": "OSError: disk full"}, Level.ERROR, "backup failed when it was run last: OSError"),
    ],
)
def test_when_the_last_backup_was(values: dict[str, Any] | None, level: Level, said: str) -> None:
    now = timezone.now()
    if values is not None:
        if "succeeded_at" in values:
            values = {**values, "succeeded_at": now - values["succeeded_at"]}
        MaintenanceTask.objects.create(task="backup", started_at=now, **values)
    (found,) = [finding for finding in upkeep.chores_are_done() if "backup" in finding.text]
    assert found.level == level
    assert said in found.text


@pytest.mark.django_db
def test_the_comparison_with_stripe_matters_only_where_there_is_stripe(settings: Any) -> None:
    assert not any("reconcile_stripe" in finding.text for finding in upkeep.chores_are_done())
    settings.STRIPE_SECRET_KEY = "sk_test_" + "a" * 24
    assert any("reconcile_stripe" in finding.text for finding in upkeep.chores_are_done())


@pytest.mark.django_db
def test_facts_that_are_fresh_old_failing_or_not_there() -> None:
    assert "None was ever computed" in worst(upkeep.facts_are_fresh()).text
    refresh()
    assert worst(upkeep.facts_are_fresh()).level == Level.OK
    FactSample.objects.filter(fact="users").update(checked_at=timezone.now() - timedelta(minutes=10))
    assert "10 minutes ago" in worst(upkeep.facts_are_fresh()).text
    FactSample.objects.filter(fact="users").update(error="no such table")
    assert worst(upkeep.facts_are_fresh()).text == "users fails: no such table"


@pytest.mark.django_db
def test_files_of_the_library_that_are_gone(settings: Any, tmp_path: Path) -> None:
    options = {"location": str(tmp_path)}
    settings.STORAGES = {**settings.STORAGES, "library": {**settings.STORAGES["library"], "OPTIONS": options}}
    assert worst(upkeep.files_are_there()).text == "It is empty."
    here, gone = library.media(None), library.media(None)
    assert worst(upkeep.files_are_there()).level == Level.OK
    (tmp_path / gone.name).unlink()
    found = worst(upkeep.files_are_there())
    assert (found.level, gone.name in found.text, here.name in found.text) == (Level.ERROR, True, False)
