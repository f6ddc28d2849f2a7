"""`manage.py doctor`: how checks are run, what is told of them, and that no secret is."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError
from django.utils import timezone

from bambisleep.doctor import (
    running,
)
from bambisleep.doctor.findings import CHECKS, Check, Finding, Level, check, error, note, ok, warning
from bambisleep.management.commands.doctor import Command
from bambisleep.tests.diagnosis import http_server
from payments.tests.conftest import stripe_standin  # noqa: F401 - a fixture


def one(look: Callable[[], Any], seconds: float = 5) -> list[Finding]:
    (examined,) = running.examine([Check("a check", seconds, look)])
    return examined.findings


def test_what_a_check_raises_is_what_it_found() -> None:
    def look() -> Iterator[Finding]:
        yield ok("So far, so good.")
        raise ValueError("There is a hole\nin it")

    found = one(look)
    assert [finding.level for finding in found] == [Level.OK, Level.ERROR]
    assert found[1].text == "Could not be looked at: ValueError: There is a hole"


def test_a_check_that_does_not_end_has_that_for_a_finding_beside_what_it_said() -> None:
    end = threading.Event()

    def look() -> Iterator[Finding]:
        yield ok("So far, so good.")
        end.wait(60)

    found = one(look, seconds=0.2)
    end.set()
    assert [finding.level for finding in found] == [Level.OK, Level.ERROR]
    assert "within 0.2 seconds" in found[1].text


def test_without_the_database_only_the_check_of_the_database_fails() -> None:
    def look() -> Iterator[Finding]:
        raise OperationalError("connection refused")
        yield

    (found,) = one(look)
    assert (found.level, found.remedy) == (Level.NOTE, "See the database.")


@pytest.mark.parametrize(
    "problem",
    [OperationalError("no such table: accounts_user"), ProgrammingError('relation "accounts_user" does not exist')],
)
def test_without_migrations_only_the_check_of_migrations_fails(problem: Exception) -> None:
    def look() -> Iterator[Finding]:
        raise problem
        yield

    (found,) = one(look)
    assert (found.level, found.remedy) == (Level.NOTE, "See the migrations.")


def test_what_is_bad_says_what_to_do() -> None:
    for tell in (warning, error):
        with pytest.raises(ValueError, match="What is to be done"):
            tell("It is broken.", "")


def test_something_is_looked_at_once() -> None:
    with pytest.raises(ValueError, match="looked at twice"):
        check("database")


SECRETS = {
    "SECRET_KEY": "kept-by-the-site-0123456789",
    "SECRET_KEY_FALLBACKS": ["a-former-key-of-the-site"],
    "JWT_SIGNING_KEY": "signs-what-the-api-gives",
    "JWT_SIGNING_KEY_FALLBACKS": ["signed-what-the-api-gave"],
    "REDIS_URL": "redis://:open-sesame@127.0.0.1:6379/0",
    "EMAIL_HOST_PASSWORD": "p@ss/of-the:mail server",
    "STRIPE_SECRET_KEY": "an-unusual-stripe-key",
    "STRIPE_WEBHOOK_SECRETS": ["an-unusual-webhook-secret"],
    "LIBRARY_BUCKET_SECRET": "the-bucket/its+secret",
    "METRICS_TOKEN": "may-scrape",
    "ALERTS_TOKEN": "may-alert",
    "SLACK_WEBHOOK_URLS": ["https://hooks.slack.example/services/T00/B00/xyzzy"],
}


def words(name: str) -> str:
    value = SECRETS[name]
    plain = value[0] if isinstance(value, list) else value
    return {"REDIS_URL": "open-sesame", "SLACK_WEBHOOK_URLS": "/services/T00/B00/xyzzy"}.get(name, plain)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("where", ["text", "remedy", "exception"])
def test_no_secret_is_told(name: str, where: str, settings: Any) -> None:
    setattr(settings, name, SECRETS[name])
    secret = words(name)

    def look() -> Iterator[Finding]:
        if where == "exception":
            raise ValueError(f"cannot use {secret} here")
        said = f"see {secret} here"
        yield error(said, "See there.") if where == "text" else error("Broken.", said)

    (found,) = one(look)
    assert secret not in f"{found.text} {found.remedy}"
    assert running.BLANK in f"{found.text} {found.remedy}"


def test_nor_is_the_databases_password(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", "let me in")
    (found,) = one(lambda: [error("postgres://me:let%20me%20in@db refused let me in", "See there.")])
    assert found.text == "postgres://[redacted]@db refused …"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **checks: Finding) -> tuple[str, str, int]:
    monkeypatch.setattr(
        "bambisleep.management.commands.doctor.CHECKS",
        {name: Check(name, 5, lambda finding=finding: [finding]) for name, finding in checks.items()},
    )
    output, errors, status = StringIO(), StringIO(), 0
    try:
        call_command(Command(), *arguments, stdout=output, stderr=errors, no_color=True)
    except CommandError as ended:
        status = ended.returncode
        errors.write(str(ended))
    return output.getvalue(), errors.getvalue(), status


def test_it_tells_each_finding_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    output, errors, status = run(monkeypatch, disks=ok("Room."), mail=warning("Slow.", "Wait."))
    assert output == "disks\n  ok       Room.\nmail\n  warning  Slow.\n           → Wait.\n"
    assert (errors, status) == ("0 errors, 1 warning.\n", 0)


def test_an_error_ends_it_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    _, errors, status = run(monkeypatch, disks=error("Full.", "Make room."), mail=ok("Good."))
    assert (errors, status) == ("1 error, 0 warnings.", 1)


def test_it_may_keep_quiet_about_what_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _, _ = run(monkeypatch, "--quiet", disks=ok("Room."), mail=note("None."), redis=warning("Old.", "Upgrade."))
    assert output.splitlines()[0] == "redis"


def test_it_speaks_json(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _, status = run(monkeypatch, "--json", disks=error("Full.", "Make room."), mail=ok("Good."))
    told = json.loads(output)
    assert status == 1
    assert told["counts"] == {"ok": 1, "note": 0, "warning": 0, "error": 1}
    assert told["checks"][0]["findings"] == [{"level": "error", "text": "Full.", "remedy": "Make room."}]


def test_a_part_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _, _ = run(monkeypatch, "--only", "mail", disks=ok("Room."), mail=ok("Good."))
    assert output == "mail\n  ok       Good.\n"


@pytest.mark.django_db
def test_only_when_asked_to_it_sends_a_mail_and_an_alert(
    settings: Any, monkeypatch: pytest.MonkeyPatch, mailoutbox: list[Any]
) -> None:
    settings.EMAIL_DELIVERY_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    with http_server({}) as (settings.ALERTMANAGER_URL, posted):
        output, _, exit_status = run(monkeypatch, "--send", "sam@example.org", disks=ok("Room."))
    assert exit_status == 0
    assert "A mail is on its way to sam@example.org" in output
    assert [mail.to for mail in mailoutbox] == [["sam@example.org"]]
    ((path, (alert,)),) = posted
    assert (path, alert["labels"]["severity"]) == ("/api/v2/alerts", "info")
    assert datetime.fromisoformat(alert["endsAt"]) > timezone.now()


def test_everything_that_was_promised_is_looked_at() -> None:
    assert set(CHECKS) == {
        "settings", "security.txt", "static files", "database", "migrations", "versions", "descriptors", "disks",
        "mail", "prometheus", "alertmanager", "slack", "certificate", "public address", "superusers",
        "client addresses", "redis", "stripe", "periodic tasks", "facts", "library",
    }  # fmt: skip
