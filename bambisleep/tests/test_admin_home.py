"""The admin's home page: the five measures, each number with the rows behind it."""

import re
from datetime import datetime, timedelta
from html import unescape
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from observability.delivery import demo, deployments, incidents, measures, trends
from observability.delivery.deployments import Commit
from observability.delivery.models import Kind, Severity, Status
from observability.delivery.trends import split

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(staff: Any) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def ship(number: int, *, hours: float, status: str = Status.SUCCEEDED, **more: Any) -> Any:
    """Record version `number` of the service web, finished `hours` ago, with one commit that waited three hours."""
    at = timezone.now() - timedelta(hours=hours)
    more.setdefault("commits", [Commit(f"{number:040x}", at - timedelta(hours=3))])
    return deployments.record(
        service="web", environment="production", version=f"{number}", status=status, finished_at=at, **more
    ).deployment


def page_of(admin: Client, query: str = "") -> str:
    answer = admin.get(f"/admin/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def links(page: str, part: str = "") -> list[tuple[str, str]]:
    """(address, text) of the page's links whose text holds `part`."""
    found = re.findall(r'<a href="([^"]+)">([^<]*)</a>', page)
    return [(unescape(url), unescape(text)) for url, text in found if part in unescape(text)]


def rows_listed(admin: Client, url: str) -> int:
    answer = admin.get(url)
    assert answer.status_code == 200, url
    return int(answer.context["cl"].result_count)


def card(page: str, name: str) -> str:
    found = re.search(rf'aria-labelledby="{name}">(.*?)</section>', page, re.DOTALL)
    assert found
    return found[1]


def test_an_empty_installation_tells_how_to_record_the_first_deployment(admin: Client) -> None:
    page = page_of(admin)
    assert "python manage.py record_deploy" in page
    assert "http://testserver/dora/deployments" in page
    assert "<svg viewBox" not in page


def test_it_shows_a_service_that_has_data_where_the_installations_own_has_none(admin: Client) -> None:
    demo.load()
    assert "Delivery of demo" in page_of(admin)


def test_the_installations_own_service_comes_first_once_it_has_data(admin: Client, settings: Any) -> None:
    demo.load()
    settings.DEPLOY_SERVICE = "web"
    ship(1, hours=2)
    assert "Delivery of web" in page_of(admin)


def test_the_url_chooses_service_environment_and_window(admin: Client) -> None:
    demo.load()
    ship(1, hours=24 * 60)
    page = page_of(admin, "?service=web&environment=production&days=90")
    assert "Delivery of web" in page
    assert '<option value="90" selected>' in page
    assert links(page, "1 deployment")


@pytest.mark.parametrize(
    "query", ["?days=-1", "?days=x", "?service=%00", "?environment=nowhere", "?days=" + "9" * 5000]
)
def test_nonsense_in_the_url_is_no_error(admin: Client, query: str) -> None:
    demo.load()
    assert admin.get(f"/admin/{query}").status_code == 200


def test_every_number_leads_to_exactly_as_many_rows(admin: Client) -> None:
    demo.load()
    incidents.open_incident(
        service="demo", environment="production", title="Rain", started_at=timezone.now() - timedelta(days=2)
    )
    incidents.resolve(incidents.Incident.objects.get(title="Rain"))
    page = page_of(admin, "?service=demo")
    counted = [
        (url, text) for url, text in links(page) if url.startswith("/admin/delivery/") and re.match(r"\d+ [a-z]", text)
        and not re.match(r"\d+ an? ", text) and "hour" not in text and "minute" not in text
    ]  # fmt: skip
    assert len(counted) >= 9
    for url, text in counted:
        assert rows_listed(admin, url) == int(text.split()[0]), text


def test_commits_left_out_are_listed_by_their_reason(admin: Client) -> None:
    ship(1, hours=50)
    ship(2, hours=40, commits=[Commit("a" * 40, timezone.now())])
    ship(3, hours=30)
    page = card(page_of(admin, "?service=web"), "change_lead_time")
    for reason in ("in the first deployment of its service", "authored after it was deployed"):
        ((url, _),) = links(page, reason)
        assert rows_listed(admin, url) == 1


def test_incidents_without_a_change_and_open_ones_are_left_out_of_recovery_with_the_reason(admin: Client) -> None:
    shipped = ship(1, hours=9)
    at = timezone.now() - timedelta(hours=8)
    web = {"service": "web", "environment": "production"}
    incidents.resolve(incidents.open_incident(**web, title="Rain", started_at=at))
    incidents.open_incident(**web, title="Slow", started_at=at, deployment=shipped)
    page = card(page_of(admin, "?service=web"), "failed_deployment_recovery_time")
    assert "No value" in page
    assert "No resolved incident caused by a change." in page
    for reason, title in (("not caused by a change", "Rain"), ("not resolved yet", "Slow")):
        ((url, _),) = links(page, reason)
        assert [row.title for row in admin.get(url).context["cl"].result_list] == [title]


def test_values_are_in_units_that_people_use(admin: Client) -> None:
    for number in range(1, 4):
        ship(number, hours=number * 24, kind=Kind.HOTFIX if number == 1 else Kind.PLANNED)
    page = page_of(admin, "?service=web&days=30")
    assert ">3 a month</a>" in card(page, "deployment_frequency")
    assert ">3\xa0hours</a>" in card(page, "change_lead_time")
    assert ">33.3 %</a>" in card(page, "deployment_rework_rate")
    assert "1 hotfix or rollback" in card(page, "deployment_rework_rate")


def test_a_trend_says_in_words_whether_it_is_better_or_worse(admin: Client) -> None:
    ship(1, hours=24 * 10)
    ship(2, hours=24 * 9, status=Status.FAILED)
    for number in range(3, 6):
        ship(number, hours=number * 10)
    page = page_of(admin, "?service=web&days=7")
    assert "Better: 1 a week more than in the 7 days before" in card(page, "deployment_frequency")
    assert "Better: 50 percentage points less than in the 7 days before" in card(page, "change_fail_rate")
    assert "Unchanged from the 7 days before" in card(page, "deployment_rework_rate")


def test_without_an_earlier_window_there_is_no_trend_and_it_says_so(admin: Client) -> None:
    ship(1, hours=1)
    page = card(page_of(admin, "?service=web&days=7"), "deployment_frequency")
    assert "Nothing to compare with in the 7 days before" in page
    assert "tter" not in page


def test_a_tier_carries_its_year(admin: Client) -> None:
    ship(1, hours=1)
    assert re.search(r"Tier: [^<]+\(dora\.dev, 20\d\d\)", page_of(admin, "?service=web"))


def test_each_chart_has_its_numbers_in_a_table(admin: Client) -> None:
    demo.load()
    page = card(page_of(admin, "?service=demo&days=7"), "deployment_frequency")
    assert page.count("<rect") == page.count('<th scope="row">') == 7
    assert page.count('class="bar"') == 2


def test_open_incidents_are_listed_the_worst_first_with_a_link(admin: Client) -> None:
    demo.load()
    for title, severity in (("Mild", Severity.INFO), ("Grave", Severity.CRITICAL)):
        incidents.open_incident(service="demo", environment="production", title=title, severity=severity)
    page = page_of(admin, "?service=demo")
    listed = links(page, "Grave") + links(page, "Mild")
    assert page.index("Grave") < page.index("Mild")
    assert all(admin.get(url).status_code == 200 for url, _ in listed)
    assert len(listed) == 2


def test_the_page_stands_once(admin: Client) -> None:
    demo.load()
    assert page_of(admin).count("<h1") == 1


def test_pages_hold_no_inline_style_or_handler(admin: Client) -> None:
    demo.load()
    page = page_of(admin, "?service=demo")
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*src=)", page)


def test_it_costs_the_same_number_of_queries_however_many_rows(
    admin: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(1, 40):
        at = timezone.now() - timedelta(hours=number * 18)
        commits = [Commit(f"{number:020x}{index:020x}", at - timedelta(hours=index)) for index in range(5)]
        shipped = ship(number, hours=number * 18, commits=commits)
        incidents.open_incident(
            service="web", environment="production", title=f"{number}", started_at=at, deployment=shipped
        )
    with django_assert_max_num_queries(45):
        page_of(admin, "?service=web&days=30")


def test_staff_who_may_not_see_deployments_see_no_measures(staff: Any) -> None:
    demo.load()
    staff.is_superuser = False
    staff.save()
    staff.user_permissions.set(Permission.objects.filter(codename="view_user"))
    client = Client()
    client.force_login(staff)
    assert "Delivery of" not in page_of(client)


def test_the_parts_of_a_chart_are_the_measures_of_their_windows() -> None:
    demo.load()
    now = timezone.now()
    window = measures.days_before(now, 30)
    found = trends.history(service="demo", environment="production", window=window, number=10)
    assert any(point.value for point in found["failed_deployment_recovery_time"])
    for index, part in enumerate(split(window, 10)):
        expected = measures.compute(service="demo", environment="production", window=part, trends=False)
        for name, measure in expected.items():
            assert found[name][index].samples == measure.samples, (name, index)
            assert found[name][index].value == pytest.approx(measure.value), (name, index)


def test_the_parts_of_a_window_join_without_gap_or_overlap() -> None:
    window = measures.Window(datetime(2026, 1, 1).astimezone(), datetime(2026, 1, 31).astimezone())
    parts = split(window, 12)
    assert (parts[0].start, parts[-1].end) == (window.start, window.end)
    assert all(one.end == other.start for one, other in pairwise(parts))
