"""What the site asks a browser to keep, and where it sends one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import User

PASSWORD = "a long enough phrase"
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "bambisleep.settings",
    "DEBUG": "false",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ALLOWED_HOSTS": "members.example",
}
ASK = """
import django
django.setup()
from django.test import Client
from django.conf import settings
from bambisleep.message_storage import GuardedCookie
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
answer = Client().get("/accounts/login/", secure=True, headers={"host": "members.example"})
for cookie in answer.cookies.values():
    print(cookie.OutputString())
print(settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_SECURE, settings.SESSION_COOKIE_HTTPONLY)
print(GuardedCookie.cookie_name, settings.STRICT_TRANSPORT_SECURITY)
"""


def _told(tmp_path: Path, **settings: str) -> list[str]:
    """What a site in production tells of its cookies and of TLS."""
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **PRODUCTION, **settings}
    (tmp_path / "static").mkdir()
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-3:]


def test_in_production_every_cookie_is_of_this_host_alone_and_of_tls(tmp_path: Path) -> None:
    csrf, session, rest = _told(tmp_path)
    assert csrf.startswith("__Host-csrftoken=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(csrf.split("; "))
    assert "Domain" not in csrf
    assert session == "__Host-sessionid True True"
    assert rest == "__Host-messages max-age=31536000; includeSubDomains"


def test_hosts_below_it_and_browsers_lists_are_for_the_owner_of_the_domain_to_decide(tmp_path: Path) -> None:
    *_, rest = _told(tmp_path, HSTS_SECONDS="600", HSTS_SUBDOMAINS="false", HSTS_PRELOAD="true")
    assert rest == "__Host-messages max-age=600; preload"


@pytest.mark.django_db
def test_the_sessions_cookie_is_no_scripts_business(member: User) -> None:
    answer = Client().post("/accounts/login/", {"login": member.username, "password": PASSWORD})
    cookie = answer.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "target",
    ["https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example", "javascript:alert(1)", "https:///x"],
)
def test_signing_in_and_out_leads_to_no_other_site(member: User, target: str) -> None:
    for path in ("/accounts/login/", "/accounts/logout/"):
        client = Client()
        if path == "/accounts/logout/":
            client.force_login(member, backend="accounts.backends.NameOrEmailBackend")
        fields = {"login": member.username, "password": PASSWORD, "next": target}
        answer = client.post(path, fields, query_params={"next": target})
        assert answer.status_code == 302
        assert answer["Location"] == "/"


@pytest.mark.django_db
def test_whoever_is_signed_in_is_sent_to_no_other_site_either(member: User) -> None:
    client = Client()
    client.force_login(member, backend="accounts.backends.NameOrEmailBackend")
    answer = client.get("/accounts/login/", {"next": "https://elsewhere.example/"})
    assert (answer.status_code, answer["Location"]) == (302, "/")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/", "/auth/login"])
def test_what_comes_without_tls_is_sent_to_tls(settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    answer = Client().get(path)
    assert answer.status_code == 301
    assert answer["Location"] == f"https://testserver{path}"
