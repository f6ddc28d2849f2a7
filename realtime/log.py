"""What happened in rooms: stored once, in order, and read back."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone

from accounts.models import User

from . import access, protocol
from .models import MOST_CHARACTERS, Entry, EntryKind, Room


@dataclass(frozen=True, slots=True)
class Draft:
    """A message on its way: who says what, and what the client calls it."""

    user_id: int
    client_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a draft: its entry, or why it was not stored."""

    number: int | None = None
    error: protocol.Error | None = None


def clean(text: str) -> str:
    """What may be stored of a text: no control characters but line breaks and tabs, no white space around it.

    Lone halves of surrogate pairs, which no database takes, are dropped.
    """
    kept = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    return kept.strip()


def write(room_id: int, drafts: Sequence[Draft]) -> tuple[list[Stored], list[protocol.Entry]]:
    """Store messages in one transaction, in their order.

    Each author's rights are looked at inside it. A draft that is there already is not stored again, but acknowledged.

    Returns:
        What became of each, and the new entries.
    """
    try:
        return _write(room_id, drafts, may_be_there=False)
    except IntegrityError:  # rarely, so that is not asked each time
        return _write(room_id, drafts, may_be_there=True)


@transaction.atomic
def _write(room_id: int, drafts: Sequence[Draft], *, may_be_there: bool) -> tuple[list[Stored], list[protocol.Entry]]:
    room = Room.objects.select_for_update().get(pk=room_id)
    users = User.objects.in_bulk({draft.user_id for draft in drafts})
    rights = dict(zip(users, access.rights_of_all(room, list(users.values())), strict=True))
    known = _known(room, drafts) if may_be_there else {}
    last_said = _last_said(room, users) if room.slow_mode_seconds else {}
    now = timezone.now()
    new: list[Entry] = []
    found: list[Stored] = []
    for draft in drafts:
        key = (draft.user_id, draft.client_id)
        user = users.get(draft.user_id)
        if user is None or rights[user.pk].refusal is not None:
            found.append(Stored(error=_error("forbidden", "You may not be in this room any more.", draft)))
            continue
        refused = _refused(room, rights[user.pk], draft, last_said.get(user.pk), now)
        if refused is not None and key not in known:  # it may have been stored when its author might still write
            known |= _known(room, [draft])
        if key in known:
            found.append(Stored(known[key]))
        elif refused is not None:
            found.append(Stored(error=refused))
        else:
            room.last_number += 1
            entry = Entry(
                room=room, number=room.last_number, author=user, text=draft.text, client_id=draft.client_id,
                created_at=now,
            )  # fmt: skip
            new.append(entry)
            known[key] = entry.number
            last_said[user.pk] = now
            found.append(Stored(entry.number))
    Entry.objects.bulk_create(new)
    if new:
        Room.objects.filter(pk=room.pk).update(last_number=room.last_number)
    return found, [said(entry) for entry in new]


def refused(
    drafts: Sequence[Draft], code: protocol.ErrorCode, detail: str, retry_after: float | None = None
) -> list[Stored]:
    """None of the drafts was stored, all for one reason."""
    return [Stored(error=_error(code, detail, draft, retry_after)) for draft in drafts]


def append(room: Room, *, kind: EntryKind, author: User | None, text: str = "", target: int | None = None) -> Entry:
    """Add an entry that is no message; inside the caller's transaction."""
    number = _next_number(room)
    return Entry.objects.create(room=room, number=number, kind=kind, author=author, text=text, target=target)


def after(room_id: int, number: int, limit: int) -> list[protocol.Entry]:
    """The entries that follow a number, at most `limit`, in their order."""
    entries = Entry.objects.filter(room_id=room_id, number__gt=number).select_related("author").order_by("number")
    return [said(entry) for entry in entries[:limit]]


def before(room_id: int, number: int | None, limit: int) -> list[protocol.Entry]:
    """The last entries before a number, or the last of all, in their order."""
    entries = Entry.objects.filter(room_id=room_id).select_related("author").order_by("-number")
    if number is not None:
        entries = entries.filter(number__lt=number)
    return [said(entry) for entry in reversed(entries[:limit])]


def said(entry: Entry) -> protocol.Entry:
    """An entry, as clients get it."""
    author = entry.author
    return protocol.Entry(
        number=entry.number,
        kind=entry.kind,  # type: ignore[arg-type]
        at=entry.created_at,
        author=protocol.Person(author.pk, author.username, author.is_staff) if author else None,
        text="" if entry.deleted_at else entry.text,
        target=entry.target,
        deleted=entry.deleted_at is not None,
    )


def _next_number(room: Room) -> int:
    Room.objects.filter(pk=room.pk).update(last_number=F("last_number") + 1)
    room.refresh_from_db(fields=["last_number"])
    return room.last_number


def _known(room: Room, drafts: Sequence[Draft]) -> dict[tuple[int, str], int]:
    ids = {draft.client_id for draft in drafts}
    authors = {draft.user_id for draft in drafts}
    rows = Entry.objects.filter(room=room, author_id__in=authors, client_id__in=ids).order_by()
    found = rows.values_list("author_id", "client_id", "number")
    return {(author or 0, client or ""): number for author, client, number in found}


def _last_said(room: Room, users: dict[int, User]) -> dict[int, datetime]:
    now = timezone.now()
    since = now - timedelta(seconds=room.slow_mode_seconds)
    rows = Entry.objects.filter(room=room, kind=EntryKind.MESSAGE, author_id__in=users, created_at__gt=since)
    # Of what a clock said that has been set back since, nobody knows how long ago it was.
    rows = rows.filter(created_at__lte=now)
    last = rows.order_by().values("author_id").annotate(last=Max("created_at"))
    return {row["author_id"]: row["last"] for row in last}


def _refused(
    room: Room, rights: access.Rights, draft: Draft, last_said: datetime | None, now: datetime
) -> protocol.Error | None:
    if not draft.text:
        return _error("empty", "There is nothing to say.", draft)
    if len(draft.text) > MOST_CHARACTERS:
        return _error("too_long", f"A message has {MOST_CHARACTERS} characters at most.", draft)
    if not rights.may_write:
        left = (rights.muted_until - now).total_seconds() if rights.muted_until else None
        return _error("read_only" if room.is_archived else "muted", rights.why_not, draft, left)
    if last_said is not None and not rights.may_moderate:
        left = room.slow_mode_seconds - (now - last_said).total_seconds()
        if left > 0:
            return _error("slow_mode", f"One message every {room.slow_mode_seconds} seconds in this room.", draft, left)
    return None


def _error(code: protocol.ErrorCode, detail: str, draft: Draft, retry_after: float | None = None) -> protocol.Error:
    rounded = None if retry_after is None else round(max(retry_after, 0.0), 1)
    return protocol.Error(code=code, detail=detail, ref=draft.client_id, retry_after=rounded)
