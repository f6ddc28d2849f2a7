"""manage.py doctor beside the real servers: everything up, everything away, everything hung; and no secret in sight."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.redis import Redis
from e2e.servers import PRODUCTION, Installation, free_port
from e2e.stripe.standin import KEY, SECRET, standin_in_thread
from e2e.test_alertmanager import ALERTMANAGER, alertmanager
from e2e.tls import make_certificate

SECRETS = {
    "SECRET_KEY": PRODUCTION["SECRET_KEY"],
    "SECRET_KEY_FALLBACKS": "former-key-of-the-site-which-is-quite-long-0123456789-abc",
    "JWT_SIGNING_KEY": "signs-access-tokens-0123456789-abcdefghij",
    "METRICS_TOKEN": "scrapes-here-0123456789",
    "ALERTS_TOKEN": "alerts-here-0123456789",
    "STRIPE_SECRET_KEY": KEY,
    "STRIPE_WEBHOOK_SECRETS": SECRET,
}
PASSWORDS = ["database-password-0123", "mail-password-0123", "redis-password-0123", "T00-slack-path-0123"]


def diagnosis(installation: Installation, **settings: str) -> tuple[dict[str, list[dict[str, str]]], int]:
    """The findings by check, and the exit status; none of the secrets may be in what is said."""
    done = installation.manage("doctor", "--json", **{**PRODUCTION, **SECRETS, **settings})
    said = done.stdout + done.stderr
    assert not [secret for secret in [*SECRETS.values(), *PASSWORDS] if secret in said]
    assert "Traceback" not in said
    told: dict[str, Any] = json.loads(done.stdout)
    return {each["name"]: each["findings"] for each in told["checks"]}, done.returncode


def of(findings: list[dict[str, str]], *levels: str) -> list[str]:
    return [finding["text"] for finding in findings if finding["level"] in levels]


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts, as far as the kernel does that, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.mark.needs("redis-server", ALERTMANAGER)
def test_servers_that_are_up_are_well(installation: Installation, tmp_path: Path) -> None:
    redis = Redis(tmp_path, free_port())
    redis.start()
    try:
        with alertmanager(tmp_path, webhook_port=None) as alerts, standin_in_thread() as stripe:
            settings = {"STRIPE_API_BASE": stripe.url, "REDIS_URL": redis.url, "ALERTMANAGER_URL": alerts.url}
            done = installation.manage("setup_stripe", **{**PRODUCTION, **SECRETS, **settings})
            assert done.returncode == 0, done.stderr
            found, status = diagnosis(installation, **settings)
    finally:
        redis.stop()
    assert status == 1  # nothing is collected, and nobody serves
    for name in ("database", "migrations", "redis", "stripe", "alertmanager"):
        assert of(found[name], "error") == [], name
        assert of(found[name], "ok"), name
    assert any(text.startswith("Redis ") for text in of(found["redis"], "ok"))
    assert "Redis' clock agrees with this machine's." in of(found["redis"], "ok")
    assert any("sends its events to" in text for text in of(found["stripe"], "ok"))
    assert any(text.startswith("Alertmanager 0.") for text in of(found["alertmanager"], "ok"))
    assert any("holds no staticfiles.json" in text for text in of(found["static files"], "error"))
    assert of(found["public address"], "error")
    if installation.database_url:
        assert "The database's clock agrees with this machine's." in of(found["database"], "ok")
        assert any("processes fit" in text for text in of(found["database"], "ok", "warning"))


def test_servers_that_are_away_or_hang_are_each_told_and_hold_nothing_up(installation: Installation) -> None:
    with silent_server() as port:
        found, status = diagnosis(
            installation,
            DATABASE_URL="postgres://site:database-password-0123@127.0.0.1:1/site",
            REDIS_URL=f"redis://:redis-password-0123@127.0.0.1:{port}/0",
            EMAIL_URL=f"smtp://site:mail-password-0123@127.0.0.1:{port}",
            STRIPE_API_BASE="http://127.0.0.1:1",
            PROMETHEUS_URL=f"http://127.0.0.1:{port}",
            ALERTMANAGER_URL="http://127.0.0.1:1",
            SLACK_WEBHOOK_URL=f"https://127.0.0.1:{port}/services/T00-slack-path-0123",
            PUBLIC_URL="http://127.0.0.1:1",
        )
    assert status == 1
    for name in ("redis", "mail", "stripe", "prometheus", "alertmanager", "slack", "public address"):
        assert of(found[name], "error"), name
    (text,) = of(found["database"], "error")
    assert text.startswith("It does not answer:")
    for name in ("migrations", "superusers", "periodic tasks", "facts", "library"):
        assert [finding["remedy"] for finding in found[name]] == ["See the database."], name
    assert of(found["disks"], "ok", "note", "warning")


@pytest.mark.needs("openssl")
@pytest.mark.once
def test_a_certificate_that_browsers_refuse_and_one_that_ends_soon(tmp_path: Path, settings: Any) -> None:
    from bambisleep.doctor import outside

    make_certificate(tmp_path, "localhost")  # good for thirty days
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_shake_hands, args=(server, context, 3), daemon=True)
        thread.start()
        settings.PUBLIC_URL = f"https://localhost:{server.getsockname()[1]}"
        (refused,) = outside.certificate_is_good()
        assert "Browsers refuse the certificate of localhost" in refused.text
        trusting = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(outside.ssl, "create_default_context", lambda: trusting)
            (good,) = outside.certificate_is_good()
            assert (good.level, "29 more days" in good.text) == ("ok", True)
            settings.PUBLIC_URL = settings.PUBLIC_URL.replace("localhost", "127.0.0.1")
            (other_name,) = outside.certificate_is_good()
            assert other_name.level == "error"
        thread.join(20)


def _shake_hands(server: socket.socket, context: ssl.SSLContext, times: int) -> None:
    for _ in range(times):
        connection, _ = server.accept()
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()  # it was not trusted
