"""manage.py erase_accounts and unlock_account."""

from contextlib import nullcontext
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessFailureLog
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import deletion, personal_data
from accounts.models import User
from observability.models import MaintenanceTask

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def wish(user: User, *, days_ago: int) -> None:
    User.objects.filter(pk=user.pk).update(deletion_requested_at=timezone.now() - timedelta(days=days_ago))


def test_accounts_past_their_grace_are_erased_and_no_others(member: User, staff: User) -> None:
    wish(member, days_ago=15)
    wish(staff, days_ago=13)

    assert "1 accounts" in run("erase_accounts")
    task = MaintenanceTask.objects.get(task="erase_accounts")
    assert (task.succeeded_at is not None, task.detail) == (True, "1 accounts")
    assert list(User.objects.all()) == [staff]


def test_a_dry_run_erases_nobody(member: User) -> None:
    wish(member, days_ago=15)

    assert f"would erase account {member.pk}" in run("erase_accounts", "--dry-run")
    assert not MaintenanceTask.objects.exists()
    assert User.objects.exists()


def test_where_one_room_cannot_erase_the_account_stays_whole(member: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(user: User) -> None:
        User.objects.filter(pk=user.pk).update(first_name="half erased")
        raise RuntimeError

    monkeypatch.setattr(personal_data, "KEEPERS", dict(personal_data.KEEPERS))
    personal_data.register("another", export=lambda user: None, erase=cannot)
    wish(member, days_ago=15)

    with pytest.raises(CommandError, match="1 of them could not be erased"):
        call_command("erase_accounts", stdout=StringIO(), stderr=StringIO())

    member.refresh_from_db()
    assert member.first_name == ""


def test_a_room_that_registers_is_exported_and_erased(member: User, monkeypatch: pytest.MonkeyPatch) -> None:
    erased: list[str] = []
    monkeypatch.setattr(personal_data, "KEEPERS", dict(personal_data.KEEPERS))
    personal_data.register("room", export=lambda user: {"of": user.username}, erase=lambda u: erased.append(u.username))
    wish(member, days_ago=15)

    assert personal_data.export(member)["room"] == {"of": "mara"}
    run("erase_accounts")
    assert erased == ["mara"]
    with pytest.raises(ValueError, match="registered twice"):
        personal_data.register("room", export=str, erase=print)


def test_what_an_erased_member_of_staff_did_in_the_admin_stays(member: User, staff: User) -> None:
    kind = ContentType.objects.get_for_model(User)
    for user in (staff, member):
        for _ in range(2):
            LogEntry.objects.create(
                user=user, content_type=kind, object_id="1", object_repr="somebody", action_flag=2, change_message="x"
            )
        wish(user, days_ago=15)

    run("erase_accounts")

    (nobody,) = User.objects.all()
    assert set(LogEntry.objects.values_list("user", flat=True)) == {nobody.pk}
    assert LogEntry.objects.count() == 4
    assert (nobody.username, nobody.is_active, nobody.is_staff) == ("erased staff", False, False)
    assert not nobody.has_usable_password()
    with pytest.raises(ValidationError):
        nobody.full_clean()  # nobody can sign up by that name


@pytest.mark.parametrize("written", ["mara", "MARA", "mara@example.org"])
def test_an_account_is_unlocked_by_name_or_address(member: User, written: str) -> None:
    AccessFailureLog.objects.create(username="mara", path_info="/auth/login")

    assert run("unlock_account", written) == "mara: 1 failures forgotten\n"
    assert not AccessFailureLog.objects.exists()


def test_one_that_cannot_be_erased_does_not_keep_the_others(
    member: User, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(user: User) -> None:
        if user.pk == member.pk:
            raise RuntimeError("a file is locked")

    monkeypatch.setattr(personal_data, "KEEPERS", dict(personal_data.KEEPERS))
    personal_data.register("another", export=lambda user: None, erase=cannot)
    wish(member, days_ago=15)
    wish(staff, days_ago=15)

    with pytest.raises(CommandError, match="1 of them could not be erased"):
        call_command("erase_accounts", stdout=StringIO(), stderr=StringIO())

    assert list(User.objects.all()) == [member]


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_stopped_for_a_wish_that_is_being_taken_back_does_not_stay_so(
    member: User, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    stopped: set[int] = set()

    def stop(user: User) -> None:
        deletion.cancel(user=User.objects.get(pk=user.pk))  # in another browser, just before
        stopped.add(user.pk)
        if fails:
            raise RuntimeError("no answer")

    monkeypatch.setattr(personal_data, "KEEPERS", dict(personal_data.KEEPERS))
    nothing: dict[str, Any] = {"export": lambda user: None, "erase": lambda user: None}
    personal_data.register("another", **nothing, requested=stop, kept=lambda user: stopped.discard(user.pk))
    wish(member, days_ago=1)

    with pytest.raises(CommandError) if fails else nullcontext():
        call_command("erase_accounts", stdout=StringIO(), stderr=StringIO())

    assert not stopped


def test_a_wish_that_was_taken_back_meanwhile_erases_nobody(member: User) -> None:
    wish(member, days_ago=15)
    [listed] = deletion.due()
    deletion.cancel(user=User.objects.get(pk=member.pk))

    deletion.erase(listed)

    assert User.objects.filter(pk=member.pk).exists()
