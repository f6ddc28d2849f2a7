"""What prune does to the chat: a room's numbers stay without a gap, and what moderators need stays."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from observability.retention import prune as pruned
from realtime import retention
from realtime.models import AccessChange, Attendance, Entry, Report, Resolution, Room
from realtime.tests import rows

pytestmark = pytest.mark.django_db


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def prune(name: str) -> int:
    (step,) = [step for step in pruned([name]) if step.is_done]
    assert not step.error
    return step.number


def numbers(room: Room) -> list[int]:
    return list(Entry.objects.filter(room=room).order_by("number").values_list("number", flat=True))


@pytest.fixture
def room(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Room:
    """One whose messages are kept for a year, and the last three of it for ever."""
    settings.CHAT_HISTORY_DAYS = 365
    monkeypatch.setattr(retention, "NEWEST", 3)
    return rows.room()


def test_what_was_said_is_kept_for_ever_unless_somebody_wants_otherwise(room: Room, settings: Any) -> None:
    settings.CHAT_HISTORY_DAYS = 0
    rows.entries(room, 5, created_at=days_ago(4000))
    assert prune("chat-messages") == 0


def test_old_messages_go_from_the_beginning_and_the_newest_stay(room: Room) -> None:
    rows.entries(room, 4, created_at=days_ago(400))
    rows.entries(room, 4)
    assert prune("chat-messages") == 4
    assert numbers(room) == [5, 6, 7, 8]


def test_the_last_ones_stay_however_old(room: Room) -> None:
    rows.entries(room, 5, created_at=days_ago(400))
    assert prune("chat-messages") == 2
    assert numbers(room) == [3, 4, 5]
    assert rows.entry(room).number == 6


def test_nothing_from_an_open_report_on_goes(room: Room) -> None:
    said = rows.entries(room, 8, created_at=days_ago(400))
    settled = rows.report(said[0])
    Report.objects.filter(pk=settled.pk).update(resolution=Resolution.DISMISSED, resolved_at=days_ago(1))
    rows.report(said[2])
    assert prune("chat-messages") == 2
    assert numbers(room) == [3, 4, 5, 6, 7, 8]


def test_a_room_that_is_empty_and_one_of_another_are_left_alone(room: Room) -> None:
    other = rows.room()
    rows.entries(other, 5)
    assert prune("chat-messages") == 0


def test_reports_go_a_year_after_they_were_settled_and_open_ones_stay() -> None:
    said = rows.entry(rows.room())
    for resolution, days in ((Resolution.ACTED, 366), (Resolution.ACTED, 300), (Resolution.OPEN, 4000)):
        resolved = None if resolution == Resolution.OPEN else days_ago(days)
        rows.report(said, resolution=resolution, resolved_at=resolved, created_at=days_ago(days))
    assert prune("chat-reports") == 1
    assert Report.objects.count() == 2


def test_what_a_killed_process_left_goes() -> None:
    room = rows.room()
    for process, hours in (("killed", 2), ("alive", 0)):
        at = timezone.now() - timedelta(hours=hours)
        Attendance.objects.create(process=process, room=room, people=[1], seen_at=at)
        AccessChange.objects.create(user_id=1, at=at)
    assert (prune("attendance"), prune("access-changes")) == (1, 1)
    assert Attendance.objects.get().process == "alive"
