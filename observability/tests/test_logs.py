"""Log lines: one a request, one shape for all, and no secret in any."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import structlog
from django.conf import settings

from bambisleep.tests.client import AsgiClient
from observability.http import edge
from observability.http.exchange import Exchange, current
from observability.logs import REDACTED, Lines, configuration, one_line, redact, redacted

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoiMTcifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
SECRETS = [
    JWT,
    JWT.rpartition(".")[0],  # cut short
    "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "rk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH",
    "bsd_k7f3h2j9x1c5v8b4n6m0q2w4",
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "4242+4242+4242+4242",
    "4242%204242%204242%204242",
    "4242424242424242",
    "378282246310005",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$c29tZXNhbHQ$aGFzaA",
    "pbkdf2_sha256$1000000$c29tZXNhbHQ$aGFzaA=",
]
SECRETS_AND_THEIR_PLACES = [
    ("postgres://mara:hunter22@db:5432/x", "hunter22"),
    ("redis://:hunter22@cache", "hunter22"),
    ("postgres://mara:hunt@er22@db/x", "er22"),
    ("Authorization: Bearer abcdefgh12", "abcdefgh12"),
    ("sent bearer correct-horse-battery to us", "correct-horse"),
    ("Basic bWFyYTpodW50ZXIyMg==", "bWFyYTpodW50ZXIyMg"),
    ("Cookie: theme=dark; sessionid=hunter22", "hunter22"),
    ("password=hunter22 host=db", "hunter22"),
    ("username=mara&password=hunter22&x=1", "hunter22"),
    ('{"password": "hun ter22", "x": 1}', "ter22"),
    ("{'refresh_token': 'hun ter22'}", "ter22"),
    ("https://members.example/reset?key=hunter22", "hunter22"),
    ("Referer checking failed - /a/b?next=hunter22&x does not match", "hunter22"),
    ("/accounts/password/reset/key/1-d2k9ab-0123456789abcdef/", "0123456789abcdef"),
    ("/accounts/password/reset/key/1-d2k9ab-0123456789abcdef", "0123456789abcdef"),
    ("/accounts/password/reset/key/1-set-password-d2k9ab/", "d2k9ab"),
    ("/accounts/confirm-email/MQ:1vP3xk:0123_abcdef-789/", "0123_abcdef-789"),
    ("/accounts/confirm-email/MQ%3A1vP3xk%3A0123_abcdef-789?next=hunter22", "0123_abcdef-789"),
    ("Internal Server Error: /accounts/confirm-email/MQ:1vP3xk:0123_abcdef/", "0123_abcdef"),
    ("/elsewhere/confirm-email/hunter22?key=hunter22", "hunter22"),
    ("null value violates\nDETAIL:  Failing row contains (1, mara, hunter22).", "hunter22"),
]
SECRET_KEYS = [
    *["password", "new_password1", "Authorization", "refresh_token", "accessToken", "X-Api-Key", "HTTP_COOKIE"],
    *["card_number", "card", "cvc", "otp", "sessionid", "session_key", "csrfmiddlewaretoken", "client_secret"],
    *["signing_key", "Stripe-Signature", "credentials", "pwd"],
]
ORDINARY = [
    "3f1d9c0a7b6e4d5c8f2a1b0c9d8e7f6a",  # request ids
    "req-2025-11-24.0001_a",
    "0b6f2f6e-5a7e-4f3b-9a2c-1d7e8c9f0a1b",
    "41ab1fd8842ca8f8aaff1e2d3c4b5a6978869504",  # a commit
    "/content/articles/2025/11/24/a-quiet-night-41/",
    "/watch/episode/1234567890123/",
    "/accounts/password/reset/key/1-set-password/",
    "/accounts/password/reset/key/done/",
    "/accounts/confirm-email/",
    "/static/admin/js/vendor/jquery/jquery.min.4f8b2c1d9e0a.js",
    "2025-11-24T04:09:44.123456Z",
    "2025-11-24 04:09:44 2025-11-25 04:09:44",
    "1732420184123",  # milliseconds and nanoseconds since 1970
    "1732420184123456789",
    "4242424242424243",  # no card number: the check digit is wrong
    "mara_2025",
    "mara@example.org",
    "Ünïcode-Näme",
    "task_test_runner_done",
    "freebsd_release_notes_12",
    "basic functionality is missing",
    "Bearer authentication failed.",
    "Is it? a=b",
    "http://localhost:3000/admin/",
    "203.0.113.7, 2001:db8::1",
    "The token is not valid. Sign in again.",
    "token = RefreshToken(raw)",
    "OperationalError: connection to server at 127.0.0.1, port 5432 failed: Connection refused",
]


@pytest.fixture
def as_in_production() -> Iterator[None]:
    """Logging configured as JSON, and put back as it was."""
    root, kept, raises = logging.getLogger(), logging.getLogger().handlers[:], logging.raiseExceptions
    configuration(level="INFO", log_format="json")
    yield
    configuration(level=settings.LOG_LEVEL, log_format=settings.LOG_FORMAT)
    root.handlers[:], logging.raiseExceptions = kept, raises


@pytest.fixture
def lines(as_in_production: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What the edge and the standard library's loggers write during the test, read as JSON, line by line."""
    written = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", written)
        logger = structlog.get_logger("bambisleep.http").bind()
    monkeypatch.setattr(edge, "log", logger)
    monkeypatch.setattr(logging.getLogger().handlers[0], "stream", written)
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.parametrize("secret", SECRETS)
def test_it_blanks_a_secret_by_its_look(secret: str) -> None:
    for text in (secret, f"/path/{secret}/more", f"before {secret}, after", f"x={secret}&y=1", f"'{secret}'"):
        assert secret not in redacted(text)


@pytest.mark.parametrize(("text", "secret"), SECRETS_AND_THEIR_PLACES)
def test_it_blanks_a_secret_by_its_place(text: str, secret: str) -> None:
    assert secret not in redacted(text)
    assert REDACTED in redacted(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_it_leaves_ordinary_texts_alone(text: str) -> None:
    assert redacted(text) == text


def test_it_keeps_what_stands_around_a_secret() -> None:
    assert redacted("/pay/4242424242424242/now") == "/pay/[redacted]/now"
    assert redacted("postgres://mara:hunter22@db/x") == "postgres://[redacted]@db/x"
    assert redacted("https://members.example/a?b=c end") == "https://members.example/a?[redacted] end"
    assert redacted("password=hunter22 host=db") == "password=[redacted] host=db"


@pytest.mark.parametrize("key", SECRET_KEYS)
@pytest.mark.parametrize("value", ["plain words", 424242, ["a", "b"], {"inner": "plain words"}, b"plain words"])
def test_it_blanks_a_value_by_its_key(key: str, value: Any) -> None:
    assert redact(None, "", {key: value}) == {key: REDACTED}


@pytest.mark.parametrize("key", ["wildcard", "discarded", "hotpath", "token_type", "sessions", "key", "passed"])
def test_it_leaves_ordinary_keys_alone(key: str) -> None:
    assert redact(None, "", {key: "plain words"}) == {key: "plain words"}


def test_it_looks_at_any_depth() -> None:
    event = {"a": {"b": [{"password": "hunter22"}, ({"c": f"has {JWT}"},)]}, "number": 4242424242424242}

    shown = redact(None, "", event)

    assert shown["a"] == {"b": [{"password": REDACTED}, [{"c": f"has {REDACTED}"}]]}
    assert shown["number"] == REDACTED


def test_it_looks_at_what_is_no_plain_value() -> None:
    shown = redact(None, "", {"error": ValueError(f"bad {JWT}"), "raw": JWT.encode(), "one_of": {JWT}, JWT: 1})

    assert JWT not in repr({key: value for key, value in shown.items() if key != JWT})


def test_it_ends_where_values_hold_each_other() -> None:
    endless: dict[str, Any] = {"password": "hunter22"}
    endless["again"] = endless

    assert "hunter22" not in str(redact(None, "", {"value": endless}))


def test_numbers_and_truth_stay_what_they_are() -> None:
    event = {"status": 200, "duration_ms": 1.5, "at": 1732420184123, "has_password": True, "password": None}

    assert redact(None, "", dict(event)) == event


def test_a_traceback_holds_no_secret(lines: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        try:
            raise KeyError(JWT)
        except KeyError as error:
            raise ValueError("postgres://mara:hunter22@db/x; password='hun ter22'") from error
    except ValueError:
        logging.getLogger("django.request").exception("Failed with %s", JWT)
        edge.log.exception("unhandled", path=f"/x/{JWT}")

    assert len(lines()) == 2
    for line in lines():
        assert "ValueError" in line["exception"]
        assert "test_logs.py" in line["exception"]
        assert JWT not in str(line)
        assert "hunter22" not in str(line)
        assert "ter22" not in str(line)


def test_a_call_with_wrong_arguments_does_not_print_them(lines: Any) -> None:
    handler = logging.getLogger().handlers[0]
    handler.handle(logging.LogRecord("x", logging.WARNING, "x.py", 1, "%d", ("hunter22",), None))

    assert lines() == []


@pytest.mark.django_db
def test_a_request_writes_one_line(asgi: AsgiClient, lines: Callable[[], list[dict[str, Any]]]) -> None:
    answer = asgi.get("/dora", headers={"X-Request-ID": "deploy-2025.11_24"}, query="days=30&token=hunter22")

    (line,) = lines()
    assert answer.headers["x-request-id"] == line["request_id"] == "deploy-2025.11_24"
    assert (line["event"], line["level"], line["method"]) == ("request", "info", "GET")
    assert (line["path"], line["route"], line["status"]) == ("/dora", "/dora", 200)
    assert (line["client"], line["user_id"]) == ("203.0.113.7", None)
    assert 0 < line["duration_ms"] < 20_000
    assert line["timestamp"].endswith("Z")
    assert "hunter22" not in str(line)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/no/such/", 404), ("POST", "/auth/login", 400), ("GET", "/a/../b", 400), ("FOO", "/dora", 405)],
)
def test_a_refused_request_writes_one_line(
    asgi: AsgiClient, lines: Callable[[], list[dict[str, Any]]], method: str, path: str, status: int
) -> None:
    asgi.request(method, path, json={})

    (line,) = [line for line in lines() if line["event"] == "request"]
    assert (line["method"], line["status"]) == (method, status)
    assert len(line["request_id"]) == 32
    assert len(lines()) == 1


@pytest.mark.django_db
def test_it_names_the_user_of_a_request(asgi: AsgiClient, member: Any, lines: Any) -> None:
    pair = asgi.post("/auth/login", json={"username": "mara", "password": "a long enough phrase"}).json

    asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair['access']}"})

    last = lines()[-1]
    assert (last["path"], last["user_id"]) == ("/auth/me", member.pk)
    for secret in (pair["access"], pair["refresh"], "a long enough phrase"):
        assert secret not in str(lines())


@pytest.mark.parametrize("path", ["/metrics", "/health", "/health/live", "/health/ready"])
@pytest.mark.django_db(transaction=True)
def test_scrapes_and_health_checks_write_none(asgi: AsgiClient, lines: Any, path: str) -> None:
    asgi.get(path)

    assert [line for line in lines() if line["event"] == "request"] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "forged", ['/x\n{"event": "request", "status": 200}', "/x\r\n", "/x\x1b[2J\x1b[31m", "/x\u2028y"]
)
def test_a_path_cannot_forge_a_line(asgi: AsgiClient, lines: Any, forged: str) -> None:
    asgi.get(forged)

    (line,) = lines()
    assert line["path"] == forged
    assert line["status"] == 404


@pytest.mark.parametrize("sent", ["short", "with space in it", "line\nbreak-1234", "x" * 65, "sémantics-1234"])
@pytest.mark.django_db
def test_a_request_id_that_is_not_safe_to_log_is_replaced(asgi: AsgiClient, lines: Any, sent: str) -> None:
    answer = asgi.get("/", headers={"X-Request-ID": sent})

    (line,) = lines()
    assert line["request_id"] == answer.headers["x-request-id"] != sent
    assert len(line["request_id"]) == 32


def test_in_development_a_line_stays_a_line_and_a_terminal_is_not_obeyed() -> None:
    event = {"event": "a\nb\x1b[31m", "path": "/x\r\n\x9b2J\u202ey", "exception": "Traceback\n  raise\x1b[2J"}

    shown = one_line(None, "", event)

    assert shown == {
        "event": r"a\nb\x1b[31m",
        "path": r"/x\r\n\x9b2J\u202ey",
        "exception": "Traceback\n  raise\\x1b[2J",
    }


def test_texts_in_other_scripts_are_shown_as_they_are() -> None:
    text = "Ünïcode – 日本語 – עברית – emoji 🙂"

    assert one_line(None, "", {"path": text}) == {"path": text}


def test_the_standard_library_s_loggers_pass_through_the_same_processors(lines: Any) -> None:
    token = current.set(Exchange(request_id="abcd-1234", started=0))
    try:
        logging.getLogger("django.security.csrf").warning("Forbidden (%s): %s", "reason\nforged", f"/x?t={JWT}")
    finally:
        current.reset(token)

    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "Forbidden (reason\nforged): /x?[redacted]",
        "level": "warning",
        "logger": "django.security.csrf",
        "request_id": "abcd-1234",
    }


@pytest.mark.parametrize("name", ["django.db.backends", "stripe", "httpx", "httpcore", "urllib3"])
@pytest.mark.usefixtures("as_in_production")
def test_nothing_that_shows_parameters_and_bodies_can_be_turned_on(name: str) -> None:
    configuration(level="DEBUG", log_format="json")

    assert logging.getLogger("accounts").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)


def test_a_line_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(OSError, match="No space"):
            structlog.WriteLogger(full).info("a line")

        lines = Lines()
        lines.info("a line")

        with suppress(OSError):
            full.close()
        lines.info("another, at the very end")
