"""auth_active_sessions and users."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts import facts, tokens
from accounts.models import RefreshFamily, User
from accounts.tests.browser import Browser

pytestmark = pytest.mark.django_db


def active() -> float:
    (sample,) = facts.active_sessions()
    assert isinstance(sample.value, int)
    return sample.value


def test_browsers_and_api_sign_ins_count_one_each(member: User) -> None:
    for _ in range(2):
        Browser().sign_in()
    tokens.rotate(tokens.issue(member).refresh)

    assert active() == 3


def test_a_browser_that_is_not_signed_in_counts_for_nothing(member: User) -> None:
    Browser().sign_in(password="wrong")
    Browser().send("/accounts/login/code/", email="mara@example.org")
    anonymous = Client().session
    anonymous["a"] = 1
    anonymous.save()

    assert Session.objects.exists()
    assert active() == 0


def test_what_has_ended_counts_no_longer(member: User) -> None:
    out, expired, changed = Browser(), Browser(), Browser()
    for browser in (out, expired, changed):
        browser.sign_in()
    tokens.revoke(tokens.issue(member).refresh)
    old = timezone.now() - timedelta(days=20)
    tokens.issue(member)
    RefreshFamily.objects.filter(revoked_at=None).update(created_at=old, expires_at=timezone.now())
    assert active() == 3

    out.send("/accounts/logout/")
    assert active() == 2
    Session.objects.filter(pk=expired.session.session_key).update(expire_date=timezone.now())
    assert active() == 1
    User.objects.update(is_active=False)
    assert active() == 0


def test_a_session_is_one_session_after_its_password_has_changed(member: User) -> None:
    browser = Browser()
    browser.sign_in()

    browser.send(
        "/accounts/password/change/",
        oldpassword="a long enough phrase", password1="quite another phrase", password2="quite another phrase",
    )  # fmt: skip

    assert active() == 1


def test_users_stand_under_their_state(member: User, staff: User) -> None:
    User.objects.create_user("otto", "otto@example.org", is_active=False)
    User.objects.filter(pk=member.pk).update(deletion_requested_at=timezone.now())

    assert {sample.labels[0]: sample.value for sample in facts.users()} == {"active": 1, "inactive": 1, "leaving": 1}
