"""A conversation in the chat's protocol, message by message: what the documentation shows, made of its types.

Every type of message stands in it, so that each has an example.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from . import protocol
from .models import MOST_CHARACTERS

AT = datetime(2026, 3, 1, 21, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 22, 0, 0, tzinfo=UTC)
ROOM = protocol.RoomInfo(
    slug="night-room", name="Night room", topic="For those who are awake.", audience="members", slow_mode_seconds=0,
    archived=False,
)  # fmt: skip
MARA = protocol.Person(id=7, name="mara")
ASH = protocol.Person(id=9, name="ash")
TOKEN = "eyJhbGciOi…"  # noqa: S105 -- the beginning of any
HERS = "0b6f2a52-9d0e-4f39-8d53-3d0f0a1d5c11"


@dataclass(frozen=True, slots=True)
class Line:
    """One message.

    Attributes:
        by: client or server.
        message: as a type of the protocol.
        why: what happens there, in a sentence.
    """

    by: str
    message: protocol.Incoming | protocol.Outgoing
    why: str

    @property
    def text(self) -> str:
        """As it goes over the wire."""
        return msgspec.json.encode(self.message).decode()


def _you(*, may_write: bool = True, muted_until: datetime | None = None, why_not: str = "") -> protocol.You:
    return protocol.You(MARA.id, MARA.name, may_write, False, muted_until, why_not)


HELLO = protocol.Hello(
    protocol=protocol.VERSION, room=ROOM, you=_you(), last=41, after=40, most_characters=MOST_CHARACTERS,
    ping_seconds=25,
)  # fmt: skip
MISSED = protocol.Entry(number=41, kind="message", at=AT, author=ASH, text="Is anybody awake?")
ANSWER = protocol.Entry(number=42, kind="message", at=AT, author=MARA, text="I am.")
DELETION = protocol.Entry(number=43, kind="deletion", at=AT, target=41)
MUTED = protocol.Entry(number=44, kind="notice", at=AT, text="mara was muted for 1 hour.")
NO_LONGER = protocol.Standing(
    you=_you(may_write=False, muted_until=LATER, why_not="A moderator has muted you."), room=ROOM
)
GONE = protocol.Entry(number=45, kind="deletion", at=AT, target=42)
NOT_YOURS = protocol.Error(code="forbidden", detail="Only moderators may do that.")
DELETED = protocol.Entry(number=41, kind="message", at=AT, author=ASH, deleted=True)

CONVERSATION = (
    Line("client", protocol.Auth(token=TOKEN), "The first message, for want of a cookie: an access token."),
    Line("server", HELLO, "It is in. Its address said that it has everything up to 40: it gets what came after."),
    Line("server", MISSED, "That is what it had missed."),
    Line("server", protocol.Present(people=2, guests=0), "Who is there; comes again whenever that changes."),
    Line("client", protocol.Chat(id=HERS, text="I am."), "It says something, under a name of its own making."),
    Line("server", ANSWER, "Everybody gets it, who said it included; before or after the next line."),
    Line("server", protocol.Ack(id=HERS, number=42), "It is stored. Until then the client keeps it."),
    Line("client", protocol.Chat(id=HERS, text="I am."), "Sent again, under the same name: the ack was lost, say."),
    Line("server", protocol.Ack(id=HERS, number=42), "It is the same message still."),
    Line("client", protocol.Ping(id="p1"), "Nothing to say, and still there."),
    Line("server", protocol.Pong(id="p1"), "So is the server."),
    Line("client", protocol.Report(number=41, reason="Not in this room."), "The moderators are to look at 41."),
    Line("server", protocol.Done(what="report"), "They will."),
    Line("server", DELETION, "A moderator has deleted 41: what the client shows there is to lose its text."),
    Line("client", protocol.Restrict(action="mute", user=9, minutes=60), "Only moderators may do that, though."),
    Line("server", NOT_YOURS, "Nothing was done."),
    Line("server", MUTED, "A moderator mutes mara; everybody is told,"),
    Line("server", NO_LONGER, "and she is told what she may do now."),
    Line("client", protocol.Lift(action="mute", user=7), "Nobody helps themselves out of it."),
    Line("server", NOT_YOURS, "Nothing was done."),
    Line("client", protocol.Delete(number=42), "What one said oneself one may delete."),
    Line("server", GONE, "Everybody is told."),
    Line("server", protocol.Done(what="delete"), "It is done."),
    Line("client", protocol.History(before=42, limit=1), "It wants older entries, one of them."),
    Line("server", protocol.Entries([DELETED], more=True, before=42), "41 keeps its number; there are more before it."),
    Line("server", protocol.Status(live=False), "For a while messages of others may be seconds late; none is lost."),
)


def of(kind: type[msgspec.Struct]) -> Iterator[Line]:
    """The lines whose message is of that type."""
    return (line for line in CONVERSATION if type(line.message) is kind)
