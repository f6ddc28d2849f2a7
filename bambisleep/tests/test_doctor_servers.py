"""What `manage.py doctor` finds of the servers that the site needs; the real ones are in e2e/test_doctor.py."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections
from django.utils import timezone

from accounts.models import OutgoingMail
from bambisleep.doctor import (
    database,
    mail,
    monitoring,
    outside,
    redis_server,
    stripe_account,
)
from bambisleep.doctor.findings import Level
from bambisleep.tests.diagnosis import http_server, levels, worst
from observability.delivery import tokens as deploy_tokens
from payments.tests import rows as paid
from payments.tests.conftest import stripe_standin  # noqa: F401 - a fixture

# --- Database ---


@pytest.mark.django_db(transaction=True)
def test_the_tests_database_is_good() -> None:
    found = list(database.database_is_good())
    assert not [finding for finding in found if finding.level == Level.ERROR]
    assert found[0].text.startswith(("PostgreSQL", "SQLite"))
    assert worst(database.migrations_are_applied()).level == Level.OK


@pytest.mark.django_db
def test_migrations_that_are_missing_and_ones_from_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    def applied(self: Any) -> dict[Any, Any]:
        there = {key: None for key in before if key != last}
        return there | {("content", "0099_from_tomorrow"): None}

    before = database.MigrationRecorder(database.connection).applied_migrations()
    last = max(key for key in before if key[0] == "content")
    monkeypatch.setattr(database.MigrationRecorder, "applied_migrations", applied)
    found = levels(database.migrations_are_applied())
    assert found[f"1 migrations are not applied: {last[0]} {last[1]}."] == "error"
    assert "content 0099_from_tomorrow" in next(text for text, level in found.items() if level == "note")


def test_a_database_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(type(connections["default"]), "ensure_connection", refuse)
    (found,) = database.database_is_good()
    assert (found.level, found.text) == (Level.ERROR, "It does not answer: connection refused")


# --- Redis ---

REDIS = {
    "redis_version": "7.0.15",
    "used_memory": 100,
    "used_memory_human": "1M",
    "maxmemory": 1000,
    "maxmemory_policy": "allkeys-lru",
    "connected_clients": 3,
    "maxclients": 10000,
    "role": "master",
}


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({}, Level.OK),
        ({"redis_version": "5.0.1"}, Level.WARNING),
        ({"maxmemory": 0}, Level.NOTE),
        ({"maxmemory_policy": "noeviction"}, Level.WARNING),
        ({"maxmemory_policy": "noeviction", "used_memory": 950}, Level.ERROR),
        ({"rdb_last_bgsave_status": "err"}, Level.ERROR),
        ({"aof_last_write_status": "err"}, Level.ERROR),
        ({"connected_clients": 9900}, Level.WARNING),
        ({"role": "slave"}, Level.ERROR),
    ],
)
def test_what_redis_says_of_itself(changed: dict[str, Any], level: Level) -> None:
    assert worst(redis_server._judged({**REDIS, **changed})).level == level


# --- Mail ---


@contextmanager
def mail_server(*, greeting: str = "220 mail.example", password_is_good: bool = True) -> Iterator[tuple[int, Any]]:
    """As much of SMTP as doctor says; the port, and the commands that came."""
    said: list[str] = []

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(f"{greeting}\r\n".encode())
            for line in self.rfile:
                said.append(line.decode().split()[0].upper())
                auth = b"235 good\r\n" if password_is_good else b"535 no\r\n"
                replies = {"EHLO": b"250-mail.example\r\n250 AUTH PLAIN\r\n", "AUTH": auth, "QUIT": b"221 bye\r\n"}
                self.wfile.write(replies.get(said[-1], b"502 what?\r\n"))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1], said
        server.shutdown()


def use_mail(settings: Any, port: int) -> None:
    settings.EMAIL_DELIVERY_BACKEND, settings.DEFAULT_FROM_EMAIL = mail.SMTP, "site@example.org"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "site", "the mail server's password"


@pytest.mark.django_db
def test_the_mail_server_is_greeted_and_nothing_is_sent(settings: Any) -> None:
    with mail_server() as (port, said):
        use_mail(settings, port)
        assert worst(mail.mails_can_be_sent()).level == Level.OK
    assert said == ["EHLO", "AUTH", "QUIT"] or said == ["EHLO", "EHLO", "AUTH", "QUIT"]


@pytest.mark.django_db
def test_a_mail_server_that_refuses_the_password_or_is_none(settings: Any) -> None:
    with mail_server(password_is_good=False) as (port, _):
        use_mail(settings, port)
        assert "refuses the user or the password" in worst(mail.mails_can_be_sent()).text
    assert "does not answer as a mail server does" in worst(mail.mails_can_be_sent()).text
    with mail_server(greeting="554 go away") as (port, _):
        use_mail(settings, port)
        assert "does not answer as a mail server does" in worst(mail.mails_can_be_sent()).text
    with mail_server() as (port, _):
        use_mail(settings, port)
        settings.EMAIL_USE_SSL = True
        found = worst(mail.mails_can_be_sent())
        assert (found.level, "TLS" in found.text) == (Level.ERROR, True)


@pytest.mark.django_db
def test_mails_that_go_nowhere_come_from_nowhere_or_wait(settings: Any) -> None:
    settings.EMAIL_DELIVERY_BACKEND = "django.core.mail.backends.console.EmailBackend"
    settings.DEFAULT_FROM_EMAIL = "bambisleep@localhost"
    at = timezone.now() - timedelta(hours=5)
    OutgoingMail.objects.create(
        recipients=["a@example.org"], sender="b@example.org", subject="Hi", created_at=at, last_error="550 no such box"
    )
    found = levels(mail.mails_can_be_sent())
    assert list(found.values()) == ["warning"] * 3
    assert any("1 mails wait" in text and "550 no such box" in text for text in found)


# --- Stripe ---


@pytest.mark.django_db
def test_stripe_without_a_key_is_demo_mode() -> None:
    assert worst(stripe_account.stripe_is_set_up()).level == Level.NOTE


@pytest.mark.django_db
def test_stripe_that_nobody_has_set_up_yet_and_then_somebody_has(stripe_standin: Any, settings: Any) -> None:  # noqa: F811
    settings.STRIPE_WEBHOOK_SECRETS = []
    found = levels(stripe_account.stripe_is_set_up())
    assert sorted(level for level in found.values() if level == "error") == ["error"] * 2
    assert any("No webhook endpoint" in text for text in found)
    assert any("no webhook secret" in text for text in found)
    call_command("setup_stripe", stdout=StringIO())
    found = levels(stripe_account.stripe_is_set_up())
    assert {"warning", "error"}.isdisjoint(found.values())
    assert any(text.startswith("The key is good: test mode") for text in found)
    assert "Stripe's clock agrees with this machine's." in found


@pytest.mark.django_db
def test_stripe_that_leaves_events_out_or_whose_events_fail(stripe_standin: Any) -> None:  # noqa: F811
    call_command("setup_stripe", stdout=StringIO())
    with stripe_standin.engine.exclusively() as state:
        (endpoint,) = state.find("webhook_endpoint")
        endpoint["enabled_events"] = ["invoice.paid"]
    paid.failed_event()
    found = levels(stripe_account.stripe_is_set_up())
    assert any("leaves out" in text and level == "warning" for text, level in found.items())
    assert found["1 events could not be processed."] == "warning"


@pytest.mark.django_db
def test_a_stripe_that_does_not_answer(stripe_standin: Any, settings: Any) -> None:  # noqa: F811
    from payments import stripe_api

    settings.STRIPE_API_BASE = "http://127.0.0.1:1"
    stripe_api.install()
    found = worst(stripe_account.stripe_is_set_up())
    assert found.level == Level.ERROR
    assert "http://127.0.0.1:1 does not answer" in found.text


# --- Monitoring ---


def target(health: str = "up", job: str = "bambisleep") -> dict[str, Any]:
    return {"labels": {"job": job}, "health": health, "scrapeUrl": "http://site:3001/metrics", "lastError": "401"}


@pytest.mark.parametrize(
    ("targets", "level", "said"),
    [
        ([target(), target()], Level.OK, "scrapes 2 processes"),
        ([target(), target("down")], Level.ERROR, "cannot scrape http://site:3001/metrics: 401"),
        ([target(job="node")], Level.ERROR, "no target of the job bambisleep"),
    ],
)
def test_what_prometheus_scrapes(targets: list[Any], level: Level, said: str, settings: Any) -> None:
    with http_server({"/api/v1/targets": {"data": {"activeTargets": targets}}}) as (url, _):
        settings.PROMETHEUS_URL = url
        found = worst(monitoring.prometheus_scrapes())
    assert found.level == level
    assert said in found.text


def status(configuration: str) -> dict[str, Any]:
    return {"config": {"original": configuration}, "versionInfo": {"version": "0.25.0"}}


@pytest.mark.django_db
def test_whom_alertmanager_tells(settings: Any) -> None:
    settings.ALERTS_TOKEN = ""
    good = "receivers: [{slack_configs: [], webhook_configs: [{url: https://members.example/alerts}]}]"
    with http_server({"/api/v2/status": status(good)}) as (settings.ALERTMANAGER_URL, _):
        assert "no token for POST /alerts" in worst(monitoring.alerts_arrive()).text
        deploy_tokens.issue(name="alertmanager", scopes=["alerts:write"])
        assert worst(monitoring.alerts_arrive()).level == Level.OK
    with http_server({"/api/v2/status": status("receivers: [{name: nobody}]")}) as (settings.ALERTMANAGER_URL, _):
        assert list(levels(monitoring.alerts_arrive()).values()) == ["ok", "warning", "warning"]
    with http_server({"/api/v2/status": b"no json"}) as (settings.ALERTMANAGER_URL, _):
        assert worst(monitoring.alerts_arrive()).level == Level.ERROR


@pytest.mark.django_db
def test_monitoring_that_is_away_or_was_not_set_up(settings: Any) -> None:
    settings.PROMETHEUS_URL = settings.ALERTMANAGER_URL = "http://127.0.0.1:1"
    settings.SLACK_WEBHOOK_URLS, settings.ALERTS_TOKEN = ["http://127.0.0.1:1/services/secret"], "a token"
    for look in (monitoring.prometheus_scrapes, monitoring.alerts_arrive, monitoring.slack_is_in_reach):
        found = worst(look())
        assert found.level == Level.ERROR
        assert "secret" not in found.text
    settings.PROMETHEUS_URL = settings.ALERTMANAGER_URL = ""
    settings.SLACK_WEBHOOK_URLS = []
    for look in (monitoring.prometheus_scrapes, monitoring.alerts_arrive, monitoring.slack_is_in_reach):
        assert worst(look()).level == Level.NOTE


def test_slack_is_reached_and_told_nothing(settings: Any) -> None:
    with http_server({}) as (url, posted):
        settings.SLACK_WEBHOOK_URLS = [f"{url}/services/secret", "", f"{url}/services/other"]
        assert [finding.level for finding in monitoring.slack_is_in_reach()] == [Level.OK]
    assert not posted


# --- The outside ---


@pytest.mark.parametrize(
    ("days", "level"), [(60, Level.OK), (20, Level.WARNING), (6, Level.ERROR), (-1, Level.ERROR)]
)  # fmt: skip
def test_how_long_the_certificate_is_good(days: int, level: Level) -> None:
    assert outside._until(timedelta(days=days), "It ends").level == level


def test_the_site_answers_and_shows_its_metrics_to_nobody(settings: Any) -> None:
    with http_server({"/health/live": {}, "/": {}, "/metrics": b"up 1"}) as (settings.PUBLIC_URL, _):
        found = levels(outside.outside_sees_what_it_should())
        assert list(found.values()) == ["ok", "warning"]
        assert "Everybody may read /metrics." in found
    with http_server({"/health/live": {}, "/": {}}) as (settings.PUBLIC_URL, _):
        assert list(levels(outside.outside_sees_what_it_should()).values()) == ["ok"]
    assert worst(outside.outside_sees_what_it_should()).level == Level.ERROR
    assert worst(outside.certificate_is_good()).level == Level.NOTE
