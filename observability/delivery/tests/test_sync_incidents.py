"""manage.py sync_incidents: what Alertmanager could not deliver is caught up with.

A real Alertmanager is in e2e/test_alertmanager.py; here a stand-in speaks its API, since one that has been up for five
minutes would take five minutes.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from observability.delivery import alerts, incidents
from observability.delivery.alertmanager import Alertmanager, AlertmanagerUnavailable
from observability.delivery.models import Incident

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class StandIn(ThreadingHTTPServer):
    """Answers /api/v2/alerts and /api/v2/status as Alertmanager 0.25 does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.alerts: Any = []
        self.up_since = timezone.now() - timedelta(hours=1)
        self.status: Any = None
        self.code = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        body: Any = {"uptime": self.server.up_since.isoformat()} if self.server.status is None else self.server.status
        if asked.path == "/api/v2/alerts":
            shown = {name for name, values in parse_qs(asked.query).items() if values == ["true"]}
            assert shown == {"active", "silenced", "inhibited", "unprocessed"}
            body = self.server.alerts
        self.send_response(self.server.code)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def alertmanager(settings: Any) -> Iterator[StandIn]:
    """One that has been up for an hour, at ALERTMANAGER_URL."""
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        settings.ALERTMANAGER_URL = server.url
        yield server
        server.shutdown()
        thread.join()


def firing(fingerprint: str = "d2c6efc389df0927", *, starts: datetime = NOON, state: str = "active") -> dict[str, Any]:
    """An alert as the API tells it."""
    return {
        "labels": {"alertname": "HighErrorRate", "opens_incident": "true", "severity": "warning"},
        "annotations": {"summary": "Too many errors"},
        "startsAt": starts.isoformat(timespec="milliseconds"),
        "endsAt": (timezone.now() + timedelta(minutes=4)).isoformat(),
        "fingerprint": fingerprint,
        "generatorURL": "http://prometheus:9090/graph",
        "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
    }


def opened(fingerprint: str = "d2c6efc389df0927", **more: Any) -> Incident:
    more = {"started_at": NOON, **more}
    return incidents.open_incident(
        service="bambisleep", environment="production", title="Known", fingerprint=fingerprint, **more
    )


class TestOpening:
    def test_what_fires_and_is_not_known_is_opened(self, alertmanager: StandIn) -> None:
        alertmanager.alerts = [firing()]
        assert alerts.sync().opened == ["Too many errors"]
        row = Incident.objects.get()
        assert (row.started_at, row.resolved_at, row.severity) == (NOON, None, "warning")

    def test_what_is_known_is_not_opened_again(self, alertmanager: StandIn) -> None:
        alertmanager.alerts = [firing()]
        alerts.sync()
        assert alerts.sync().opened == []
        assert Incident.objects.count() == 1

    def test_what_was_resolved_is_not_opened_again(self, alertmanager: StandIn) -> None:
        incidents.resolve(opened())
        alertmanager.alerts = [firing()]
        assert alerts.sync().opened == []
        assert not Incident.objects.open().exists()

    @pytest.mark.parametrize("state", ["suppressed", "unprocessed"])
    def test_what_would_not_be_delivered_is_not_opened(self, alertmanager: StandIn, state: str) -> None:
        alertmanager.alerts = [firing(state=state)]
        alerts.sync()
        assert not Incident.objects.exists()

    def test_what_opens_no_incident_is_left_out(self, alertmanager: StandIn) -> None:
        alert = firing()
        del alert["labels"]["opens_incident"]
        alertmanager.alerts = [alert]
        alerts.sync()
        assert not Incident.objects.exists()

    def test_one_that_cannot_be_read_does_not_cost_the_others(self, alertmanager: StandIn) -> None:
        alertmanager.alerts = [{**firing(), "startsAt": "soon"}, firing("00000000000000aa")]
        alerts.sync()
        assert Incident.objects.get().fingerprint == "00000000000000aa"


class TestClosing:
    def test_what_fires_no_longer_is_closed(self, alertmanager: StandIn) -> None:
        opened()
        before = timezone.now()
        assert alerts.sync().resolved == ["Known"]
        ended_at = Incident.objects.get().resolved_at
        assert ended_at is not None
        assert before <= ended_at <= timezone.now()

    @pytest.mark.parametrize("state", ["active", "suppressed", "unprocessed"])
    def test_what_fires_stays_open(self, alertmanager: StandIn, state: str) -> None:
        opened()
        alertmanager.alerts = [firing(state=state)]
        assert alerts.sync().resolved == []
        assert Incident.objects.open().exists()

    def test_what_fired_again_had_ended_by_then(self, alertmanager: StandIn) -> None:
        old = opened()
        alertmanager.alerts = [firing(starts=NOON + timedelta(hours=2))]
        alerts.sync()
        old.refresh_from_db()
        assert old.resolved_at == NOON + timedelta(hours=2)
        assert Incident.objects.open().get().started_at == NOON + timedelta(hours=2)

    @pytest.mark.parametrize("fingerprint", ["", "PAGER-17"])
    def test_what_people_opened_stays_open(self, alertmanager: StandIn, fingerprint: str) -> None:
        opened(fingerprint)
        alerts.sync()
        assert Incident.objects.open().exists()

    def test_what_a_person_opened_again_stays_open(self, alertmanager: StandIn) -> None:
        incident = opened()
        incidents.resolve(incident)
        incidents.reopen(incident)
        assert alerts.sync().resolved == []
        assert Incident.objects.open().count() == 1

    def test_it_does_too_where_the_same_alert_fires_anew(self, alertmanager: StandIn) -> None:
        incident = opened()
        incidents.resolve(incident)
        incidents.reopen(incident)
        alertmanager.alerts = [firing(starts=NOON + timedelta(hours=2))]
        for _ in range(2):
            alerts.sync()
        assert Incident.objects.open().count() == 2

    def test_what_is_opened_during_the_comparison_stays_open(self, alertmanager: StandIn) -> None:
        class AsItIsAsked(Alertmanager):
            def alerts(self) -> list[dict[str, Any]]:
                opened()
                return super().alerts()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(alerts, "Alertmanager", AsItIsAsked)
            alerts.sync()
        assert Incident.objects.open().exists()

    def test_while_alertmanager_is_new_nothing_is_closed(self, alertmanager: StandIn) -> None:
        opened()
        alertmanager.up_since = timezone.now() - timedelta(minutes=4, seconds=50)
        alertmanager.alerts = [firing("00000000000000aa")]
        synced = alerts.sync()
        assert synced.settled_at == alertmanager.up_since + timedelta(minutes=5)
        assert (synced.opened, synced.resolved) == (["Too many errors"], [])
        assert Incident.objects.open().count() == 2

    def test_after_five_minutes_it_is_believed(self, alertmanager: StandIn) -> None:
        opened()
        alertmanager.up_since = timezone.now() - timedelta(minutes=5, seconds=1)
        assert alerts.sync().resolved == ["Known"]


class TestTheCommand:
    def test_it_says_what_it_did(self, alertmanager: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
        opened("00000000000000aa")
        alertmanager.alerts = [firing()]
        call_command("sync_incidents")
        assert capsys.readouterr().out == "opened: Too many errors\nclosed: Known\n"

    def test_a_dry_run_changes_nothing(self, alertmanager: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
        opened("00000000000000aa")
        alertmanager.alerts = [firing(), firing("00000000000000aa")]
        call_command("sync_incidents", "--dry-run")
        assert capsys.readouterr().out == "would be opened: Too many errors\n"
        alertmanager.alerts = []
        call_command("sync_incidents", "--dry-run")
        assert capsys.readouterr().out == "would be closed: Known\n"
        assert Incident.objects.open().count() == Incident.objects.count() == 1

    def test_it_says_when_nothing_differs(self, alertmanager: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("sync_incidents")
        assert capsys.readouterr().out == "Nothing differs.\n"

    def test_it_says_when_to_come_back(self, alertmanager: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
        alertmanager.up_since = timezone.now()
        call_command("sync_incidents")
        assert "Try again after" in capsys.readouterr().out

    def test_another_address_may_be_given(self, alertmanager: StandIn, settings: Any) -> None:
        settings.ALERTMANAGER_URL = ""
        alertmanager.alerts = [firing()]
        call_command("sync_incidents", "--url", alertmanager.url + "/")
        assert Incident.objects.count() == 1

    def test_without_an_address_it_says_what_to_set(self, settings: Any) -> None:
        settings.ALERTMANAGER_URL = ""
        with pytest.raises(CommandError, match="ALERTMANAGER_URL"):
            call_command("sync_incidents")

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:9093", "file:///etc/passwd", "http://["])
    def test_an_address_where_nobody_answers_is_an_error(self, url: str) -> None:
        opened()
        with pytest.raises(CommandError, match="Nothing was changed"):
            call_command("sync_incidents", "--url", url)
        assert Incident.objects.open().exists()

    @pytest.mark.parametrize(
        "broken",
        [{"code": 503}, {"alerts": b"<html>"}, {"alerts": {}}, {"alerts": ["x"]}, {"status": {}}, {"status": b"1"}],
    )
    def test_an_answer_that_is_not_alertmanagers_closes_nothing(self, alertmanager: StandIn, broken: Any) -> None:
        opened()
        for name, value in broken.items():
            setattr(alertmanager, name, value)
        with pytest.raises(AlertmanagerUnavailable):
            alerts.sync()
        assert Incident.objects.open().exists()


@pytest.mark.django_db(transaction=True)
def test_it_is_compared_again_and_again(alertmanager: StandIn) -> None:
    alertmanager.alerts = [firing()]
    until = threading.Event()
    thread = threading.Thread(target=alerts.keep_synced, args=[until], kwargs={"every": timedelta(milliseconds=50)})
    thread.start()
    try:
        _wait_for(lambda: Incident.objects.open().count() == 1)
        alertmanager.alerts = []  # it ended while it was silenced: no delivery tells of it
        _wait_for(lambda: Incident.objects.open().count() == 0)
    finally:
        until.set()
        thread.join()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
