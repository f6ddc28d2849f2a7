"""Security events: counted at once, stored after the response, bounded."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from bambisleep.tests.client import AsgiClient
from observability import security
from observability.models import SecurityEvent

pytestmark = pytest.mark.django_db

Metric = Callable[..., float]


@pytest.fixture(autouse=True)
def writer(monkeypatch: pytest.MonkeyPatch) -> security.Writer:
    fresh = security.Writer()
    monkeypatch.setattr(security, "writer", fresh)
    return fresh


def test_it_stores_who_what_and_where(asgi: AsgiClient, writer: security.Writer) -> None:
    answer = asgi.get("/", query="file=../../etc/passwd", client=("2001:db8::7", 1))
    assert not SecurityEvent.objects.exists()  # not before the response is out

    assert writer.flush() == 1
    event = SecurityEvent.objects.get()
    assert (event.type, event.address, event.path) == ("directory_traversal", "2001:db8::7", "/")
    assert event.request_id == answer.headers["x-request-id"]


def test_it_survives_the_rollback_of_the_request(writer: security.Writer) -> None:
    with transaction.atomic():
        security.record(type="invalid_token")
        transaction.set_rollback(True)
    assert writer.flush() == 1


def test_it_refuses_an_undeclared_type() -> None:
    with pytest.raises(ValueError, match="no declared type"):
        security.record(type="whatever")


def test_a_flood_is_counted_whole_and_stored_in_part(writer: security.Writer, metric: Metric) -> None:
    counted = metric("security_events_total", type="rate_limited")
    dropped = metric("security_events_dropped_total")
    for _ in range(1000):
        security.record(type="rate_limited")
    stored = writer.flush()
    assert metric("security_events_total", type="rate_limited") == counted + 1000
    assert 0 < stored <= security.PER_TYPE
    assert metric("security_events_dropped_total") == dropped + 1000 - stored


def test_one_address_cannot_use_up_the_rate_of_its_type(asgi: AsgiClient, writer: security.Writer) -> None:
    for _ in range(60):
        asgi.get("/..", client=("192.0.2.66", 1))
    asgi.get("/..", client=("192.0.2.67", 1))
    writer.flush()
    assert SecurityEvent.objects.filter(address="192.0.2.66").count() == security.PER_ADDRESS
    assert SecurityEvent.objects.filter(address="192.0.2.67").count() == 1


def test_the_sweep_keeps_the_newest_of_each_type(settings: Any) -> None:
    settings.SECURITY_EVENTS_MAX_ROWS = len(security.TYPES) * 3
    now = timezone.now()
    SecurityEvent.objects.bulk_create(SecurityEvent(at=now, type="invalid_token") for _ in range(50))
    SecurityEvent.objects.create(at=now, type="bad_host")
    SecurityEvent.objects.create(at=now - timedelta(days=91), type="bad_host")
    assert security.sweep() == 48
    assert SecurityEvent.objects.filter(type="invalid_token").count() == 3
    assert SecurityEvent.objects.filter(type="bad_host").count() == 1


def test_texts_are_cut_and_made_printable(asgi: AsgiClient, writer: security.Writer) -> None:
    asgi.get("/\x1b[31m\x00" + "a" * 500, raw_path=b"/%1b[31m%00" + b"a" * 500)
    writer.flush()
    path = SecurityEvent.objects.get().path
    assert len(path) == 200
    assert path.isprintable()


@pytest.mark.parametrize("debug", [True, False])
def test_a_bad_host_is_an_event(asgi: AsgiClient, metric: Metric, settings: Any, debug: bool) -> None:
    settings.DEBUG = debug
    before = metric("security_events_total", type="bad_host")
    assert asgi.get("/", headers={"Host": "evil.example"}).status == 400
    assert metric("security_events_total", type="bad_host") == before + 1


def test_a_form_without_its_token_is_an_event(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("security_events_total", type="csrf_failure")
    answer = asgi.post(
        "/admin/login/", body=b"username=a", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status == 403
    assert metric("security_events_total", type="csrf_failure") == before + 1


def test_a_form_from_another_origin_is_an_event(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("security_events_total", type="bad_origin")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example"}
    assert asgi.post("/admin/login/", body=b"username=a", headers=headers).status == 403
    assert metric("security_events_total", type="bad_origin") == before + 1


def test_an_oversized_body_is_an_event(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("security_events_total", type="oversized_body")
    asgi.post("/auth/login", chunks=[b"x" * 600_000] * 2)
    asgi.post("/auth/login", body=b"x", headers={"Content-Length": "99999999"})
    assert metric("security_events_total", type="oversized_body") == before + 2


def test_a_form_with_a_climbing_file_name_is_refused(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("security_events_total", type="directory_traversal")
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="../../x.py"\r\n\r\nhello\r\n--b--\r\n'
    answer = asgi.post("/admin/login/", body=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status == 400
    assert metric("security_events_total", type="directory_traversal") == before + 1


def test_what_the_proxy_refused_is_seen_only_behind_a_proxy(asgi: AsgiClient, metric: Metric) -> None:
    headers = {"X-Refused-Request": "GET /content/../../etc/passwd HTTP/1.1", "X-Forwarded-For": "198.51.100.9"}
    before = metric("security_events_total", type="directory_traversal")
    assert asgi.get("/", headers=headers).status == 200
    assert metric("security_events_total", type="directory_traversal") == before

    asgi.application.proxies = 1
    assert asgi.get("/", headers=headers).status == 400
    assert metric("security_events_total", type="directory_traversal") == before + 1
