"""Each way in which somebody's access changes leaves word for every process, and nothing else does.

What a process makes of it is looked at too: who had a connection before, and what they may do after.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts import deletion, membership, sessions, tokens
from accounts.models import Membership, RefreshFamily, User
from accounts.tests.browser import PHRASE, Browser
from bambisleep.tests.client import AsgiClient
from realtime import access, changes, hub, identity, moderation, standing
from realtime.identity import Identity
from realtime.models import AccessChange, Restriction, RestrictionKind, Room
from realtime.tests import rows

pytestmark = pytest.mark.django_db


class Process:
    """One that serves connections: what word it has, and what it makes of it."""

    def __init__(self) -> None:
        self.seen = standing.Seen()
        standing.look([], self.seen)  # what was before is none of its business

    def hears(self) -> standing.Found:
        """What it finds now."""
        return standing.look([], self.seen)

    def users(self) -> set[int]:
        """Those it is to look at again."""
        return set(self.hears().users)


@pytest.fixture
def room() -> Room:
    return rows.room("lobby")


def session_of(client: Client) -> Identity:
    """Who has a connection by the cookie that a browser has."""
    found = identity.by_session(client.session.session_key or "")
    assert found is not None
    return found


def rights(room: Room, who: Identity) -> access.Rights:
    """What whoever has had a connection may do there, once it is looked at again."""
    ((_, _, found),) = standing.look_again(room.pk, [who])
    return found


def may_moderate() -> Permission:
    return Permission.objects.get(codename="moderate_room")


# --- Members ----------------------------------------------------------------------------------------------------------


def test_a_membership_that_is_given_or_ended(member: User) -> None:
    room, process = rows.members_room(), Process()
    who = identity.by_token(tokens.issue(member).access)
    assert who is not None
    made = membership.give(user=member, by=None, reason="a test")
    assert process.users() == {member.pk}
    assert rights(room, who).may_write
    membership.end(made)
    assert process.users() == {member.pk}
    assert rights(room, who).refusal == "forbidden"


def test_a_subscription_that_ends(member: User, django_capture_on_commit_callbacks: Any) -> None:
    now = timezone.now()
    made = membership.set_subscription(user=member, membership=None, starts_at=now, ends_at=now + timedelta(days=30))
    process = Process()
    with django_capture_on_commit_callbacks(execute=True):
        membership.set_subscription(user=member, membership=made, starts_at=now, ends_at=now)
    assert process.users() == {member.pk}


def test_what_lapses_with_time_is_seen_without_a_word(member: User, monkeypatch: Any) -> None:
    room = rows.members_room()
    Membership.objects.create(user=member, source="staff", reason="a test", ends_at=timezone.now() + timedelta(hours=1))
    who = identity.by_token(tokens.issue(member).access)
    assert who is not None
    assert rights(room, who).may_write
    process = Process()
    assert not process.hears().everybody
    Membership.objects.update(starts_at=timezone.now() - timedelta(hours=2), ends_at=timezone.now())
    process.seen.everybody_at -= standing.EVERYBODY_SECONDS + 1
    assert process.hears().everybody
    assert rights(room, who).refusal == "forbidden"


# --- Signing out ------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(member: User) -> Browser:
    browser = Browser()
    browser.sign_in()
    return browser


def end_own(browser: Browser, other: Browser) -> None:
    row = UserSession.objects.get(session_key=other.session.session_key)
    browser.send("/accounts/sessions/", end=str(row.pk))


SIGN_OUTS: dict[str, Callable[[Browser, Browser], Any]] = {
    "on the page": lambda browser, other: other.send("/accounts/logout/"),
    "from another browser": end_own,
    "past its age": lambda browser, other: age(other),
}


def age(browser: Browser) -> None:
    session = browser.session
    session[sessions.SIGNED_IN_AT] = 1.0
    session.save()
    browser.get("/accounts/data/")


@pytest.mark.parametrize("how", SIGN_OUTS)
def test_one_browser_is_signed_out_and_no_other(room: Room, browser: Browser, how: str) -> None:
    other = Browser("203.0.113.8")
    other.sign_in()
    stays, goes = session_of(browser), session_of(other)
    process = Process()
    SIGN_OUTS[how](browser, other)
    found = process.hears()
    assert found.ended_sessions == {identity.digest(goes.session_key)}
    assert found.users == set()
    assert AccessChange.objects.filter(session_digest=identity.digest(goes.session_key)).count() == 1
    assert rights(room, goes).refusal == "unauthenticated"
    assert rights(room, stays).may_write


def test_in_the_admin_a_browser_is_signed_out(room: Room, browser: Browser, staff: User) -> None:
    who, process, admin = session_of(browser), Process(), Client()
    admin.force_login(staff)
    row = UserSession.objects.get(session_key=who.session_key)
    sent = {"action": "end", "_selected_action": [row.pk], "confirmed": "yes"}
    admin.post("/admin/usersessions/usersession/", sent)
    assert process.hears().ended_sessions == {identity.digest(who.session_key)}
    assert rights(room, who).refusal == "unauthenticated"


EVERYWHERE: dict[str, Callable[[User, Browser], Any]] = {
    "signed out everywhere": lambda user, browser: sessions.end_all(user, reason="signed_out"),
    "deactivated": lambda user, browser: deactivate(user),
    "deletion asked for": lambda user, browser: browser.send("/accounts/data/delete/", confirm="on"),
    "erased": lambda user, browser: erase(user),
    "password reset in the admin": lambda user, browser: new_password_by_staff(user),
    "password changed by a command": lambda user, browser: new_password(user),
    "deactivated in a shell": lambda user, browser: save(user, is_active=False),
}


def deactivate(user: User) -> None:
    admin = Client()
    admin.force_login(User.objects.create_superuser("root", "root@example.org", PHRASE))
    sent = {"action": "deactivate", "_selected_action": [user.pk], "confirmed": "yes"}
    admin.post("/admin/accounts/user/", sent)


def erase(user: User) -> None:
    user.refresh_from_db()
    deletion.erase(user)


def new_password_by_staff(user: User) -> None:
    admin = Client()
    admin.force_login(User.objects.create_superuser("root", "root@example.org", PHRASE))
    new = {"password1": "another long enough phrase", "password2": "another long enough phrase"}
    answer = admin.post(f"/admin/accounts/user/{user.pk}/password/", {**new, "usable_password": "true"})
    assert answer.status_code == 302, answer.content


def new_password(user: User) -> None:
    fresh = User.objects.get(pk=user.pk)
    fresh.set_password("another long enough phrase")
    fresh.save()


def save(user: User, **values: Any) -> None:
    fresh = User.objects.get(pk=user.pk)
    for name, value in values.items():
        setattr(fresh, name, value)
    fresh.save()


@pytest.mark.parametrize("how", EVERYWHERE)
def test_everything_of_an_account_ends(room: Room, member: User, browser: Browser, how: str) -> None:
    by_cookie, by_token = session_of(browser), identity.by_token(tokens.issue(member).access)
    assert by_token is not None
    process, user_id = Process(), member.pk
    EVERYWHERE[how](member, browser)
    assert user_id in process.users()
    assert [rights(room, who).refusal for who in (by_cookie, by_token)] == ["unauthenticated"] * 2


def test_a_changed_password_ends_the_other_browsers(room: Room, browser: Browser) -> None:
    other = Browser("203.0.113.8")
    other.sign_in()
    goes, process = session_of(other), Process()
    new = {"oldpassword": PHRASE, "password1": "another long enough phrase", "password2": "another long enough phrase"}
    browser.send("/accounts/password/change/", **new)
    assert goes.user.pk in process.users()
    assert rights(room, goes).refusal == "unauthenticated"
    assert rights(room, session_of(browser)).may_write


# --- Tokens -----------------------------------------------------------------------------------------------------------


def sign_out(asgi: AsgiClient, pair: tokens.TokenPair) -> None:
    assert asgi.post("/auth/logout", json={"refresh": pair.refresh}).status in {200, 204}


def use_twice(asgi: AsgiClient, pair: tokens.TokenPair) -> None:
    assert [asgi.post("/auth/refresh", json={"refresh": pair.refresh}).status for _ in range(2)] == [200, 401]


def revoke_in_the_admin(asgi: AsgiClient, pair: tokens.TokenPair) -> None:
    admin = Client()
    admin.force_login(User.objects.create_superuser("root", "root@example.org", PHRASE))
    chosen = [str(family.pk) for family in RefreshFamily.objects.all()]
    sent = {"action": "revoke", "_selected_action": chosen, "confirmed": "yes"}
    admin.post("/admin/accounts/refreshfamily/", sent)


@pytest.mark.parametrize("how", [sign_out, use_twice, revoke_in_the_admin])
def test_a_client_of_the_api_is_signed_out(room: Room, asgi: AsgiClient, member: User, how: Any) -> None:
    pair = tokens.issue(member)
    who = identity.by_token(pair.access)
    assert who is not None
    process = Process()
    how(asgi, pair)
    assert process.users() == {member.pk}
    assert rights(room, who).refusal == "unauthenticated"


def test_signing_out_twice_leaves_word_once(asgi: AsgiClient, member: User) -> None:
    pair = tokens.issue(member)
    AccessChange.objects.all().delete()
    for _ in range(2):
        asgi.post("/auth/logout", json={"refresh": pair.refresh})
    assert AccessChange.objects.count() == 1


# --- Staff ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def group() -> Group:
    made: Group = Group.objects.create(name="moderators")
    made.permissions.add(may_moderate())
    return made


LOSSES: dict[str, Callable[[User, Group], Any]] = {
    "no staff any more": lambda kim, group: save(kim, is_staff=False),
    "permission taken": lambda kim, group: kim.user_permissions.remove(may_moderate()),
    "permissions cleared": lambda kim, group: kim.user_permissions.clear(),
    "permissions set": lambda kim, group: kim.user_permissions.set([]),
    "taken from the permission's side": lambda kim, group: may_moderate().user_set.remove(kim),
    "cleared from the permission's side": lambda kim, group: may_moderate().user_set.clear(),
}
GROUP_LOSSES: dict[str, Callable[[User, Group], Any]] = {
    "left the group": lambda kim, group: kim.groups.remove(group),
    "groups cleared": lambda kim, group: kim.groups.clear(),
    "taken from the group's side": lambda kim, group: group.user_set.remove(kim),
    "cleared from the group's side": lambda kim, group: group.user_set.clear(),
    "the group loses the permission": lambda kim, group: group.permissions.remove(may_moderate()),
    "the group loses all": lambda kim, group: group.permissions.clear(),
    "the permission loses its groups": lambda kim, group: may_moderate().group_set.clear(),
    "the group goes": lambda kim, group: group.delete(),
}


def lose(room: Room, kim: User, group: Group, act: Callable[[User, Group], Any]) -> None:
    who = identity.by_token(tokens.issue(kim).access)
    assert who is not None
    assert rights(room, who).may_moderate
    process = Process()
    act(User.objects.get(pk=kim.pk), group)
    assert process.users() == {kim.pk}
    assert not rights(room, who).may_moderate


@pytest.mark.parametrize("how", LOSSES)
def test_a_moderator_is_none_any_more(room: Room, group: Group, how: str) -> None:
    lose(room, rows.moderator("kim"), group, LOSSES[how])


@pytest.mark.parametrize("how", GROUP_LOSSES)
def test_a_moderator_by_a_group_is_none_any_more(room: Room, group: Group, how: str) -> None:
    kim = rows.colleague("kim")
    kim.groups.add(group)
    rows.person().groups.add(group)  # of whom nothing is said: permissions are of use to staff alone
    lose(room, kim, group, GROUP_LOSSES[how])


@pytest.mark.parametrize("by_group", [True, False])
def test_who_becomes_a_moderator_is_one_at_once(room: Room, group: Group, by_group: bool) -> None:
    kim = rows.colleague("kim")
    who, process = identity.by_token(tokens.issue(kim).access), Process()
    assert who is not None
    if by_group:
        kim.groups.add(group)
    else:
        kim.user_permissions.add(may_moderate())
    assert process.users() == {kim.pk}
    assert rights(room, who).may_moderate


# --- Mutes and bans ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(RestrictionKind))
@pytest.mark.parametrize("is_everywhere", [False, True])
def test_a_restriction_and_its_end(room: Room, member: User, kind: RestrictionKind, is_everywhere: bool) -> None:
    kim, who = rows.moderator("kim"), identity.by_token(tokens.issue(member).access)
    assert who is not None
    process = Process()
    made, _ = moderation.restrict(None if is_everywhere else room, member, kind, by=kim, until=None)
    assert process.users() == {member.pk}
    assert not rights(room, who).may_write
    moderation.lift(made, by=kim)
    assert process.users() == {member.pk}
    assert rights(room, who).may_write


def test_a_restriction_that_is_deleted(room: Room, member: User) -> None:
    rows.ban(member, room)
    process = Process()
    Restriction.objects.all().delete()
    assert process.users() == {member.pk}


# --- What changes nothing ---------------------------------------------------------------------------------------------


NOTHING: dict[str, Callable[[User], Any]] = {
    "signing in": lambda user: Browser().sign_in(),
    "signing in by the API": lambda user: tokens.issue(user),
    "refreshing": lambda user: tokens.rotate(tokens.issue(user).refresh),
    "the time of a sign-in": lambda user: user.save(update_fields=["last_login"]),
    "a name": lambda user: save(user, first_name="Mara"),
    "nothing at all": lambda user: save(user),
    "a permission of no use": lambda user: user.user_permissions.add(may_moderate()),
    "a group of no use": lambda user: user.groups.add(Group.objects.create(name="idle")),
    "a group that nobody is in": lambda user: Group.objects.create(name="idle").permissions.add(may_moderate()),
    "no groups": lambda user: user.groups.set([]),
    "a new account": lambda user: rows.person(),
    "a page": lambda user: Client().get("/"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_nothing_is_said_where_nothing_changes(member: User, what: str) -> None:
    NOTHING[what](User.objects.get(pk=member.pk))
    assert not AccessChange.objects.exists()


def test_the_form_of_a_user_that_changes_nothing_says_nothing(member: User, staff: User) -> None:
    admin = Client()
    admin.force_login(staff)
    AccessChange.objects.all().delete()
    url = f"/admin/accounts/user/{member.pk}/change/"
    form = admin.get(url).context["adminform"].form
    sent = {b.html_name: b.value() for b in form if b.value() is not None and b.value() is not False}
    sent |= {"first_name": "Mara"}
    assert admin.post(url, sent).status_code == 302
    assert User.objects.get(pk=member.pk).first_name == "Mara"
    assert not AccessChange.objects.exists()


# --- Word itself ------------------------------------------------------------------------------------------------------


def test_word_is_kept_for_minutes_even_where_nobody_listens(
    member: User, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(hub, "wake_soon", lambda: woken.append(True))
    AccessChange.objects.create(user_id=1, at=timezone.now() - standing.KEPT - timedelta(seconds=1))
    with django_capture_on_commit_callbacks(execute=True):
        changes.leave_word(user_id=member.pk)
        assert woken == []
    assert woken == [True]
    assert list(AccessChange.objects.values_list("user_id", flat=True)) == [member.pk]


def test_word_names_no_session_that_could_be_opened_by_it(browser: Browser) -> None:
    key = browser.session.session_key
    browser.send("/accounts/logout/")
    (digest,) = AccessChange.objects.exclude(session_digest="").values_list("session_digest", flat=True)
    assert key
    assert key not in digest


def test_erasing_by_the_command_ends_what_is_open(room: Room, member: User, browser: Browser) -> None:
    who = session_of(browser)
    User.objects.filter(pk=member.pk).update(deletion_requested_at=timezone.now() - timedelta(days=400))
    process, user_id = Process(), member.pk
    call_command("erase_accounts", verbosity=0)
    assert not User.objects.filter(pk=user_id).exists()
    assert process.users() == {user_id}
    assert rights(room, who).refusal == "unauthenticated"
