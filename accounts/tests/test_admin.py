"""Accounts in the admin, and what staff may do there."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from axes.models import AccessFailureLog
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import deletion, history, lockout, membership, tokens
from accounts.models import Membership, OutgoingMail, RefreshFamily, User
from accounts.tests.browser import PHRASE, Browser, add_authenticator, text_of
from bambisleep.tests.client import AsgiClient

pytestmark = pytest.mark.django_db

USERS = "/admin/accounts/user/"
LISTS = [
    USERS,
    "/admin/accounts/membership/",
    "/admin/accounts/refreshfamily/",
    "/admin/accounts/outgoingmail/",
    "/admin/usersessions/usersession/",
    "/admin/axes/accessfailurelog/",
    "/admin/mfa/authenticator/",
    "/admin/account/emailaddress/",
]


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def act(admin: Client, path: str, action: str, *rows: Any, **more: str) -> Any:
    posted = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return admin.post(path, posted, follow=True)


def people(number: int) -> None:
    """People with everything that the lists show."""
    offset = User.objects.count()
    for index in range(offset, offset + number):
        user = User.objects.create_user(f"user{index}", f"user{index}@example.org", PHRASE)
        tokens.issue(user)
        membership.give(user=user, by=None, reason="a test")
        UserSession.objects.create(user=user, ip="192.0.2.1", session_key=f"key{index}", user_agent="x")
        AccessFailureLog.objects.create(username=user.username, ip_address="192.0.2.1", path_info="/auth/login")
        Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "not to be shown"})
        user.emailaddress_set.create(email=user.email, verified=True, primary=True)
        OutgoingMail.objects.create(
            recipients=[user.email], sender="x@example.org", subject="Hello", body="not to be shown"
        )


@pytest.mark.parametrize("path", LISTS)
def test_a_list_takes_as_many_queries_for_many_rows_as_for_few(
    admin: Client, path: str, django_assert_num_queries: Any
) -> None:
    people(2)
    admin.get(path)
    with CaptureQueriesContext(connection) as few:
        assert admin.get(path).status_code == 200
    people(12)

    with django_assert_num_queries(len(few)):
        page = text_of(admin.get(path))

    assert "not to be shown" not in page


@pytest.mark.parametrize("path", LISTS)
def test_a_row_can_be_looked_at_without_its_secrets(admin: Client, path: str) -> None:
    people(1)
    row = admin.get(path).context["cl"].queryset.first()

    page = admin.get(f"{path}{row.pk}/change/")

    assert page.status_code == 200
    assert "not to be shown" not in text_of(page)
    family = RefreshFamily.objects.get()
    assert family.current_jti not in text_of(page)
    assert "key1" not in text_of(page).replace("key1-", "")


def test_signing_out_everywhere_asks_first(admin: Client, member: User) -> None:
    pair, browser = tokens.issue(member), Browser()
    browser.sign_in()

    assert "Sign out everywhere?" in text_of(act(admin, USERS, "sign_out_everywhere", member))
    assert browser.signed_in
    act(admin, USERS, "sign_out_everywhere", member, confirmed="yes")

    assert not browser.signed_in
    assert AsgiClient().get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401


def test_unlocking_lets_an_account_try_again(admin: Client, member: User) -> None:
    body = {"username": "mara", "password": "wrong"}
    for number in range(10):
        AsgiClient().post("/auth/login", json=body, client=(f"192.0.2.{number}", 1))
    assert AsgiClient().post("/auth/login", json={**body, "password": PHRASE}).status == 429

    act(admin, USERS, "unlock", member)

    assert AsgiClient().post("/auth/login", json={**body, "password": PHRASE}).status == 200


def test_failed_sign_ins_can_be_forgotten_from_their_list(admin: Client, member: User) -> None:
    rows = [AccessFailureLog.objects.create(username="mara", path_info="/auth/login") for _ in range(3)]

    act(admin, "/admin/axes/accessfailurelog/", "unlock", rows[0])

    assert not AccessFailureLog.objects.exists()


def test_deactivating_signs_out_at_once_and_spares_oneself(admin: Client, member: User, staff: User) -> None:
    browser = Browser()
    browser.sign_in()

    act(admin, USERS, "deactivate", member, staff, confirmed="yes")

    assert not browser.signed_in
    assert set(User.objects.filter(is_active=True)) == {staff}
    act(admin, USERS, "activate", member)
    browser.sign_in()
    assert browser.signed_in


def test_unticking_active_signs_out_at_once(admin: Client, member: User) -> None:
    pair = tokens.issue(member)
    page = admin.get(f"{USERS}{member.pk}/change/")
    fields = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    fields |= {"groups": [], "user_permissions": []}
    del fields["is_active"]

    answer = admin.post(f"{USERS}{member.pk}/change/", fields)

    assert answer.status_code == 302
    assert not User.objects.get(pk=member.pk).is_active
    assert RefreshFamily.objects.get().revoked_at is not None
    assert AsgiClient().get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401


def save(admin: Client, user: User, **changed: str) -> Any:
    """Send the form of an account with something changed."""
    page = admin.get(f"{USERS}{user.pk}/change/")
    fields = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    return admin.post(f"{USERS}{user.pk}/change/", {**fields, "groups": [], "user_permissions": [], **changed})


def test_another_address_takes_the_place_of_all_and_is_to_be_verified(
    admin: Client, staff: User, member: User, mailoutbox: list[Any]
) -> None:
    member.emailaddress_set.create(email="old@example.org", verified=True)
    pair, browser = tokens.issue(member), Browser()
    browser.sign_in()
    assert "Another address replaces all" in text_of(admin.get(f"{USERS}{member.pk}/change/"))

    assert save(admin, member, email="New@example.org").status_code == 302

    (address,) = EmailAddress.objects.filter(user=member)
    assert (address.email, address.primary, address.verified) == ("new@example.org", True, False)
    (mail,) = mailoutbox
    assert mail.to == ["new@example.org"]
    assert not browser.signed_in
    assert AsgiClient().get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401
    assert "to be verified, signed out everywhere" in LogEntry.objects.filter(user=staff).last().change_message
    Browser().send("/accounts/password/reset/", email="mara@example.org")
    assert not any("mara@example.org" in mail.to and "/reset/key/" in mail.body for mail in mailoutbox)


def test_a_code_that_was_mailed_to_the_former_address_opens_the_account_no_more(
    admin: Client, member: User, mailoutbox: list[Any], metric: Callable[..., float]
) -> None:
    browser = Browser()
    failed_before = metric("auth_attempts_total", type="login", success="false")
    browser.send("/accounts/login/code/", email="mara@example.org")
    [code] = re.findall(r"^\w{4}-\w{4}$", mailoutbox[0].body, re.M)
    save(admin, member, email="new@example.org")

    answer = browser.send("/accounts/login/code/confirm/", code=code)
    assert answer.redirect_chain[-1][0] == "/accounts/login/code/"
    assert "That code is not valid any more. Ask for another one." in text_of(answer)
    assert not browser.signed_in
    assert metric("auth_attempts_total", type="login", success="false") - failed_before == 1


def test_the_same_address_in_another_case_changes_nothing(admin: Client, member: User, mailoutbox: list[Any]) -> None:
    save(admin, member, email="MARA@example.org")

    assert EmailAddress.objects.get(user=member).verified
    assert mailoutbox == []


def test_staff_who_change_their_own_address_stay_signed_in(admin: Client, staff: User) -> None:
    save(admin, staff, email="sam.new@example.org")

    assert admin.get("/admin/").status_code == 200
    assert not EmailAddress.objects.get(user=staff).verified


def test_a_password_given_by_staff_ends_every_sign_in(admin: Client, member: User) -> None:
    tokens.issue(member)
    browser = Browser()
    browser.sign_in()
    new = "a phrase that staff have given"

    answer = admin.post(
        f"{USERS}{member.pk}/password/", {"password1": new, "password2": new, "usable_password": "true"}
    )

    assert answer.status_code == 302
    assert not browser.signed_in
    assert RefreshFamily.objects.get().revoked_at is not None
    assert User.objects.get(pk=member.pk).check_password(new)


def test_staff_who_change_their_own_password_stay_signed_in(admin: Client, staff: User) -> None:
    new = "a phrase that staff have given"

    admin.post(f"{USERS}{staff.pk}/password/", {"password1": new, "password2": new, "usable_password": "true"})

    assert admin.get("/admin/").status_code == 200


def test_a_membership_is_given_with_its_reason_and_its_end(admin: Client, member: User, staff: User) -> None:
    until = timezone.now().replace(microsecond=0, second=0) + timedelta(days=30)
    asked = act(admin, USERS, "give_membership", member)
    assert "Why, for whoever asks later." in text_of(asked)

    act(
        admin, USERS, "give_membership", member,
        confirmed="yes", reason="won it at the fair", until=f"{until:%Y-%m-%dT%H:%M}",
    )  # fmt: skip

    given = Membership.objects.get()
    assert (given.user, given.given_by, given.source) == (member, staff, "staff")
    assert (given.reason, given.ends_at) == ("won it at the fair", until)


@pytest.mark.parametrize(("reason", "until"), [("", ""), ("x", "2001-01-01T00:00"), ("x", "tomorrow")])
def test_a_membership_without_reason_or_with_a_past_end_is_not_given(
    admin: Client, member: User, reason: str, until: str
) -> None:
    act(admin, USERS, "give_membership", member, confirmed="yes", reason=reason, until=until)

    assert not Membership.objects.exists()


def test_a_membership_is_ended(admin: Client, member: User) -> None:
    given = membership.give(user=member, by=None, reason="a test")

    act(admin, "/admin/accounts/membership/", "end_now", given, confirmed="yes")

    assert not membership.may_see_members_content(member)


def test_a_membership_that_is_paid_for_is_cancelled_at_stripe_instead(admin: Client, member: User) -> None:
    paid = Membership.objects.create(user=member, source=Membership.Source.SUBSCRIPTION)

    answer = act(admin, "/admin/accounts/membership/", "end_now", paid, confirmed="yes")

    assert "cancel the subscription at Stripe, and it ends here too" in text_of(answer)
    assert membership.may_see_members_content(member)


def test_one_browser_session_is_ended(admin: Client, member: User) -> None:
    browser = Browser()
    browser.sign_in()

    act(admin, "/admin/usersessions/usersession/", "end", UserSession.objects.get(user=member), confirmed="yes")

    assert not browser.signed_in


def test_a_second_factor_that_was_lost_is_deleted_by_a_superuser(admin: Client, member: User) -> None:
    browser = Browser()
    browser.sign_in()
    add_authenticator(browser)

    for factor in Authenticator.objects.all():
        admin.post(f"/admin/mfa/authenticator/{factor.pk}/delete/", {"post": "yes"})

    other = Browser()
    other.sign_in()
    assert other.signed_in


@pytest.mark.parametrize("way", ["one", "chosen"])
def test_deleting_a_second_factor_is_noted_at_the_account_without_what_its_owner_called_it(
    admin: Client, member: User, way: str
) -> None:
    data = {"name": "The telephone of Mara Example", "credential": {}}
    factor = Authenticator.objects.create(user=member, type=Authenticator.Type.WEBAUTHN, data=data)

    if way == "one":
        admin.post(f"/admin/mfa/authenticator/{factor.pk}/delete/", {"post": "yes"})
    else:
        act(admin, "/admin/mfa/authenticator/", "delete_selected", factor, post="yes")

    assert not Authenticator.objects.exists()
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.object_id) == ("mara", str(member.pk))
    assert entry.change_message == "Second factor deleted: WebAuthn."


def test_who_may_only_look_can_do_nothing(member: User) -> None:
    looker = User.objects.create_user("lena", "lena@example.org", PHRASE, is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(looker)
    tokens.issue(member)
    AccessFailureLog.objects.create(username="mara", path_info="/auth/login")

    for path, action, row in (
        (USERS, "deactivate", member),
        (USERS, "give_membership", member),
        ("/admin/accounts/refreshfamily/", "revoke", RefreshFamily.objects.get()),
        ("/admin/axes/accessfailurelog/", "unlock", AccessFailureLog.objects.get()),
    ):
        act(client, path, action, row, confirmed="yes", reason="x")

    assert User.objects.get(pk=member.pk).is_active
    assert RefreshFamily.objects.get().revoked_at is None
    assert AccessFailureLog.objects.count() == 1
    assert not Membership.objects.exists()
    assert lockout.unlock(key="mara") == 1


@pytest.fixture
def helper(db: None) -> User:
    """One of staff who may change accounts, and is no superuser."""
    user = User.objects.create_user("hella", "hella@example.org", PHRASE, is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["change_user", "view_user"]))
    return user


def test_what_staff_end_or_unlock_stands_in_the_history(admin: Client, staff: User, member: User) -> None:
    Browser().sign_in()
    tokens.issue(member)
    for name in ("mara", "nobody"):
        AccessFailureLog.objects.create(username=name, path_info="/auth/login")

    for path, action, rows in (
        ("/admin/usersessions/usersession/", "end", UserSession.objects.filter(user=member)),
        ("/admin/accounts/refreshfamily/", "revoke", RefreshFamily.objects.all()),
        ("/admin/axes/accessfailurelog/", "unlock", AccessFailureLog.objects.all()),
    ):
        act(admin, path, action, *rows, confirmed="yes")

    entries = LogEntry.objects.filter(user=staff).order_by("pk")
    assert [(entry.object_repr, entry.change_message) for entry in entries if entry.object_repr == "mara"] == [
        ("mara", "A browser was signed out."),
        ("mara", "Sign-ins over the API were ended."),
        ("mara", "Unlocked: 1 failures forgotten."),
    ]
    [other] = [entry for entry in entries if "nobody" in entry.object_repr]
    assert other.change_message == "Unlocked: 1 failures forgotten."


def test_what_was_done_to_an_erased_member_stays_in_the_history_without_the_name(
    admin: Client, staff: User, member: User
) -> None:
    AccessFailureLog.objects.create(username="mara", path_info="/auth/login")
    act(admin, "/admin/axes/accessfailurelog/", "unlock", *AccessFailureLog.objects.all())
    act(admin, USERS, "give_membership", member, confirmed="yes", reason="Mara helps out")
    act(admin, "/admin/accounts/membership/", "end_now", Membership.objects.get(), confirmed="yes")
    act(admin, USERS, "unlock", staff)
    told = LogEntry.objects.filter(object_repr__contains="mara").values_list("object_repr", flat=True)
    assert sorted(told) == ["mara", "mara", "mara by staff"]

    User.objects.filter(pk=member.pk).update(deletion_requested_at=timezone.now())
    member.refresh_from_db()
    deletion.erase(member)

    entries = LogEntry.objects.filter(user=staff).order_by("pk")
    assert [(entry.object_repr, entry.change_message) for entry in entries] == [
        (history.ERASED, "Unlocked: 1 failures forgotten."),
        (history.ERASED, ""),
        (history.ERASED, "Ended."),
        (staff.username, "Unlocked: 0 failures forgotten."),
    ]


def test_staff_end_and_unlock_nothing_of_superusers(helper: User, staff: User, member: User) -> None:
    helper.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(helper)
    for user in (staff, member):
        Browser().sign_in(user.username)
        tokens.issue(user)
        AccessFailureLog.objects.create(username=user.username, path_info="/auth/login")

    for path, action, rows in (
        ("/admin/usersessions/usersession/", "end", UserSession.objects.exclude(user=helper)),
        ("/admin/accounts/refreshfamily/", "revoke", RefreshFamily.objects.all()),
        ("/admin/axes/accessfailurelog/", "unlock", AccessFailureLog.objects.all()),
        (USERS, "unlock", User.objects.filter(pk=staff.pk)),
    ):
        act(client, path, action, *rows, confirmed="yes")

    assert UserSession.objects.exclude(user=helper).get().user == staff
    assert RefreshFamily.objects.get(revoked_at=None).user == staff
    assert AccessFailureLog.objects.get().username == staff.username


def test_staff_cannot_make_themselves_or_others_superusers(helper: User, member: User) -> None:
    client = Client()
    client.force_login(helper)

    for user in (helper, member):
        form = {"username": user.username, "email": user.email, "is_active": "on", "is_staff": "on"}
        client.post(f"{USERS}{user.pk}/change/", {**form, "is_superuser": "on"})

        user.refresh_from_db()
        assert not user.is_superuser
    assert not member.is_staff


@pytest.mark.parametrize("action", ["deactivate", "sign_out_everywhere"])
def test_staff_do_nothing_to_superusers(helper: User, staff: User, action: str) -> None:
    client = Client()
    client.force_login(helper)
    before = User.objects.values().get(pk=staff.pk)

    act(client, USERS, action, staff, confirmed="yes")
    client.post(
        f"{USERS}{staff.pk}/password/", {"password1": "another long phrase", "password2": "another long phrase"}
    )

    assert User.objects.values().get(pk=staff.pk) == before


def test_accounts_are_not_deleted_past_what_else_is_kept_of_them(admin: Client, member: User) -> None:
    assert admin.post(f"{USERS}{member.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=member.pk).exists()


@pytest.mark.parametrize("number", ["%C2%B2", "9" * 40, "x"])
def test_an_account_that_cannot_be_is_not_found(admin: Client, number: str) -> None:
    assert admin.get(f"{USERS}{number}/password/", follow=True).status_code in {200, 404}  # 200: the list, saying so


def test_a_membership_that_has_ended_before_it_begins_is_an_error_on_the_form(admin: Client, member: User) -> None:
    fields = {"user": member.pk, "reason": "a test", "ends_at_0": "2001-01-01", "ends_at_1": "00:00:00"}

    answer = admin.post("/admin/accounts/membership/add/", fields)

    assert answer.status_code == 200
    assert "The end must lie ahead." in text_of(answer)
    assert not Membership.objects.exists()
