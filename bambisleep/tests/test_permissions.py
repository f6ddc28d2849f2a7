"""The permission matrix: every route × method × role, with objects that belong to somebody, held against one table."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from asgiref.sync import async_to_sync
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
from bambisleep.tests.objects import objects_of
from bambisleep.tests.routes import Route, every_route
from observability.delivery import tokens as deploy_tokens

GROUPS: dict[str, list[Route]] = defaultdict(list)
for route in every_route():
    GROUPS[route.group].append(route)

SCRAPER, ALERTMANAGER = "a-token-for-the-scraper-only", "a-token-for-alertmanager-only"
WORDS = ("yes", "sign in", "no", "hidden", "–")
CSRF = "a" * 32
PAGES = ("/admin/", "/accounts/", "/billing/")  # they take forms, the rest JSON
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
        for role, headers in credentials.items():
            met = {_ask(asgi, method, path, headers) for path in paths}
            words[role] = "/".join(sorted(met, key=WORDS.index))
    table = {key: words for key, words in permissions.expected().items() if key[0] == group}
    seen = permissions.as_csv(permissions.grouped(observed))
    assert observed == table, f"permissions.csv should say, if that is right:\n{seen}"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/ws/chat/lobby/", "/", "/admin/", "/auth/me"])
def test_no_handshake_of_a_websocket_is_taken(
    asgi: AsgiClient, credentials: dict[str, dict[str, str]], role: str, path: str
) -> None:
    headers = [(name.encode(), value.encode()) for name, value in credentials[role].items()]
    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
    said = _handshake(asgi, {**scope, "scheme": "ws", "client": ("203.0.113.7", 50_000), "subprotocols": []})
    assert [message["type"] for message in said] == ["websocket.close"]


@async_to_sync
async def _handshake(asgi: AsgiClient, scope: dict[str, Any]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await asgi.application(scope, receive, send)
    return said


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
