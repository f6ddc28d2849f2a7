"""The permission matrix: every route × method × role, with objects that belong to somebody, held against one table."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import resolve
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from bambisleep import permissions
from bambisleep.permissions import METHODS, ROLES
from bambisleep.tests.client import Answer, AsgiClient
from bambisleep.tests.environment import LONG
from bambisleep.tests.objects import objects_of
from bambisleep.tests.routes import Route, every_route
from observability.delivery import tokens as deploy_tokens
from observability.http.edge import refuse_websocket
from realtime.routing import websockets
from realtime.tests import rows as chat
from realtime.tests.talking import talking

GROUPS: dict[str, list[Route]] = defaultdict(list)
for route in every_route():
    GROUPS[route.group].append(route)

SCRAPER, ALERTMANAGER = "a-token-for-the-scraper-only", "a-token-for-alertmanager-only"
WORDS = ("yes", "sign in", "no", "hidden", "–")
CSRF = "a" * 32
PAGES = ("/admin/", "/accounts/", "/billing/")  # they take forms, the rest JSON
BY_ALL = ("GET", "POST")  # what pages are made for; by other methods some ask them, and all in `make test-long`
SOME = {"anonymous", "staff", "superuser"}
SIGN_IN = ("account_login", "admin:login", "account_reauthenticate", "mfa_reauthenticate", "mfa_authenticate")


@pytest.fixture
def credentials(db: None, settings: Any) -> dict[str, dict[str, str]]:
    """The headers by which each role shows who it is."""
    settings.METRICS_TOKEN, settings.ALERTS_TOKEN = SCRAPER, ALERTMANAGER
    scopes = ["deployments:write", "incidents:write", "read"]
    bearer = {
        "deploy token": deploy_tokens.issue(name="pipeline", scopes=scopes)[1],
        "scraper": SCRAPER,
        "Alertmanager": ALERTMANAGER,
    }
    found = {role: {"authorization": f"Bearer {token}"} for role, token in bearer.items()}
    for role in ROLES:
        if role not in bearer and role != "anonymous":
            found[role] = _signed_in(_user(role))
    form = {"cookie": f"csrftoken={CSRF}", "x-csrftoken": CSRF}  # what is asked is who may, not whose form it is
    return {role: {**form, **found.get(role, {})} for role in ROLES}


def _user(role: str) -> User:
    name = role.replace(" ", "-")
    privileges = {"is_staff": role in {"staff", "superuser"}, "is_superuser": role == "superuser"}
    user = User.objects.create_user(name, f"{name}@example.org", "a long enough phrase", **privileges)
    if role in {"subscriber", "lapsed"}:
        now = timezone.now()
        ends_at = now + timezone.timedelta(days=30 if role == "subscriber" else -1)
        user.memberships.create(source="subscription", starts_at=now - timezone.timedelta(days=30), ends_at=ends_at)
    return user


def _signed_in(user: User) -> dict[str, str]:
    """A browser's session, signed in just now, and an access token of the API."""
    browser = Client()
    browser.force_login(user, backend="accounts.backends.NameOrEmailBackend")
    request = RequestFactory().get("/")
    request.session = session = browser.session
    record_authentication(request, user, "password", reauthenticated=True)
    session.save()
    cookie = f"sessionid={session.session_key}; csrftoken={CSRF}"
    return {"cookie": cookie, "authorization": f"Bearer {tokens.issue(user).access}"}


def _word(answer: Answer) -> str:
    if answer.status in {401, 403, 404, 405}:
        return {401: "sign in", 403: "no", 404: "hidden", 405: "–"}[answer.status]
    if 300 <= answer.status < 400:
        path = answer.headers["location"].partition("?")[0]
        to_sign_in = path.startswith("/") and resolve(path).view_name in SIGN_IN
        return "sign in" if to_sign_in else "yes"
    assert answer.status < 300 or answer.status in {400, 406, 409, 415}, f"{answer.status} {answer.body[:500]!r}"
    return "yes"


def _ask(asgi: AsgiClient, method: str, path: str, headers: dict[str, str]) -> str:
    """What one request meets; what it did is undone."""
    speaks_json = not path.startswith(PAGES)
    cache.clear()
    with transaction.atomic():
        content_type = "application/json" if speaks_json else "application/x-www-form-urlencoded"
        body = b"{}" if speaks_json and method in {"POST", "PUT", "PATCH"} else b""
        answer = asgi.request(method, path, headers={"content-type": content_type, **headers}, body=body)
        transaction.set_rollback(True)
    return _word(answer)


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_role_may_do_what_the_table_says_and_nothing_else(
    asgi: AsgiClient, credentials: dict[str, dict[str, str]], group: str
) -> None:
    values = objects_of(owner=User.objects.get(username="member"))
    paths = [route.path(values.of(route)) for route in GROUPS[group]]
    observed: dict[tuple[str, str], dict[str, str]] = {}
    for method in METHODS:
        observed[group, method] = words = {}
        for role in credentials if LONG or method in BY_ALL or not group.startswith(PAGES) else SOME:
            met = {_ask(asgi, method, path, credentials[role]) for path in paths}
            words[role] = "/".join(sorted(met, key=WORDS.index))
    table = {
        key: {role: word for role, word in words.items() if role in observed[key]}
        for key, words in permissions.expected().items()
        if key[0] == group
    }
    seen = permissions.as_csv(permissions.grouped(observed)) if LONG else f"{observed}\nAll of it: make test-long"
    assert observed == table, f"permissions.csv should say, if that is right:\n{seen}"


# How to get to each kind of room: what is made, and where it is then.
ROOMS: dict[str, Callable[[], str]] = {
    "for everyone": lambda: chat.room().get_absolute_url(),
    "for members": lambda: chat.members_room().get_absolute_url(),
    "for staff": lambda: chat.staff_room().get_absolute_url(),
    "for everyone, archived": lambda: chat.room(is_archived=True).get_absolute_url(),
    "none of that name": lambda: "/chat/nothing-here/",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ROOMS)
def test_every_role_may_be_and_write_where_the_table_says(
    credentials: dict[str, dict[str, str]], settings: Any, kind: str
) -> None:
    settings.CHAT_AUTH_SECONDS = 0.3
    User.objects.get(username="member").memberships.create(source="staff", reason="A test reader")
    path = f"/ws{ROOMS[kind]()}"
    observed: dict[str, str] = {}
    for role, headers in credentials.items():
        ways = (
            [{"cookie": headers["cookie"], "origin": "http://testserver"}] if "sessionid" in headers["cookie"] else []
        )
        ways += [{"authorization": headers.get("authorization", "")}]
        met = {asyncio.run(_enter(path, way)) for way in ways}
        observed[role] = "/".join(sorted(met))
    assert observed == permissions.sockets()["/ws/chat/<slug>/", kind], ",".join(observed.values())


async def _enter(path: str, headers: dict[str, str]) -> str:
    """What somebody meets who comes with a cookie, or with a token in the first message, which is then no header."""
    token = headers.pop("authorization", "").removeprefix("Bearer ")
    async with talking(path, headers=headers) as talker:
        if token:
            talker.say({"type": "auth", "token": token})
        while True:
            message = await talker.hears_or_ends()
            if message is None:
                return {403: "–", 4401: "sign in", 4403: "no", 4404: "hidden"}[talker.ended_with]
            if "you" in message and bool(message["you"]["id"]) == bool(token or headers):
                return "yes" if message["you"]["may_write"] else "reads"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/ws/chat/", "/ws/chat/a/b/", "/ws/", "/", "/admin/", "/auth/me"])
def test_nothing_listens_elsewhere(credentials: dict[str, dict[str, str]], role: str, path: str) -> None:
    async def go() -> tuple[bool | None, list[str]]:
        async with talking(path, headers={**credentials[role], "origin": "http://testserver"}) as talker:
            await talker.hears_or_ends()
            return talker.is_accepted, talker.heard

    assert asyncio.run(go()) == (False, [])
    assert permissions.sockets()["everywhere else", "–"][role] == "–"


def test_every_route_of_a_websocket_stands_in_the_table() -> None:
    listening = [str(route.pattern) for route in websockets.routes if route.callback is not refuse_websocket]
    assert ["/" + re.sub(r"<\w+:", "<", pattern) for pattern in listening] == ["/ws/chat/<slug>/"]
    assert set(permissions.sockets()) == {("/ws/chat/<slug>/", kind) for kind in ROOMS} | {("everywhere else", "–")}


def test_no_row_is_about_a_route_that_is_gone() -> None:
    assert {row.route for row in permissions.rows()} == set(GROUPS)


def test_the_document_shows_the_table_as_it_is() -> None:
    call_command("security_reference", "--check")


def test_a_document_out_of_date_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "markdown", lambda: "something else")
    with pytest.raises(CommandError, match="make permissions"):
        call_command("security_reference", "--check")


def _pages() -> Iterator[str]:
    for group, routes in GROUPS.items():
        if group.startswith(PAGES):
            yield from (route.template for route in routes if not route.arguments)


@pytest.mark.django_db
@pytest.mark.parametrize("template", sorted(_pages()))
def test_no_page_takes_a_form_without_its_token(asgi: AsgiClient, template: str) -> None:
    user = User.objects.create_superuser("sam", "sam@example.org", "a long enough phrase")
    headers = _signed_in(user)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = asgi.request(method, "/" + template, headers=headers)
        assert answer.status in {403, 405}
