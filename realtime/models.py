"""Rooms, what was said in them, and what moderators did: data and invariants.

Everything that happens in a room is an entry with a number: 1, 2, 3, … without a gap, given under the lock of the
room's row in the transaction that stores it. So whoever has read up to a number has read everything before it, and
asks for what is greater.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django_prometheus.models import ExportModelOperationsMixin

MOST_CHARACTERS = 2000  # of one message
MOST_REASON = 300


class Audience(models.TextChoices):
    """Who may be in a room. Whoever may read may write, but for visitors who are not signed in."""

    PUBLIC = "public", "everyone"
    MEMBERS = "members", "members"
    STAFF = "staff", "staff"


class Room(models.Model):
    """A place to talk."""

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=100)
    topic = models.CharField(max_length=300, blank=True, help_text="One sentence, shown above the messages.")
    audience = models.CharField(max_length=10, choices=Audience, default=Audience.MEMBERS)
    slow_mode_seconds = models.PositiveIntegerField(
        "slow mode",
        default=0,
        help_text="Seconds a person waits between two messages; 0: none. Moderators do not wait.",
    )
    position = models.IntegerField(default=0, help_text="Smaller numbers come first.")
    is_archived = models.BooleanField(
        "archived", default=False, help_text="Can be read by whoever could, and no longer written in; not listed."
    )
    last_number = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["position", "name", "pk"]
        permissions = [("moderate_room", "Can moderate rooms: delete messages, mute and ban")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("chat_room", args=[self.slug])


class EntryKind(models.TextChoices):
    """What happened."""

    MESSAGE = "message", "message"
    DELETION = "deletion", "deletion of a message"
    NOTICE = "notice", "notice of the moderators"


class Entry(ExportModelOperationsMixin("chat_entry"), models.Model):  # type: ignore[misc]
    """Something that happened in a room. A message that is deleted keeps its number and loses its text."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="entries")
    number = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=10, choices=EntryKind, default=EntryKind.MESSAGE)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="chat_entries"
    )
    text = models.TextField(blank=True)
    # What the client calls its message, so that sending it again stores it once.
    client_id = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001 -- unique if known
    target = models.PositiveBigIntegerField(null=True, blank=True, help_text="Of a deletion: the message's number.")
    created_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        verbose_name_plural = "entries"
        ordering = ["room", "number"]
        constraints = [
            models.UniqueConstraint(fields=["room", "number"], name="realtime_entry_number"),
            models.UniqueConstraint(
                fields=["room", "author", "client_id"], name="realtime_entry_once", condition=Q(client_id__isnull=False)
            ),
        ]
        indexes = [
            models.Index(fields=["author", "-created_at"], name="realtime_entry_author"),
            models.Index(fields=["created_at"], name="realtime_entry_created"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.number} in {self.room}"


class RestrictionKind(models.TextChoices):
    """What somebody may not do for a while, or for good."""

    MUTE = "mute", "muted: reads, does not write"
    BAN = "ban", "banned: is not in the room"


class RestrictionQuerySet(models.QuerySet["Restriction"]):
    """Restrictions, by whether they are in force."""

    def in_force(self, at: datetime | None = None) -> RestrictionQuerySet:
        """Neither lifted nor over, at that moment, by default now."""
        moment = at or timezone.now()
        return self.filter(Q(until=None) | Q(until__gt=moment), lifted_at=None, created_at__lte=moment)

    def over(self) -> RestrictionQuerySet:
        """Those whose time is up, and which nobody lifted before."""
        return self.filter(until__lte=timezone.now(), lifted_at=None)

    def lifted(self) -> RestrictionQuerySet:
        """Those that a moderator ended, or replaced by another."""
        return self.exclude(lifted_at=None)

    def in_room(self, room: Room) -> RestrictionQuerySet:
        """Of that room, and of all rooms."""
        return self.filter(Q(room=room) | Q(room=None))


class Restriction(models.Model):
    """A mute or a ban, in one room or in all."""

    room = models.ForeignKey(
        Room, models.CASCADE, null=True, blank=True, related_name="restrictions", help_text="Empty: all rooms."
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="chat_restrictions")
    kind = models.CharField(max_length=10, choices=RestrictionKind)
    reason = models.CharField(max_length=MOST_REASON)
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is lifted.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    lifted_at = models.DateTimeField(null=True, blank=True, editable=False)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )

    objects = RestrictionQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["user", "lifted_at", "until"], name="realtime_restriction_user")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.user}"

    def is_in_force(self, at: datetime | None = None) -> bool:
        """Neither lifted nor over, at that moment, by default now."""
        moment = at or timezone.now()
        return self.lifted_at is None and self.created_at <= moment and (self.until is None or self.until > moment)


class Resolution(models.TextChoices):
    """What became of a report."""

    OPEN = "", "open"
    ACTED = "acted", "acted upon"
    DISMISSED = "dismissed", "dismissed"


class ReportQuerySet(models.QuerySet["Report"]):
    """Reports, by what became of them."""

    def open(self) -> ReportQuerySet:
        """Those that no moderator has looked at."""
        return self.filter(resolution=Resolution.OPEN)


class Report(models.Model):
    """Somebody asks the moderators to look at a message. Its text is kept as it was reported."""

    entry = models.ForeignKey(Entry, models.CASCADE, related_name="reports")
    reporter = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="chat_reports")
    reason = models.CharField(max_length=MOST_REASON, blank=True)
    text = models.TextField("message as it was", blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    resolution = models.CharField(max_length=10, choices=Resolution, default=Resolution.OPEN, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")

    objects = ReportQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["entry", "reporter"], name="realtime_report_once")]

    def __str__(self) -> str:
        return f"report of {self.entry}"


class Action(models.TextChoices):
    """What a moderator did."""

    DELETE = "delete", "deleted a message"
    MUTE = "mute", "muted"
    BAN = "ban", "banned"
    LIFT = "lift", "lifted a restriction"
    DISMISS = "dismiss", "dismissed a report"
    ROOM = "room", "changed a room"


class ModerationAction(models.Model):
    """The audit trail: what moderators did. Rows are only ever added.

    The database refuses to rewrite one: a row may be parted from people and rooms that are gone, by emptying what
    names them, and that is all.
    """

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    actor_name = models.CharField("moderator", max_length=150, blank=True)
    action = models.CharField(max_length=10, choices=Action)
    room = models.ForeignKey(Room, models.SET_NULL, null=True, related_name="+")
    subject = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", help_text="Whom it was done to."
    )
    entry_number = models.PositiveBigIntegerField(
        null=True, help_text="Of the message it is about, or of the notice that told the room."
    )
    reason = models.CharField(max_length=MOST_REASON, blank=True)
    detail = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.actor_name or 'Somebody'} {self.get_action_display()}"


class AccessChange(models.Model):
    """What somebody may see has changed: each process looks again at the connections that they have there.

    Kept for minutes. No foreign key: the user may be gone.
    """

    user_id = models.BigIntegerField()
    # Of one session that has ended, where it is that alone; empty: all of the user's connections are looked at.
    session_digest = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"access of {self.user_id}"


class Attendance(models.Model):
    """Who is in a room, as one process knows it; a process that stops saying so has nobody."""

    process = models.CharField(max_length=32)
    # No constraint: who says that they are here must not keep a room from being deleted. Such a row is soon swept away.
    room = models.ForeignKey(Room, models.CASCADE, db_constraint=False, related_name="attendances")
    people = models.JSONField(default=list)  # ids of users
    guests = models.PositiveIntegerField(default=0)
    seen_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["process", "room"], name="realtime_attendance_once")]

    def __str__(self) -> str:
        return f"{self.room} in {self.process}"
