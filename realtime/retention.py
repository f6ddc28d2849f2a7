"""What of the chat is not kept for ever: who was there, reports that are settled and, if wanted, what was said.

The audit trail and the restrictions stay: they say why somebody was put out.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Min, Q

from observability.retention import Outdated, Rows, keeps

from . import standing
from .models import AccessChange, Attendance, Entry, Report, Resolution, Room

# Of each room, however old: whoever comes back is told what was said meanwhile without a gap.
NEWEST = 1_000


@keeps("attendance", "Who is in a room, as a process that was killed left it.", period=timedelta(hours=1))
def attendance(before: datetime) -> Iterator[Outdated]:
    """A process that lives says so every ten seconds."""
    yield Rows(Attendance.objects.filter(seen_at__lt=before))


@keeps("access-changes", "Word that somebody's access has changed.", period=6 * standing.KEPT)
def access_changes(before: datetime) -> Iterator[Outdated]:
    """Every process has seen it within minutes."""
    yield Rows(AccessChange.objects.filter(at__lt=before))


@keeps("chat-reports", "Reports of messages, from the day on which they were settled.", days="CHAT_REPORTS_DAYS")
def chat_reports(before: datetime) -> Iterator[Outdated]:
    """An open one stays."""
    yield Rows(Report.objects.exclude(resolution=Resolution.OPEN).filter(resolved_at__lt=before))


@keeps("chat-messages", "What was said, but for the last 1,000 entries of each room.", days="CHAT_HISTORY_DAYS")
def chat_messages(before: datetime) -> Iterator[Outdated]:
    """From a room's beginning on, up to the first entry that is young enough or whose report is open: the numbers of
    what is left have no gap, at any moment."""
    for room in Room.objects.order_by("pk"):
        stays = Q(created_at__gte=before) | Q(reports__resolution=Resolution.OPEN, reports__isnull=False)
        first = Entry.objects.filter(stays, room=room).aggregate(first=Min("number"))["first"]
        end = min(room.last_number - NEWEST + 1, room.last_number if first is None else first)
        yield Rows(Entry.objects.filter(room=room, number__lt=end).order_by("number"), ordered=True)
