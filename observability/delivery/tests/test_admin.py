"""Deployments, commits and incidents in the admin, and what a person may state there."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from observability.delivery import charts, deployments, incidents, wording
from observability.delivery.admin import COMMITS_SHOWN, last_deployments_before
from observability.delivery.deployments import Commit
from observability.delivery.measures import Measure
from observability.delivery.models import Deployment, Incident, Status

pytestmark = pytest.mark.django_db
DEPLOYMENTS, INCIDENTS = "/admin/delivery/deployment/", "/admin/delivery/incident/"


@pytest.fixture
def admin(staff: Any) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def ship(version: str, *, hours: float = 1, service: str = "web", commits: int = 1) -> Deployment:
    at = timezone.now() - timedelta(hours=hours)
    brought = [Commit(f"{version}-{number}", at - timedelta(hours=2)) for number in range(commits)]
    return deployments.record(
        service=service, environment="production", version=version, finished_at=at, commits=brought
    ).deployment


def trouble(title: str = "Slow", *, hours: float = 0.5, deployment: Deployment | None = None) -> Incident:
    return incidents.open_incident(
        service="web",
        environment="production",
        title=title,
        started_at=timezone.now() - timedelta(hours=hours),
        deployment=deployment,
    )


def state(admin: Client, path: str, action: str, *rows: Any, confirmed: bool = True, **more: str) -> Any:
    """Post the action, as the list and the confirmation page do."""
    posted = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return admin.post(path, {**posted, "confirmed": "yes"} if confirmed else posted, follow=True)


def told(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def test_marking_as_failed_asks_first(admin: Client) -> None:
    shipped = ship("1")
    answer = state(admin, DEPLOYMENTS, "mark_as_failed", shipped, confirmed=False)
    assert "Mark as failed?" in answer.content.decode()
    assert "web 1 → production – now succeeded" in answer.content.decode()
    shipped.refresh_from_db()
    assert shipped.status == Status.SUCCEEDED


@pytest.mark.parametrize(("action", "status"), [("mark_as_failed", "failed"), ("mark_as_rolled_back", "rolled_back")])
def test_once_confirmed_a_deployment_is_marked_and_it_says_so(admin: Client, action: str, status: str) -> None:
    shipped = ship("1")
    answer = state(admin, DEPLOYMENTS, action, shipped)
    shipped.refresh_from_db()
    assert shipped.status == status
    assert told(answer) == [f"web 1 → production: marked as {status.replace('_', ' ')}."]


def test_a_rolled_back_deployment_does_not_become_merely_failed(admin: Client) -> None:
    shipped = ship("1")
    deployments.mark_failed(shipped, status=Status.ROLLED_BACK)
    assert told(state(admin, DEPLOYMENTS, "mark_as_failed", shipped)) == ["web 1 → production: nothing to change."]
    shipped.refresh_from_db()
    assert shipped.status == Status.ROLLED_BACK


def test_one_that_has_not_finished_is_refused_and_the_others_are_marked(admin: Client) -> None:
    running = deployments.record(service="web", environment="production", version="2", status="started").deployment
    shipped = ship("1")
    answer = state(admin, DEPLOYMENTS, "mark_as_failed", running, shipped)
    assert sorted(told(answer)) == [
        "web 1 → production: marked as failed.",
        "web 2 → production: The deployment has not finished yet: record how it ended.",
    ]


def test_from_a_deployments_own_page_one_comes_back_to_it(admin: Client) -> None:
    shipped = ship("1")
    page = admin.get(f"{DEPLOYMENTS}{shipped.pk}/change/").content.decode()
    assert 'name="action" value="mark_as_rolled_back"' in page
    answer = state(admin, DEPLOYMENTS, "mark_as_rolled_back", shipped, origin="row")
    assert answer.redirect_chain[-1][0] == f"{DEPLOYMENTS}{shipped.pk}/change/"
    assert 'value="mark_as_rolled_back"' not in answer.content.decode()


def test_what_was_stated_stands_in_the_history(admin: Client) -> None:
    shipped = ship("1")
    state(admin, DEPLOYMENTS, "mark_as_failed", shipped)
    assert "marked as failed." in admin.get(f"{DEPLOYMENTS}{shipped.pk}/history/").content.decode()


def test_an_incident_is_resolved_once(admin: Client) -> None:
    incident = trouble()
    assert told(state(admin, INCIDENTS, "resolve", incident)) == ["Slow: resolved after 30\xa0minutes."]
    assert told(state(admin, INCIDENTS, "resolve", incident)) == ["Slow: nothing to change."]
    incident.refresh_from_db()
    assert incident.resolved_at is not None


def test_an_incident_is_resolved_as_of_the_time_that_is_given(admin: Client) -> None:
    incident = trouble(hours=2.5)
    asked = state(admin, INCIDENTS, "resolve", incident, confirmed=False).content.decode()
    assert 'type="datetime-local" name="resolved_at"' in asked
    an_hour_ago = timezone.now() - timedelta(hours=1)
    given = {"resolved_at": f"{an_hour_ago:%Y-%m-%dT%H:%M:%S}"}
    answer = state(admin, INCIDENTS, "resolve", incident, resolved_at="soon")
    assert "Enter a valid date/time." in answer.content.decode()
    assert told(state(admin, INCIDENTS, "resolve", incident, **given))[0].startswith("Slow: resolved after 1\xa0hour")
    incident.refresh_from_db()
    assert incident.resolved_at == an_hour_ago.replace(microsecond=0)


def test_a_resolved_incident_is_reopened_once_confirmed(admin: Client) -> None:
    incident = trouble()
    incidents.resolve(incident)
    page = admin.get(f"{INCIDENTS}{incident.pk}/change/").content.decode()
    assert 'name="action" value="reopen"' in page
    assert 'name="action" value="resolve"' not in page
    assert "Slow – resolved " in state(admin, INCIDENTS, "reopen", incident, confirmed=False).content.decode()
    incident.refresh_from_db()
    assert incident.resolved_at is not None

    assert told(state(admin, INCIDENTS, "reopen", incident)) == ["Slow: reopened."]
    assert told(state(admin, INCIDENTS, "reopen", incident)) == ["Slow: nothing to change."]
    incident.refresh_from_db()
    assert (incident.resolved_at, incident.reopenings) == (None, 1)
    assert "reopened." in admin.get(f"{INCIDENTS}{incident.pk}/history/").content.decode()


def test_an_incident_is_linked_to_the_last_deployment_before_it_and_unlinked(admin: Client) -> None:
    ship("1", hours=9)
    shipped = ship("2", hours=2)
    ship("3", hours=0.1)
    ship("4", hours=1, service="other")
    incident = trouble()
    asked = state(admin, INCIDENTS, "link_to_last_deployment", incident, confirmed=False).content.decode()
    assert "caused by web 2 → production, which finished 1\xa0hour, 30\xa0minutes before" in asked
    state(admin, INCIDENTS, "link_to_last_deployment", incident)
    incident.refresh_from_db()
    assert incident.deployment == shipped
    state(admin, INCIDENTS, "unlink", incident)
    incident.refresh_from_db()
    assert incident.deployment is None


def test_without_a_deployment_before_it_an_incident_cannot_be_linked(admin: Client) -> None:
    ship("3", hours=0.1)
    incident = trouble()
    answer = state(admin, INCIDENTS, "link_to_last_deployment", incident)
    assert told(answer) == ["Slow: No deployment of its service finished before it started."]


def test_suspects_of_many_incidents_cost_two_queries(django_assert_num_queries: Any) -> None:
    shipped = ship("1", hours=3)
    rows = [trouble(str(number)) for number in range(20)]
    with django_assert_num_queries(2):
        suspects = last_deployments_before(rows)
    assert set(suspects.values()) == {shipped}


def test_who_may_only_look_is_offered_no_action_and_can_do_none(staff: Any) -> None:
    staff.is_superuser = False
    staff.save()
    staff.user_permissions.set(Permission.objects.filter(codename="view_deployment"))
    client = Client()
    client.force_login(staff)
    shipped = ship("1")
    assert "mark_as_failed" not in client.get(f"{DEPLOYMENTS}{shipped.pk}/change/").content.decode()
    state(client, DEPLOYMENTS, "mark_as_failed", shipped)
    shipped.refresh_from_db()
    assert shipped.status == Status.SUCCEEDED


def test_a_deployment_shows_commits_with_standing_in_words_and_its_incidents(admin: Client) -> None:
    ship("1", hours=9)
    shipped = ship("2", hours=2)
    trouble(deployment=shipped)
    deployments.record(
        service="web",
        environment="production",
        version="3",
        commits=[Commit("2-0", timezone.now() - timedelta(hours=4))],
    )
    again = Deployment.objects.get(version="3")
    page = admin.get(f"{DEPLOYMENTS}{shipped.pk}/change/").content.decode()
    assert "<td>2\xa0hours</td><td>yes</td>" in page
    assert "still open" in page
    assert "no: deployed before" in admin.get(f"{DEPLOYMENTS}{again.pk}/change/").content.decode()


def test_a_deployment_of_very_many_commits_shows_the_first_and_leads_to_all(admin: Client) -> None:
    shipped = ship("1", commits=COMMITS_SHOWN + 5)
    page = admin.get(f"{DEPLOYMENTS}{shipped.pk}/change/").content.decode()
    assert page.count('<th scope="row"><code title=') == COMMITS_SHOWN
    url = f"/admin/delivery/deployedcommit/?deployment__id__exact={shipped.pk}"
    assert url in page
    assert admin.get(url).context["cl"].result_count == COMMITS_SHOWN + 5


def test_a_deployment_says_why_it_is_a_failed_change(admin: Client) -> None:
    shipped = ship("1", hours=2)
    path = f"{DEPLOYMENTS}{shipped.pk}/change/"
    trouble(deployment=shipped)
    assert "yes: it caused an incident" in admin.get(path).content.decode()
    deployments.mark_failed(shipped, status=Status.ROLLED_BACK)
    assert "yes: it was rolled back" in admin.get(path).content.decode()


def test_a_row_that_does_not_exist_is_no_error(admin: Client) -> None:
    for key in ("9999", "x"):
        assert admin.get(f"{DEPLOYMENTS}{key}/change/").status_code == 302


@pytest.mark.parametrize("model", ["deployment", "deployedcommit", "incident"])
def test_nobody_types_in_or_deletes_a_record(admin: Client, model: str) -> None:
    assert admin.get(f"/admin/delivery/{model}/add/").status_code == 403
    assert "delete_selected" not in admin.get(f"/admin/delivery/{model}/").content.decode()


@pytest.mark.parametrize("model", ["deployment", "deployedcommit", "incident"])
def test_lists_cost_the_same_however_many_rows(admin: Client, model: str, django_assert_max_num_queries: Any) -> None:
    for number in range(1, 30):
        trouble(str(number), deployment=ship(str(number), hours=number))
    with django_assert_max_num_queries(14):
        assert admin.get(f"/admin/delivery/{model}/").context["cl"].result_count == 29


def test_a_window_in_the_url_is_named_among_the_filters(admin: Client) -> None:
    ship("1")
    page = admin.get(
        f"{DEPLOYMENTS}?finished_at__gte=2026-01-01T10:00:00%2B00:00&finished_at__lt=2026-02-01T00:00%2B00:00"
    )
    assert "1 Jan 2026 10:00 to 1 Feb 2026 00:00" in page.content.decode()


def test_the_highest_bar_fills_the_chart_and_no_data_is_no_zero() -> None:
    half, full, none, zero = charts.bars([2.0, 4.0, None, 0.0])
    assert (full.y, full.height) == (0, charts.HEIGHT)
    assert half.height == charts.HEIGHT / 2
    assert none.is_gap
    assert not zero.is_gap
    assert zero.x + zero.width <= charts.WIDTH


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.4, "deployments/day", "1.4 a day"),
        (0.5, "deployments/day", "3.5 a week"),
        (0.1, "deployments/day", "3 a month"),
        (1 / 365, "deployments/day", "1 a year"),
        (0.125, "ratio", "12.5 %"),
        (0.0, "ratio", "0 %"),
        (90.0, "seconds", "1\xa0minute"),
        (1.0, "seconds", "1 second"),
        (None, "ratio", "–"),
    ],
)
def test_amounts_read_as_people_say_them(value: float | None, unit: str, text: str) -> None:
    assert wording.amount(value, unit) == text


def test_less_time_is_better_and_fewer_deployments_are_worse() -> None:
    assert wording.direction("change_lead_time", Measure(60.0, "seconds", 1, trend=-60.0)) == "better"
    assert wording.direction("deployment_frequency", Measure(1.0, "deployments/day", 1, trend=-1.0)) == "worse"
