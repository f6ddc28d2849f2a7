"""Rooms, people and what was said, made by hand: for tests that look at what is made of them."""

from datetime import timedelta
from itertools import count
from typing import Any

from django.contrib.auth.models import Permission
from django.db import transaction
from django.utils import timezone

from accounts import membership
from accounts.models import User
from realtime import log
from realtime.models import (
    Audience,
    Entry,
    EntryKind,
    ModerationAction,
    Report,
    Restriction,
    RestrictionKind,
    Room,
)

PASSWORD = "a long enough phrase"
numbers = count(1)


def room(slug: str = "", **more: Any) -> Room:
    """A room for everyone."""
    slug = slug or f"room-{next(numbers)}"
    return Room.objects.create(**{"slug": slug, "name": slug.title(), "audience": Audience.PUBLIC, **more})


def members_room(slug: str = "", **more: Any) -> Room:
    """A room for members."""
    return room(slug, **{"audience": Audience.MEMBERS, **more})


def staff_room(slug: str = "", **more: Any) -> Room:
    """A room for staff."""
    return room(slug, **{"audience": Audience.STAFF, **more})


def person(name: str = "", **more: Any) -> User:
    """Somebody who has an account, and nothing else."""
    name = name or f"person-{next(numbers)}"
    return User.objects.create_user(name, f"{name}@example.org", PASSWORD, **more)


def member(name: str = "", **more: Any) -> User:
    """Somebody who may see what is for members."""
    made = person(name, **more)
    membership.give(user=made, by=None, reason="a test")
    return made


def colleague(name: str = "", *permissions: str, **more: Any) -> User:
    """Staff with these permissions of the chat, by default none: `colleague("kim", "view_report")`."""
    made = person(name, **{"is_staff": True, **more})
    wanted = Permission.objects.filter(content_type__app_label="realtime", codename__in=permissions)
    assert wanted.count() == len(permissions), "there is no such permission"
    made.user_permissions.add(*wanted)
    return made


def moderator(name: str = "", **more: Any) -> User:
    """Staff who may delete messages, mute and ban."""
    return colleague(name, "moderate_room", **more)


def entry(of: Room, author: User | None = None, text: str = "", **more: Any) -> Entry:
    """A message, the next of its room; of somebody new where no author is named."""
    author = author or person()
    with transaction.atomic():
        kind = more.pop("kind", EntryKind.MESSAGE)
        made = log.append(of, kind=kind, author=author, text=text or f"Message of {author}.")
        if more:
            Entry.objects.filter(pk=made.pk).update(**more)
            made.refresh_from_db()
    return made


def entries(of: Room, number: int, author: User | None = None, **more: Any) -> list[Entry]:
    """Several messages of one author."""
    author = author or person()
    return [entry(of, author, **more) for _ in range(number)]


def restriction(user: User, of: Room | None = None, **more: Any) -> Restriction:
    """A mute of an hour, in one room or in all, as it stands in the database: nothing else comes of it."""
    values = {"kind": RestrictionKind.MUTE, "reason": "a test", "until": timezone.now() + timedelta(hours=1)}
    return Restriction.objects.create(**{"user": user, "room": of, **values, **more})


def ban(user: User, of: Room | None = None, **more: Any) -> Restriction:
    """A ban, until it is lifted."""
    return restriction(user, of, **{"kind": RestrictionKind.BAN, "until": None, **more})


def report(of: Entry, reporter: User | None = None, **more: Any) -> Report:
    """A report that nobody has looked at; of somebody new where no reporter is named."""
    values = {"entry": of, "reporter": reporter or person(), "text": of.text, "reason": "unkind"}
    return Report.objects.create(**{**values, **more})


def action(by: User, **more: Any) -> ModerationAction:
    """A row of the audit trail."""
    return ModerationAction.objects.create(**{"actor": by, "actor_name": by.username, "action": "mute", **more})
