"""The headers that keep a browser from doing what the site did not mean, on every response, whoever made it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.test import Client, RequestFactory

from accounts.models import User
from bambisleep.tests.client import Answer, AsgiClient
from observability import problems
from observability.http.headers import StandingHeaders

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
SCRIPTS = sorted(Path(__file__).resolve().parents[2].glob("*/static/**/*.js"))

# Made by a view, by DRF, past the middleware, by the static files, by the error handlers, and by the edge itself.
RESPONSES: dict[str, Callable[[AsgiClient], Answer]] = {
    "a page": lambda asgi: asgi.get("/"),
    "the admin": lambda asgi: asgi.get("/admin/login/"),
    "the API's description": lambda asgi: asgi.get("/api/docs"),
    "a problem of the API": lambda asgi: asgi.post("/auth/login", json={}),
    "metrics": lambda asgi: asgi.get("/metrics"),
    "an unknown address": lambda asgi: asgi.get("/no/such/page", headers={"accept": "text/html"}),
    "a refused host": lambda asgi: asgi.get("/", headers={"host": "elsewhere.example"}),
    "a refused method": lambda asgi: asgi.request("TRACE", "/"),
    "an attempt to climb": lambda asgi: asgi.get("/content/../../etc/passwd"),
    "a body that is too large": lambda asgi: asgi.post("/auth/login", headers={"content-length": "99999999"}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", RESPONSES)
def test_every_response_carries_them(asgi: AsgiClient, kind: str) -> None:
    headers = RESPONSES[kind](asgi).headers
    policy = headers["content-security-policy"]
    for directive in ("default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert directive in policy
    assert "unsafe-" not in policy
    assert "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "no-store" in headers["cache-control"]


@pytest.mark.django_db
@pytest.mark.parametrize("kind", RESPONSES)
def test_every_response_says_what_it_is(asgi: AsgiClient, kind: str) -> None:
    answer = RESPONSES[kind](asgi)
    content_type = answer.headers["content-type"]
    assert answer.body or 300 <= answer.status < 400
    assert not content_type.startswith("text/") or "charset=utf-8" in content_type
    if answer.body:
        assert content_type.startswith("text/html") == answer.body.lstrip().lower().startswith(b"<!doctype html>")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/", "/auth/me", "/auth/login", "/dora", "/metrics", "/api/schema", "/static/site.css"]
)
@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://testserver"])
def test_no_page_of_another_origin_may_read_an_answer(asgi: AsgiClient, path: str, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    for answer in (asgi.get(path, headers={"origin": origin}), asgi.request("OPTIONS", path, headers=asked)):
        assert [name for name in answer.headers if name.startswith("access-control-")] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/.git/config", "/.git/", "/.env", "/manage.py", "/static/", "/static/admin/", "/static/.git/config"]
)
def test_nothing_of_the_checkout_is_served_and_no_directory_is_listed(asgi: AsgiClient, path: str) -> None:
    assert asgi.get(path).status == 404


@pytest.mark.django_db
def test_only_the_drawn_api_may_load_pictures_that_a_stylesheet_carries(asgi: AsgiClient) -> None:
    assert "data:" not in asgi.get("/").headers["content-security-policy"]
    assert "img-src 'self' data:;" in asgi.get("/api/docs").headers["content-security-policy"]


def test_hsts_is_told_over_tls_only(settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000
    settings.STRICT_TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"
    headers = StandingHeaders()
    value = dict(headers.added_to([], scheme="https"))[b"strict-transport-security"]
    assert value == b"max-age=31536000; includeSubDomains"
    assert b"strict-transport-security" not in dict(headers.added_to([], scheme="http"))


def test_what_a_response_says_itself_stands() -> None:
    given = [(b"Cache-Control", b"max-age=60")]
    added = StandingHeaders().added_to(given, scheme="http")
    assert [value for name, value in added if name.lower() == b"cache-control"] == [b"max-age=60"]


def test_no_template_holds_a_script_a_style_or_a_handler() -> None:
    forbidden = re.compile(r"<style|\sstyle=|\son[a-z]+=|javascript:")
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        assert forbidden.search(text) is None, path
        for script in text.split("<script")[1:]:
            opening = script.split(">", 1)[0]
            assert "src=" in opening or 'type="application/json"' in opening, path


def test_no_script_of_ours_writes_html_or_hears_other_windows() -> None:
    forbidden = re.compile(
        r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\b|new Function|postMessage|\bonmessage\b"
        r"|(?<!\bsocket\.)addEventListener\(\s*[\"']message[\"']"  # but from the chat's own connection
    )
    assert len(SCRIPTS) >= 5
    for path in SCRIPTS:
        assert forbidden.search(path.read_text()) is None, path


def test_only_these_scripts_keep_anything_in_the_browser() -> None:
    """How fast somebody plays, which browser a stranger has, where an unfinished upload goes on; of the chat what is
    not sent yet, as long as the tab is open, and the number of the last message that was read."""
    storing = re.compile(r"(local|session)Storage|indexedDB|document\.cookie")
    keeping = {path.name for path in SCRIPTS if storing.search(path.read_text())}
    assert keeping == {"player.js", "watch-time.js", "upload.js", "composer.js", "outbox.js", "reading.js"}


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "TRACK", "BREW"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/admin/", "/auth/login", "/static/site.css", "/no/such/page"])
def test_a_method_that_nothing_needs_is_refused_everywhere(asgi: AsgiClient, method: str, path: str) -> None:
    answer = asgi.request(method, path)
    assert answer.status == 405
    assert method not in answer.headers["allow"]


@pytest.mark.django_db
def test_security_txt_says_whom_to_tell_and_until_when(asgi: AsgiClient, settings: Any) -> None:
    settings.SECURITY_CONTACT = "mailto:security@example.org"
    settings.SECURITY_CONTACT_EXPIRES = "2030-12-31"
    answer = asgi.get("/.well-known/security.txt")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = answer.body.decode().splitlines()
    assert lines[0] == "Contact: mailto:security@example.org"
    assert "Expires: 2030-12-31T23:59:59Z" in lines
    assert f"Canonical: {site.PUBLIC_URL}/.well-known/security.txt" in lines


@pytest.mark.django_db
def test_security_txt_is_not_there_without_a_contact(asgi: AsgiClient) -> None:
    assert asgi.get("/.well-known/security.txt").status == 404


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_error_pages_are_pages_for_people_and_problems_for_clients(status: int) -> None:
    for accept, content_type in {"text/html": "text/html; charset=utf-8", "*/*": problems.CONTENT_TYPE}.items():
        request = RequestFactory().get("/somewhere", headers={"accept": accept})
        response = problems.error_response(request, status, "What happened.")
        assert response.status_code == status
        assert response["Content-Type"] == content_type
        assert b"What happened." in response.content


@pytest.mark.django_db
def test_who_guesses_too_often_is_told_so_on_a_page(asgi: AsgiClient, member: User) -> None:
    browser = Client(headers={"accept": "text/html"})
    for _ in range(10):
        browser.post("/accounts/login/", {"login": member.username, "password": "not the password"})
    answer = browser.post("/accounts/login/", {"login": member.username, "password": "not the password"})
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert b"<h1>Too Many Requests</h1>" in answer.content


@pytest.mark.django_db
def test_an_error_page_names_the_request_to_quote(asgi: AsgiClient) -> None:
    answer = asgi.get("/no/such/page", headers={"accept": "text/html", "x-request-id": "quote-this-one-0001"})
    assert answer.status == 404
    assert b"<code>quote-this-one-0001</code>" in answer.body
