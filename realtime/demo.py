"""Demo rooms: one for everyone and one for members, each with a few messages that say of themselves what they are."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import User

from . import log
from .models import Audience, Entry, EntryKind, Room

# Wrote the examples. Nobody can sign in by that name.
AUTHOR, ADDRESS = "demo-visitor", "demo-visitor@localhost.localdomain"


@dataclass(frozen=True, slots=True)
class Example:
    """One room to be made."""

    slug: str
    name: str
    topic: str
    audience: Audience
    slow_mode_seconds: int
    messages: tuple[str, ...]


EXAMPLES = (
    Example(
        "demo-lobby",
        "Lobby (demo)",
        "For everyone: come in, and say hello.",
        Audience.PUBLIC,
        0,
        (
            "Hello! This room and its first messages are examples that came with the installation.",
            "Open this page in two windows, sign in, and write: it arrives in the other at once.\n"
            "Enter sends, Shift and Enter begin a new line, and addresses become links: https://example.org/",
            "`manage.py remove_demo` takes the room away, with all that was said in it.",
        ),
    ),
    Example(
        "demo-night-room",
        "Night room (demo)",
        "For members who are awake. One message every ten seconds.",
        Audience.MEMBERS,
        10,
        (
            "An example, as those in the lobby are: this room is for members, and in slow mode.",
            "Who cannot sleep need not be alone. Keep the light low.",
        ),
    ),
)
SLUGS = [example.slug for example in EXAMPLES]


def load() -> int:
    """Make the demo rooms, unless they are there.

    Returns:
        How many there are.
    """
    there = set(Room.objects.filter(slug__in=SLUGS).values_list("slug", flat=True))
    for position, example in enumerate(EXAMPLES, 1):
        if example.slug not in there:
            _make(example, position)
    return len(EXAMPLES)


def remove() -> int:
    """Delete the demo rooms with all that was said in them, and the account that wrote the examples.

    Returns:
        How many rooms were deleted.
    """
    rooms = Room.objects.filter(slug__in=SLUGS)
    with transaction.atomic():
        number = rooms.count()
        rooms.delete()
        User.objects.filter(username=AUTHOR, email=ADDRESS).delete()
    return number


def present() -> int:
    """How many demo rooms there are."""
    return Room.objects.filter(slug__in=SLUGS).count()


def _make(example: Example, position: int) -> None:
    """A room with its messages, one every minute until now."""
    with transaction.atomic():
        room = Room.objects.create(
            slug=example.slug,
            name=example.name,
            topic=example.topic,
            audience=example.audience,
            slow_mode_seconds=example.slow_mode_seconds,
            position=position,
        )
        author = _author()
        for minutes, text in zip(range(len(example.messages), 0, -1), example.messages, strict=True):
            entry = log.append(room, kind=EntryKind.MESSAGE, author=author, text=text)
            Entry.objects.filter(pk=entry.pk).update(created_at=timezone.now() - timedelta(minutes=minutes))


def _author() -> User | None:
    """Theirs alone; None, which reads as somebody who has left, where another person has that name."""
    found = User.objects.filter(username=AUTHOR).first()
    if found is None:
        return User.objects.create_user(AUTHOR, ADDRESS, None, is_active=False)
    return found if found.email == ADDRESS else None
