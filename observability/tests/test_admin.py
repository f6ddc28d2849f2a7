"""Security events, facts and delivery records in the admin."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from observability import refresh
from observability.delivery import demo
from observability.models import SecurityEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(staff: Any) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def test_security_events_show_where_they_come_from_and_when(admin: Client) -> None:
    now = timezone.now()
    for number in range(30):
        SecurityEvent.objects.create(
            at=now - timedelta(hours=number),
            type="invalid_token" if number % 3 else "bad_host",
            address="192.0.2.9" if number % 2 else "2001:db8::9",
        )
    page = admin.get("/admin/observability/securityevent/").content.decode()
    assert page.count("<rect") == 48
    assert "<td>15</td>" in page
    assert 'href="?q=2001%3Adb8%3A%3A9"' in page


def test_filters_narrow_the_overview_too(admin: Client) -> None:
    SecurityEvent.objects.create(at=timezone.now(), type="bad_host", address="192.0.2.9")
    page = admin.get("/admin/observability/securityevent/?type__exact=csrf_failure").content.decode()
    assert "matches these filters" in page
    assert "<rect" not in page


def test_without_events_it_says_what_will_show_here(admin: Client) -> None:
    assert "has been recorded yet" in admin.get("/admin/observability/securityevent/").content.decode()


@pytest.mark.parametrize("model", ["securityevent", "factsample"])
def test_nobody_adds_changes_or_deletes_what_was_recorded(admin: Client, model: str) -> None:
    refresh.refresh()
    assert admin.get(f"/admin/observability/{model}/add/").status_code == 403
    assert admin.post(f"/admin/observability/{model}/", {"action": "delete_selected"}).status_code in {302, 200}


def test_what_an_attacker_wrote_is_kept_as_it_was_and_shown_as_text(admin: Client) -> None:
    written = "/<script src=//elsewhere.example></script>\"'&amp;"
    event = SecurityEvent.objects.create(at=timezone.now(), type="directory_traversal", path=written, detail=written)
    event.refresh_from_db()
    assert (event.path, event.detail) == (written, written)
    for page in ("", f"{event.pk}/change/"):
        text = admin.get(f"/admin/observability/securityevent/{page}").content.decode()
        assert "&lt;script src=//elsewhere.example&gt;&lt;/script&gt;&quot;&#x27;&amp;amp;" in text
        assert "<script src=//elsewhere" not in text


def test_evidence_stays_whatever_a_superuser_sends(admin: Client) -> None:
    event = SecurityEvent.objects.create(at=timezone.now(), type="bad_host", detail="as it was")
    of_it = f"/admin/observability/securityevent/{event.pk}"
    admin.post(
        "/admin/observability/securityevent/",
        {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"},
    )
    assert admin.post(f"{of_it}/delete/", {"post": "yes"}).status_code == 403
    assert admin.post(f"{of_it}/change/", {"type": "bad_host", "detail": "another"}).status_code == 403
    event.refresh_from_db()
    assert event.detail == "as it was"


@pytest.mark.parametrize("path", ["delivery/deployment", "delivery/incident", "delivery/pipeline", "accounts/user"])
def test_lists_cost_the_same_however_many_rows(admin: Client, path: str, django_assert_max_num_queries: Any) -> None:
    demo.load()
    with django_assert_max_num_queries(14):
        assert admin.get(f"/admin/{path}/").status_code == 200


def test_a_deployment_shows_its_commits_with_lead_times(admin: Client) -> None:
    demo.load()
    from observability.delivery.models import Deployment

    deployment = Deployment.objects.get(version="0.3.0")
    page = admin.get(f"/admin/delivery/deployment/{deployment.pk}/change/").content.decode()
    assert "2\xa0hours" in page
    assert "Demo: pages answered slowly" in page
