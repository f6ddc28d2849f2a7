"""From which pages a browser may open a connection."""

from typing import Any

import pytest

from realtime import origins

pytestmark = pytest.mark.once

HERE = "members.example"


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("https://members.example", HERE, "wss"),
        ("https://members.example:443", HERE, "wss"),
        ("https://members.example", f"{HERE}:443", "https"),
        ("https://MEMBERS.example", HERE, "wss"),
        ("http://members.example:3000", f"{HERE}:3000", "ws"),
        ("http://127.0.0.1:3000", "127.0.0.1:3000", "ws"),
        ("http://[::1]:3000", "[::1]:3000", "ws"),
    ],
)
def test_the_sites_own_pages_are_let_in(origin: str, host: str, scheme: str) -> None:
    assert origins.is_allowed(origin, host=host, scheme=scheme)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("https://evil.example", HERE, "wss"),
        ("https://members.example.evil.example", HERE, "wss"),
        ("https://evilmembers.example", HERE, "wss"),
        ("https://sub.members.example", HERE, "wss"),
        ("http://members.example", HERE, "wss"),  # another scheme
        ("https://members.example", HERE, "ws"),
        ("https://members.example:8443", HERE, "wss"),  # another port
        ("http://members.example", f"{HERE}:3000", "ws"),
        ("null", HERE, "wss"),
        ("", HERE, "wss"),
        ("file://", HERE, "wss"),
        ("chrome-extension://members.example", HERE, "wss"),
        ("https://members.example/", HERE, "wss"),
        ("https://members.example?x", HERE, "wss"),
        ("https://mara@members.example", HERE, "wss"),
        ("https://members.example:x", HERE, "wss"),
        ("https://members.example:99999", HERE, "wss"),
        ("https://[members.example", HERE, "wss"),
        ("https://", "", "wss"),
        ("https://members.example https://evil.example", HERE, "wss"),
        ("https://members.example", "[", "wss"),
    ],
)
def test_other_pages_are_not(origin: str, host: str, scheme: str) -> None:
    assert not origins.is_allowed(origin, host=host, scheme=scheme)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://app.example", True),
        ("https://app.example:8443", False),
        ("http://app.example", False),
        ("https://one.partners.example", True),
        ("https://a.one.partners.example", True),
        ("https://partners.example", True),  # as Django's own check has it
        ("https://evilpartners.example", False),
        ("http://one.partners.example", False),
        ("http://local.example:8000", True),
        ("http://local.example", False),
    ],
)
def test_pages_of_trusted_origins_are_as_django_reads_them(origin: str, expected: bool, settings: Any) -> None:
    trusted = ["https://app.example", "https://*.partners.example", "http://local.example:8000"]
    settings.CSRF_TRUSTED_ORIGINS = trusted
    assert origins.is_allowed(origin, host=HERE, scheme="wss") is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("members.example", True), ("members.example:3000", True), ("evil.example", False), ("", False), ("a b", False)],
)
def test_only_the_sites_hosts_are_answered(host: str, expected: bool, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["members.example"]
    assert origins.is_host_allowed(host) is expected
