"""Who may see members' content, and until when."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from accounts import membership, signals
from accounts.models import Membership, User

pytestmark = pytest.mark.django_db


def test_a_member_without_a_membership_may_not(member: User) -> None:
    assert not membership.may_see_members_content(member)
    assert not membership.may_see_members_content(AnonymousUser())


def test_a_membership_holds_until_its_end(member: User) -> None:
    now = timezone.now()
    membership.give(user=member, by=None, reason="a test", until=now + timedelta(days=1))

    assert membership.may_see_members_content(member)
    assert membership.may_see_members_content(member, now + timedelta(hours=23))
    assert not membership.may_see_members_content(member, now + timedelta(days=1))
    assert not membership.may_see_members_content(member, now - timedelta(seconds=10))


def test_of_several_one_in_force_is_enough(member: User) -> None:
    first = membership.give(user=member, by=None, reason="a test")
    membership.give(user=member, by=None, reason="another", until=timezone.now() + timedelta(days=1))

    assert membership.end(first)
    assert membership.may_see_members_content(member)
    assert not membership.end(first)


def test_a_deactivated_member_may_not(member: User) -> None:
    membership.give(user=member, by=None, reason="a test")
    member.is_active = False

    assert not membership.may_see_members_content(member)


def test_giving_and_ending_are_announced(member: User) -> None:
    heard: list[tuple[int, str]] = []

    def hear(user_id: int, reason: str, **_: object) -> None:
        heard.append((user_id, reason))

    signals.access_changed.connect(hear)
    try:
        membership.end(membership.give(user=member, by=None, reason="a test"))
    finally:
        signals.access_changed.disconnect(hear)

    assert heard == [(member.pk, "membership")] * 2


@pytest.mark.parametrize(("reason", "days"), [("", 1), ("   ", 1), ("a test", -1)])
def test_it_takes_a_reason_and_an_end_ahead(member: User, reason: str, days: int) -> None:
    with pytest.raises(ValidationError):
        membership.give(user=member, by=None, reason=reason, until=timezone.now() + timedelta(days=days))

    assert not Membership.objects.exists()


@pytest.mark.parametrize("wrong", [{"reason": ""}, {"reason": "x", "ends_at": timezone.now() - timedelta(days=9)}])
def test_the_database_itself_refuses_what_makes_no_sense(member: User, wrong: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        Membership.objects.create(user=member, source="staff", **wrong)
