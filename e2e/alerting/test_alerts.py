"""From the cause to the message: each alert is told on the right channel in words for a person, the site keeps an
incident of it where it should, and all is told to be over again."""

import json
import re

import pytest

from e2e.alerting.story import CHANNELS, DRIVEN, Story
from e2e.monitoring import without_durations, yaml_files
from e2e.servers import ROOT

pytestmark = [
    pytest.mark.once,
    pytest.mark.needs("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "promtool"),
]


def test_only_durations_were_changed(story: Story) -> None:
    changed = 0
    for path in yaml_files(story.source):
        original = ROOT / "deploy" / path.relative_to(story.source)
        if original.exists():  # not the list of targets that the story adds
            assert without_durations(path.read_text()) == without_durations(original.read_text()), path.name
            changed += path.read_text() != original.read_text()
    assert changed >= 5  # Prometheus, Alertmanager, the 12 alerts, the objectives, the platform


@pytest.mark.parametrize("alert", DRIVEN)
def test_it_is_told_on_its_channel(story: Story, alert: str) -> None:
    severity, _ = DRIVEN[alert]
    message = story.told[alert].fired

    assert message["channel"] == f"#alerts-{CHANNELS[severity]}"
    titles = {"critical": "CRITICAL: ", "warning": "Warning: ", "info": "Info: "}
    assert message["title"].startswith(titles[severity])
    assert message["color"] == {"critical": "danger", "warning": "warning", "info": "#439FE0"}[severity]


@pytest.mark.parametrize("alert", [*DRIVEN, "ApplicationDown, one of two", "ApplicationDown, all"])
def test_its_text_is_for_a_person(story: Story, alert: str) -> None:
    message = story.told[alert].fired

    assert re.search(r"\d", message["text"]), "the description carries the value"
    for flaw in ("<no value>", "%!", "NaN", "{{", "[no value]", "+Inf"):
        assert flaw not in json.dumps(message)
    name = alert.partition(",")[0]
    assert re.search(rf"<http://localhost:\d+/consoles/{name}\.md\|Runbook>", message["text"])
    assert re.search(r"<http://localhost:3001/d/bambisleep-[a-z]+\?viewPanel=panel-\d+\S*\|Dashboard>", message["text"])
    assert f"alertname%3D%22{name}%22" in message["text"]
    assert re.search(r"_Since \d+ \w+ \d\d:\d\d UTC\._", message["text"])
    assert len(message["title"]) <= 80
    assert len(message["text"].split("<http")[0]) <= 600


@pytest.mark.parametrize("alert", DRIVEN)
def test_it_is_told_to_be_over(story: Story, alert: str) -> None:
    message = story.told[alert].resolved

    assert message["title"] == "Resolved: " + story.told[alert].fired["title"].partition(": ")[2]
    assert message["color"] == "good"
    assert "_Lasted from " in message["text"]


@pytest.mark.parametrize("alert", DRIVEN)
def test_the_site_keeps_an_incident_where_it_should(story: Story, alert: str) -> None:
    severity, opens_incident = DRIVEN[alert]

    kept = story.told[alert].incidents
    assert bool(kept) == opens_incident
    assert {row[0] for row in kept} <= {severity}
    assert all(row[1] for row in kept), "each is resolved"


def test_what_a_change_can_have_caused_is_laid_at_the_last_deployment_s_door(story: Story) -> None:
    linked = {alert for alert in DRIVEN if any(row[2] for row in story.told[alert].incidents)}

    performance, business = {"HighErrorRate", "SlowResponseTime"}, {"SubscriptionFailures", "StripeWebhookErrors"}
    assert linked == {*performance, *business, "WebSocketConnectionDrop"}


def test_the_payments_alerts_say_what_fails_most(story: Story) -> None:
    renewals, events = (story.told[alert].fired["text"] for alert in ("SubscriptionFailures", "StripeWebhookErrors"))

    assert re.search(r"Most of them: (card_declined|insufficient_funds)\.", renewals)
    assert "Most of them: customer.updated." in events


def test_what_could_not_be_processed_was_processed_afterwards(story: Story) -> None:
    rows = story.installation.rows("SELECT processed_at IS NOT NULL, attempts FROM payments_webhookevent")

    assert all(processed for processed, _ in rows)
    assert len([attempts for _, attempts in rows if attempts > 1]) >= 3


def test_one_process_of_two_is_a_warning_that_names_it(story: Story) -> None:
    message = story.told["ApplicationDown, one of two"].fired

    assert message["channel"] == "#alerts-warnings"
    assert re.search(r"1 of (the )?2", message["text"])
    assert re.search(r"localhost:\d+", message["text"])


def test_the_drop_of_the_chat_says_how_many_are_left_of_how_many(story: Story) -> None:
    text = story.told["WebSocketConnectionDrop"].fired["text"]

    found = re.search(r"(\d+) WebSocket connections are open, of (\d+) on average in the last half hour", text)
    assert found, text
    left, average = map(int, found.groups())
    assert 10 <= average <= 40
    assert left < average / 2


def test_a_planned_restart_of_one_process_is_no_drop(story: Story) -> None:
    assert story.restart.began_again
    assert story.restart.most_at_one == 40
    assert not story.restart.fired


def test_no_process_at_all_is_critical(story: Story) -> None:
    message = story.told["ApplicationDown, all"].fired

    assert message["channel"] == "#alerts-critical"
    assert message["title"].startswith("CRITICAL: ")
    assert message["color"] == "danger"


def test_a_process_that_is_down_is_an_incident(story: Story) -> None:
    assert story.told["ApplicationDown, one of two"].incidents
    assert all(row[1] for row in story.told["ApplicationDown, one of two"].incidents)


def test_the_watchdog_is_heard_by_whom_it_is_for_and_by_nobody_else(story: Story) -> None:
    assert set(story.slack.pings) == {"Watchdog"}
    assert not [message for _, message in story.slack.messages if "Watchdog" in message["text"]]
