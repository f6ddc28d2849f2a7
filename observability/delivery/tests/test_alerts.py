"""POST /alerts: incidents from Alertmanager's webhook, whatever is repeated, reordered or cut off."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from bambisleep.tests.client import Answer, AsgiClient
from observability.delivery import alerts, deployments, incidents, tokens
from observability.delivery.models import Incident

TOKEN = "alertmanager-s-own-token"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
END = NOON + timedelta(minutes=30)
NEVER = "0001-01-01T00:00:00Z"


def told(status: str = "firing", *, starts: Any = NOON, ends: Any = None, **more: Any) -> dict[str, Any]:
    """An alert as the webhook tells it; `more` replaces what it says."""
    return {
        "status": status,
        "labels": {
            "alertname": "HighErrorRate",
            "severity": "critical",
            "opens_incident": "true",
            "change_linkable": "true",
            **more.pop("labels", {}),
        },
        "annotations": {"summary": "Too many errors", "description": "7 % of requests fail."},
        "startsAt": starts.isoformat() if isinstance(starts, datetime) else starts,
        "endsAt": ends.isoformat() if isinstance(ends, datetime) else ends or NEVER,
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
        "fingerprint": "d2c6efc389df0927",
        **more,
    }


def resolved(ends: Any = END, **more: Any) -> dict[str, Any]:
    return told("resolved", ends=ends, **more)


def deployed(finished_at: datetime, version: str = "1", **more: Any) -> Any:
    told = {"service": "bambisleep", "environment": "production", **more}
    return deployments.record(version=version, finished_at=finished_at, **told).deployment


Deliver = Callable[..., Answer]


@pytest.fixture
def deliver(db: None, asgi: AsgiClient, settings: Any) -> Deliver:
    """Send one delivery with these alerts."""
    settings.ALERTS_TOKEN = TOKEN

    def send(*alerts: Any, token: str | None = TOKEN) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = {"version": "4", "status": "firing", "receiver": "bambisleep", "alerts": list(alerts)}
        return asgi.post("/alerts", json=body, headers=headers)

    return send


def counts(answer: Answer) -> dict[str, int]:
    """What an answer counts, without the zeros."""
    assert answer.status == 200, answer.body
    return {name: number for name, number in answer.json.items() if name != "rejected" and number}


class TestOpening:
    def test_a_firing_alert_opens_an_incident(self, deliver: Deliver) -> None:
        assert counts(deliver(told())) == {"opened": 1}
        row = Incident.objects.get()
        assert (row.title, row.description, row.severity) == ("Too many errors", "7 % of requests fail.", "critical")
        assert (row.service, row.environment, row.started_at) == ("bambisleep", "production", NOON)
        assert (row.resolved_at, row.url) == (None, "http://prometheus:9090/graph?g0.expr=up")

    @pytest.mark.parametrize("value", ["false", "", "True", "1"])
    def test_an_alert_without_the_label_opens_nothing(self, deliver: Deliver, value: str) -> None:
        assert counts(deliver(told(labels={"opens_incident": value}))) == {"ignored": 1}
        assert not Incident.objects.exists()

    def test_the_labels_name_the_pipeline(self, deliver: Deliver) -> None:
        deliver(told(labels={"service": "web", "environment": "staging"}))
        row = Incident.objects.get()
        assert (row.service, row.environment) == ("web", "staging")

    @pytest.mark.parametrize("severity", ["page", "", "CRITICAL"])
    def test_a_severity_it_does_not_know_is_info(self, deliver: Deliver, severity: str) -> None:
        deliver(told(labels={"severity": severity}))
        assert Incident.objects.get().severity == "info"

    def test_without_a_summary_the_name_is_the_title(self, deliver: Deliver) -> None:
        deliver(told(annotations={}))
        assert Incident.objects.get().title == "HighErrorRate"

    def test_long_texts_are_cut(self, deliver: Deliver) -> None:
        deliver(told(annotations={"summary": "s" * 5000, "description": "d" * 50_000}))
        row = Incident.objects.get()
        assert (len(row.title), len(row.description)) == (200, 10_000)

    def test_texts_that_no_database_takes_are_mended(self, deliver: Deliver) -> None:
        assert counts(deliver(told(annotations={"summary": "a\0b\ud800c"}))) == {"opened": 1}
        assert Incident.objects.get().title == "a\ufffdb?c"

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "ftp://example.org/", "/graph", "http://[", "https://e.org/" + "a" * 1000, 7]
    )
    def test_what_is_no_web_address_is_no_link(self, deliver: Deliver, url: Any) -> None:
        deliver(told(generatorURL=url))
        assert Incident.objects.get().url == ""

    def test_the_nanoseconds_of_the_webhook_are_the_milliseconds_of_the_api(self, deliver: Deliver) -> None:
        deliver(told(starts="2026-03-02T12:00:00.381523981Z"))
        assert counts(deliver(told(starts="2026-03-02T12:00:00.381Z"))) == {"ignored": 1}
        assert Incident.objects.get().started_at == NOON + timedelta(milliseconds=381)

    def test_the_same_alert_at_another_time_is_another_incident(self, deliver: Deliver) -> None:
        deliver(told(), told(starts=NOON + timedelta(hours=1)))
        assert Incident.objects.count() == 2


class TestRepeating:
    def test_a_repeated_alert_changes_nothing(self, deliver: Deliver) -> None:
        deliver(told())
        before = Incident.objects.values().get()
        assert counts(deliver(told())) == {"ignored": 1}
        assert Incident.objects.values().get() == before

    def test_what_it_says_now_replaces_what_it_said(self, deliver: Deliver) -> None:
        deliver(told())
        assert counts(deliver(told(annotations={"summary": "Far too many errors"}))) == {"updated": 1}
        assert Incident.objects.get().title == "Far too many errors"

    def test_a_late_firing_never_reopens(self, deliver: Deliver) -> None:
        deliver(told())
        deliver(resolved())
        assert counts(deliver(told(annotations={"summary": "Late"}))) == {"ignored": 1}
        row = Incident.objects.get()
        assert (row.resolved_at, row.title) == (END, "Too many errors")


class TestResolving:
    def test_it_closes_when_the_alert_ended(self, deliver: Deliver) -> None:
        deliver(told())
        assert counts(deliver(resolved())) == {"resolved": 1}
        assert Incident.objects.get().resolved_at == END

    def test_an_incident_never_heard_of_is_made_closed(self, deliver: Deliver) -> None:
        assert counts(deliver(resolved())) == {"resolved": 1}
        row = Incident.objects.get()
        assert (row.started_at, row.resolved_at) == (NOON, END)

    def test_it_does_not_end_before_it_began(self, deliver: Deliver) -> None:
        deliver(resolved(NOON - timedelta(hours=1)))
        assert Incident.objects.get().resolved_at == NOON

    @pytest.mark.parametrize("ends", [NEVER, None, "2199-01-01T00:00:00Z"])
    def test_an_end_that_cannot_be_is_now(self, deliver: Deliver, ends: Any) -> None:
        before = timezone.now()
        deliver(told("resolved", endsAt=ends))
        ended_at = Incident.objects.get().resolved_at
        assert ended_at is not None
        assert before <= ended_at <= timezone.now()

    def test_a_person_who_said_so_earlier_is_believed(self, deliver: Deliver) -> None:
        deliver(told())
        by_hand = END - timedelta(minutes=10)
        incidents.resolve(Incident.objects.get(), resolved_at=by_hand)
        assert counts(deliver(resolved())) == {"ignored": 1}
        assert Incident.objects.get().resolved_at == by_hand

    def test_what_fires_anew_has_ended_before(self, deliver: Deliver) -> None:
        again = NOON + timedelta(hours=1)
        deliver(told())
        deliver(told(starts=again))
        rows = Incident.objects.order_by("started_at")
        assert [row.resolved_at for row in rows] == [again, None]

    def test_what_a_person_opened_again_stays_open_when_the_same_fires_anew(self, deliver: Deliver) -> None:
        deliver(resolved())
        first = Incident.objects.get()
        incidents.reopen(first)
        for _ in range(2):
            deliver(told(starts=NOON + timedelta(hours=1)))
        assert Incident.objects.open().count() == 2

        assert counts(deliver(resolved())) == {"resolved": 1}, "an end that is told of that very alert"
        first.refresh_from_db()
        assert first.resolved_at == END

    def test_what_is_heard_of_late_has_ended_before_it_fired_anew(self, deliver: Deliver) -> None:
        again = NOON + timedelta(hours=1)
        deliver(told(starts=again))
        deliver(told())
        rows = Incident.objects.order_by("started_at")
        assert [row.resolved_at for row in rows] == [again, None]

    def test_another_alert_that_fires_closes_nothing(self, deliver: Deliver) -> None:
        deliver(told())
        deliver(told(starts=NOON + timedelta(hours=1), fingerprint="00000000000000aa"))
        assert Incident.objects.open().count() == 2

    def test_an_end_that_was_guessed_too_late_is_corrected(self, deliver: Deliver) -> None:
        deliver(told())
        incidents.resolve(Incident.objects.get())
        assert counts(deliver(resolved())) == {"updated": 1}
        assert Incident.objects.get().resolved_at == END


class TestLinking:
    @pytest.mark.parametrize(
        ("minutes_after", "linked"), [(-0.01, False), (0, True), (59, True), (60, True), (60.01, False)]
    )
    def test_the_blast_window_is_an_hour_with_both_ends(
        self, deliver: Deliver, minutes_after: float, linked: bool
    ) -> None:
        deployment = deployed(NOON - timedelta(minutes=minutes_after))
        deliver(told())
        assert Incident.objects.get().deployment == (deployment if linked else None)

    def test_it_is_the_last_deployment_before_it(self, deliver: Deliver) -> None:
        last = deployed(NOON - timedelta(minutes=5), "2")
        deployed(NOON - timedelta(minutes=20), "1")
        deployed(NOON + timedelta(minutes=1), "3")
        deliver(told())
        assert Incident.objects.get().deployment == last

    def test_another_service_is_not_to_blame(self, deliver: Deliver) -> None:
        deployed(NOON - timedelta(minutes=5), service="web")
        deployed(NOON - timedelta(minutes=5), environment="staging")
        deliver(told())
        assert Incident.objects.get().deployment is None

    def test_an_alert_that_no_change_causes_is_not_linked(self, deliver: Deliver) -> None:
        deployed(NOON - timedelta(minutes=5))
        deliver(told(labels={"change_linkable": "false"}))
        assert Incident.objects.get().deployment is None

    def test_what_a_person_unlinked_stays_unlinked(self, deliver: Deliver) -> None:
        deployed(NOON - timedelta(minutes=5))
        deliver(told())
        incidents.link(Incident.objects.get(), None)
        deliver(told(annotations={"summary": "Still"}))
        deliver(resolved())
        assert Incident.objects.get().deployment is None

    def test_a_linked_incident_counts_as_a_failure_and_as_a_recovery(self, deliver: Deliver) -> None:
        deployment = deployed(NOON - timedelta(minutes=5))
        deliver(resolved())
        deployment.refresh_from_db()
        assert deployment.failure_recorded_at is not None
        assert Incident.objects.get().observed_recovery_seconds == 1800


class TestBadAlerts:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"fingerprint": None}, "fingerprint"),
            ({"fingerprint": "f" * 200}, "fingerprint"),
            ({"fingerprint": "d2c6efc389df0927\n"}, "fingerprint"),
            ({"startsAt": None}, "startsAt"),
            ({"startsAt": NEVER}, "startsAt"),
            ({"startsAt": "yesterday"}, "startsAt"),
            ({"startsAt": "2026-03-02T12:00:00"}, "startsAt"),
            ({"startsAt": 1772452800}, "startsAt"),
            ({"startsAt": "2199-01-01T00:00:00Z"}, "startsAt"),
            ({"endsAt": "9999-12-31T23:59:59-12:00"}, "endsAt"),
            ({"status": "maybe"}, "status"),
            ({"status": ["firing"]}, "status"),
            ({"labels": {"service": "s" * 101}}, "service"),
            ({"labels": {"service": 7}}, "labels"),
            ({"annotations": ["summary"]}, "annotations"),
        ],
    )
    def test_one_is_named_and_the_others_are_recorded(self, deliver: Deliver, change: Any, field: str) -> None:
        answer = deliver(told(**change), told(fingerprint="0123456789abcdef"))
        assert counts(answer) == {"opened": 1}
        [rejected] = answer.json["rejected"]
        assert (rejected["index"], list(rejected["errors"])) == (0, [field])
        assert Incident.objects.get().fingerprint == "0123456789abcdef"

    def test_what_is_no_object_is_named_too(self, deliver: Deliver) -> None:
        answer = deliver("firing", None, [])
        assert [rejected["index"] for rejected in answer.json["rejected"]] == [0, 1, 2]

    def test_a_service_outside_of_the_allow_list_is_named(self, deliver: Deliver, settings: Any) -> None:
        settings.DEPLOY_SERVICES = ["web"]
        answer = deliver(told())
        assert "DEPLOY_SERVICES" in answer.json["rejected"][0]["errors"]["service"][0]
        assert not Incident.objects.exists()

    def test_an_environment_outside_of_the_allow_list_is_named(self, deliver: Deliver, settings: Any) -> None:
        settings.DEPLOY_ENVIRONMENTS = ["staging"]
        answer = deliver(told())
        assert "DEPLOY_ENVIRONMENTS" in answer.json["rejected"][0]["errors"]["environment"][0]
        assert not Incident.objects.exists()

    @pytest.mark.parametrize("body", [b"[]", b"{}", b'{"alerts": {}}', b'"alerts"', b"{", b"null", b"\xff"])
    def test_a_body_that_is_no_delivery_is_given_up(self, deliver: Deliver, asgi: AsgiClient, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        answer = asgi.post("/alerts", body=body, headers=headers)
        assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


class TestTokens:
    def test_a_deploy_token_with_the_scope_may_tell(self, deliver: Deliver) -> None:
        _, raw = tokens.issue(name="alertmanager", scopes=["alerts:write"])
        assert counts(deliver(told(), token=raw)) == {"opened": 1}

    def test_a_deploy_token_without_the_scope_is_refused(self, deliver: Deliver) -> None:
        _, raw = tokens.issue(name="ci", scopes=["deployments:write", "incidents:write", "read"])
        answer = deliver(told(), token=raw)
        assert (answer.status, "alerts:write" in answer.json["detail"]) == (403, True)
        assert not Incident.objects.exists()

    @pytest.mark.parametrize("token", ["wrong", TOKEN + "x", "bsd_wrong", "ü", None])
    def test_without_a_good_token_nothing_is_written(self, deliver: Deliver, token: str | None) -> None:
        answer = deliver(told(), token=token)
        assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert not Incident.objects.exists()

    @pytest.mark.parametrize("token", ["wrong", "bsd_wrong"])
    def test_a_wrong_token_is_a_security_event(
        self, deliver: Deliver, metric: Callable[..., float], token: str
    ) -> None:
        before = metric("security_events_total", type="invalid_token")
        deliver(told(), token=token)
        assert metric("security_events_total", type="invalid_token") == before + 1

    @pytest.mark.parametrize("token", ["", "None", TOKEN])
    def test_with_none_set_there_is_none_to_guess(self, deliver: Deliver, settings: Any, token: str) -> None:
        settings.ALERTS_TOKEN = ""
        assert deliver(told(), token=token).status == 401

    def test_any_host_header_will_do(self, deliver: Deliver, asgi: AsgiClient) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "app:3000"}
        assert asgi.post("/alerts", json={"alerts": []}, headers=headers).status == 200


FINGERPRINTS = ("00000000000000aa", "00000000000000bb")
STARTS = (NOON, NOON + timedelta(hours=2))
ENDS = (timedelta(minutes=30), timedelta(hours=1))  # after the start
SAYINGS = [
    (fingerprint, starts, ends)
    for fingerprint in FINGERPRINTS
    for starts in STARTS
    for ends in (None, *(starts + after for after in ENDS))
]


class TestAnySequence(TestCase):
    """Against a model in plain Python: the earliest end told, and its words; else the last words while it fired."""

    @given(posts=st.lists(st.lists(st.tuples(st.sampled_from(SAYINGS), st.sampled_from("xy")), max_size=6), max_size=6))
    @hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    def test_the_rows_are_those_of_the_model(self, posts: Any) -> None:
        deployment = deployed(NOON - timedelta(minutes=5))
        model: dict[Any, tuple[datetime | None, str]] = {}
        for post in posts:
            received = alerts.receive([_says(*saying, words) for saying, words in post])
            assert not received.rejected
            assert received.opened + received.updated + received.resolved + received.ignored == len(post)
            for (fingerprint, starts, ends), words in post:
                known_end, _ = model.get((fingerprint, starts), (None, ""))
                if known_end is None or (ends is not None and ends < known_end):
                    model[fingerprint, starts] = (ends, _title(ends, words))
                first, second = model.get((fingerprint, STARTS[0])), model.get((fingerprint, STARTS[1]))
                if first and second and first[0] is None:  # it fired anew, so it had ended
                    model[fingerprint, STARTS[0]] = (STARTS[1], first[1])
        rows = {(row.fingerprint, row.started_at): row for row in Incident.objects.all()}
        assert {key: (row.resolved_at, row.title) for key, row in rows.items()} == model
        for (_, starts), row in rows.items():
            assert row.deployment == (deployment if starts == NOON else None)
            assert (row.observed_recovery_seconds is None) == (row.deployment is None or row.resolved_at is None)

    @given(order=st.permutations([(saying, "x") for saying in SAYINGS]), again=st.lists(st.integers(0, 11), max_size=8))
    @hypothesis_settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    def test_order_and_repetition_do_not_matter(self, order: Any, again: list[int]) -> None:
        for saying, words in [*order, *(order[number] for number in again)]:
            alerts.receive([_says(*saying, words)])
        rows = Incident.objects.order_by("fingerprint", "started_at")
        assert [(row.fingerprint, row.started_at, row.resolved_at, row.title) for row in rows] == [
            (fingerprint, starts, starts + ENDS[0], _title(starts + ENDS[0], "x"))
            for fingerprint in FINGERPRINTS
            for starts in STARTS
        ]


def _title(ends: datetime | None, words: str) -> str:
    return f"{words} {ends}" if ends is None else f"ended {ends}"


def _says(fingerprint: str, starts: datetime, ends: datetime | None, words: str) -> dict[str, Any]:
    status = "resolved" if ends else "firing"
    annotations = {"summary": _title(ends, words)}
    return told(status, starts=starts, ends=ends, fingerprint=fingerprint, annotations=annotations)
