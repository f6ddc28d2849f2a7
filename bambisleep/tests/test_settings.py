"""The settings: development needs nothing, production refuses what is unsafe."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("bambisleep", "observability", "accounts", "payments", "content", "realtime")
SAFE = {
    "DEBUG": "false",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ALLOWED_HOSTS": "members.example",
}


def start(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Import the settings in a process of its own that has nothing but `environment`."""
    code = "from bambisleep import settings; print(settings.SECRET_KEY, settings.DATABASE_URL)"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_development_starts_with_nothing_set(tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout  # the key made at the first start is kept
    assert (tmp_path / "development-secret-key").stat().st_mode & 0o777 == 0o600


def test_production_starts_with_safe_values(tmp_path: Path) -> None:
    assert start(tmp_path, **SAFE).returncode == 0
    assert not (tmp_path / "development-secret-key").exists()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too weak"),
        ({"SECRET_KEY": "a" * 60}, "SECRET_KEY is too weak"),
        ({"JWT_SIGNING_KEY": "short"}, "JWT_SIGNING_KEY is too short"),
        ({"JWT_SIGNING_KEY_FALLBACKS": "a" * 40 + ",short"}, "JWT_SIGNING_KEY_FALLBACKS"),
        ({"SECRET_KEY_FALLBACKS": "former"}, "SECRET_KEY_FALLBACKS"),
        ({"STRIPE_SECRET_KEY": "pk_test_" + "a" * 24}, "STRIPE_SECRET_KEY is a secret or restricted key"),
        ({"STRIPE_SECRET_KEY": "sk_live_" + "a" * 24, "STRIPE_API_BASE": "http://127.0.0.1:1"}, "STRIPE_API_BASE"),
        ({"STRIPE_WEBHOOK_SECRETS": "a,b"}, "STRIPE_WEBHOOK_SECRETS"),
        ({"STRIPE_TIMEOUT_SECONDS": "0"}, "STRIPE_TIMEOUT_SECONDS"),
        ({"STRIPE_EVENTS_DAYS": "3"}, "STRIPE_EVENTS_DAYS"),
        ({"KEEP_ALIVE_SECONDS": "0"}, "KEEP_ALIVE_SECONDS is between"),
        ({"VIEWERS_DAYS": "-1"}, "VIEWERS_DAYS"),
        ({"SECURITY_EVENTS_DAYS": "0"}, "SECURITY_EVENTS_DAYS"),
        ({"LIBRARY_ACCEL_LOCATION": "library"}, "LIBRARY_ACCEL_LOCATION is a path"),
        ({"LIBRARY_ACCEL_LOCATION": "/_library/", "LIBRARY_BUCKET": "films"}, "leave it, or LIBRARY_BUCKET, empty"),
        ({"LIBRARY_BUCKET": "films"}, "LIBRARY_BUCKET_ORIGIN is not set"),
        ({"LIBRARY_BUCKET": "films", "LIBRARY_BUCKET_ENDPOINT": "s3.example"}, "a scheme and a host"),
        ({"LIBRARY_BUCKET": "films", "LIBRARY_BUCKET_ORIGIN": "https://a.example; script-src *"}, "a scheme"),
        ({"LIBRARY_LINK_MINUTES": "0"}, "LIBRARY_LINK_MINUTES"),
        ({"VIEWING_IDLE_SECONDS": "0"}, "VIEWING_IDLE_SECONDS"),
        ({"CHAT_DATABASE_THREADS": "0"}, "CHAT_DATABASE_THREADS is 1 or more"),
        (
            {"DATABASE_URL": "postgres://me:a-phrase-of-my-own@db/site", "DATABASE_POOL_SIZE": "4"},
            "CHAT_DATABASE_THREADS is 1 or more, and less than DATABASE_POOL_SIZE",
        ),
        ({"CHAT_POLL_SECONDS": "0"}, "CHAT_POLL_SECONDS"),
        ({"CHAT_POLL_SECONDS": "90"}, "CHAT_POLL_SECONDS"),
        ({"CHAT_IDLE_SECONDS": "0"}, "CHAT_IDLE_SECONDS"),
        ({"CHAT_AUTH_SECONDS": "-1"}, "CHAT_AUTH_SECONDS"),
        ({"CHAT_CONNECTIONS_PER_USER": "0"}, "CHAT_CONNECTIONS_PER_USER"),
        ({"CHAT_CONNECTIONS_PER_ADDRESS": "0"}, "CHAT_CONNECTIONS_PER_USER, …_PER_ADDRESS"),
        ({"CHAT_MESSAGES_PER_MINUTE": "0"}, "CHAT_MESSAGES_PER_MINUTE"),
        ({"CHAT_BURST": "0"}, "CHAT_BURST"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is not set"),
        ({"ALLOWED_HOSTS": "*"}, "wildcard"),
        ({"ALLOWED_HOSTS": "members.example,*"}, "wildcard"),
        ({"DATABASE_URL": "postgres://me:postgres@db/site"}, "default password"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT"),
        ({"MAX_BODY_BYTES": "0"}, "MAX_BODY_BYTES"),
        ({"PUBLIC_URL": "members.example"}, "PUBLIC_URL"),
        ({"DATABASE_URL": "mysql://me@db/site"}, "DATABASE_URL"),
    ],
)
def test_production_refuses_to_start_with(changed: dict[str, str], named: str, tmp_path: Path) -> None:
    done = start(tmp_path, **{**SAFE, **changed})
    assert done.returncode != 0
    assert "ImproperlyConfigured" in done.stderr
    assert named in done.stderr


def test_it_names_every_unsafe_value_at_once(tmp_path: Path) -> None:
    done = start(tmp_path, DEBUG="false")
    assert "SECRET_KEY" in done.stderr
    assert "ALLOWED_HOSTS" in done.stderr


@pytest.mark.parametrize("end", ["", "\n"], ids=["bare", "with a line break"])
def test_a_value_may_come_from_a_file(tmp_path: Path, end: str) -> None:
    (tmp_path / "key").write_text(SAFE["SECRET_KEY"] + end)
    environment = {**SAFE, "SECRET_KEY_FILE": str(tmp_path / "key")}
    del environment["SECRET_KEY"]
    done = start(tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{SAFE['SECRET_KEY']} "), "the same key as in a variable"


def test_the_example_lists_exactly_what_the_settings_and_the_monitoring_stack_read() -> None:
    read = set(re.findall(r"env\.\w+\(\s*\"([A-Z_]+)\"", (ROOT / "bambisleep" / "settings.py").read_text()))
    compose = "".join(path.read_text() for path in ROOT.glob("docker-compose*.yml"))
    composed = set(re.findall(r"\$\{([A-Z_]+)", compose))
    listed = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    assert len(read) > 15
    assert len(composed) > 10
    assert read | composed == listed


def test_the_example_starts_as_it_is(tmp_path: Path) -> None:
    pairs = re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    assert start(tmp_path, **dict(pairs)).returncode == 0


def test_no_other_module_reads_the_environment() -> None:
    apps = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    readers = [
        str(path.relative_to(ROOT))
        for path in apps
        if re.search(r"os\.environ|getenv", path.read_text()) and "tests" not in path.parts
    ]
    # The settings; the entry point, which says where they are; the stand-in for Stripe, which `start` hands on to the
    # site; what systemd hands to a process; what a CI tells record_deploy; and where ffprobe is.
    names = ["asgi", "settings", "standin", "systemd"]
    others = ["content/probing.py", "observability/delivery/ci.py"]
    assert sorted(readers) == [*(f"bambisleep/{name}.py" for name in names), *others]
