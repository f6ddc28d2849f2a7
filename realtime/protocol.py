"""The chat's protocol, version 1: every message in both directions, as types.

The page /docs/chat/ shows it in words, and /docs/chat/v1.json as an AsyncAPI document; both are made of what stands
here. A message is one JSON object in one text frame. What a later release adds are new fields and new types, which a
client ignores; what would break a client gets a new version, and a subprotocol of its own.
"""

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from .models import MOST_CHARACTERS, MOST_REASON

VERSION = 1
SUBPROTOCOL = f"bambisleep.chat.v{VERSION}"
MOST_BYTES = 65_536  # of one message from a client
MOST_ENTRIES = 100  # in one answer to `history`

Number = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Of an entry in its room: 1, 2, 3, … without a gap.")]
ClientId = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_-]{1,64}\Z",
        description="What the client calls its message; the same again is stored once. A random UUID is a good one.",
    ),
]
Time = Annotated[datetime, Meta(tz=True)]
Reason = Annotated[str, Meta(max_length=MOST_REASON)]


class Close(IntEnum):
    """With which code the server closes. Whoever is told 4400 or more need not come back with the same."""

    GOING_AWAY = 1001
    UNSUPPORTED = 1003  # a binary frame
    POLICY = 1008  # too many messages that break the protocol, or its limits
    TOO_BIG = 1009
    ERROR = 1011
    RESTART = 1012  # this process stops: come back at once, to another
    TRY_AGAIN = 1013  # too slow a reader, or the database is away or went back: come back in a while
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    IDLE = 4408
    TOO_MANY = 4429


ErrorCode = Literal[
    "invalid",  # not JSON, of no known type, or with a wrong field
    "auth_required",
    "auth_failed",
    "already_signed_in",
    "empty",
    "too_long",
    "too_fast",  # retry_after says when
    "slow_mode",  # likewise
    "muted",  # likewise, where it ends
    "read_only",  # a guest, or an archived room
    "not_found",
    "forbidden",
    "try_again",  # the database did not answer; nothing was stored
]


# --- From the client -------------------------------------------------------------------------------------------------


class FromClient(Struct, tag_field="type"):
    """What all have."""


class Auth(FromClient, tag="auth"):
    """Proves who is there, by an access token of `POST /auth/login`; within five seconds, as the first message."""

    token: Annotated[str, Meta(max_length=4096)]


class Chat(FromClient, tag="chat"):
    """Says something. Answered by `ack` once it is stored, or by `error`."""

    id: ClientId
    text: Annotated[str, Meta(description=f"Plain text, {MOST_CHARACTERS} characters at most.")]


class Ping(FromClient, tag="ping"):
    """Asks whether somebody is there. Whoever has nothing else to say sends it every 25 seconds."""

    id: ClientId | None = None


class History(FromClient, tag="history"):
    """Asks for entries: the last ones `before` a number, or the first `after` it; without either, the last of all."""

    before: Number | None = None
    after: Number | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ENTRIES)] = 50


class Delete(FromClient, tag="delete"):
    """Deletes a message: one's own, or anybody's as a moderator. Answered by `done`."""

    number: Number
    reason: Reason = ""


class Report(FromClient, tag="report"):
    """Asks the moderators to look at a message. Answered by `done`."""

    number: Number
    reason: Reason = ""


class Restrict(FromClient, tag="restrict"):
    """Mutes or bans a person in this room, as a moderator. Answered by `done`."""

    action: Literal["mute", "ban"]
    user: int
    minutes: Annotated[int, Meta(ge=1, le=525_600)] | None = None  # none: until it is lifted
    reason: Reason = ""


class Lift(FromClient, tag="lift"):
    """Lifts a mute or a ban of this room, as a moderator. Answered by `done`."""

    action: Literal["mute", "ban"]
    user: int


Incoming = Auth | Chat | Ping | History | Delete | Report | Restrict | Lift

# --- From the server -------------------------------------------------------------------------------------------------


class FromServer(Struct, tag_field="type", omit_defaults=True):
    """What all have."""


class Person(Struct, frozen=True, omit_defaults=True):
    """Who says something."""

    id: int
    name: str
    staff: bool = False


class You(Struct, frozen=True):
    """What the one at this connection may do here."""

    id: int | None
    name: str
    may_write: bool
    may_moderate: bool
    muted_until: Time | None = None
    why_not: str = ""


class RoomInfo(Struct, frozen=True):
    """A room."""

    slug: str
    name: str
    topic: str
    audience: Literal["public", "members", "staff"]
    slow_mode_seconds: int
    archived: bool


class Hello(FromServer, tag="hello"):
    """The connection is in the room. Entries follow as they come, from `after` on, in order and without a gap."""

    protocol: int
    room: RoomInfo
    you: You
    last: Number
    after: Number
    most_characters: int
    ping_seconds: int


class Entry(FromServer, tag="entry"):
    """Something that happened in the room.

    `kind` is message, deletion (of the message `target`, whose text is to go) or notice. A message that was deleted
    comes as such, with no text.
    """

    number: Number
    kind: Literal["message", "deletion", "notice"]
    at: Time
    author: Person | None = None
    text: str = ""
    target: Number | None = None
    deleted: bool = False


class Ack(FromServer, tag="ack"):
    """The message of that id is stored, as this entry; sent again, it is acknowledged as the same."""

    id: ClientId
    number: Number


class Done(FromServer, tag="done"):
    """What was asked for is done: `what` is the type of the message that asked."""

    what: str


class Pong(FromServer, tag="pong"):
    """Somebody is there."""

    id: ClientId | None = None


class Entries(FromServer, tag="history"):
    """What was asked for, in the order of the numbers; `more` says whether there is more in that direction."""

    entries: list[Entry]
    more: bool
    before: Number | None = None
    after: Number | None = None


class Present(FromServer, tag="present"):
    """How many are in the room: people, each once, and guests by connection."""

    people: int
    guests: int


class Standing(FromServer, tag="standing"):
    """What the one at this connection may do, or the room itself, has changed."""

    you: You
    room: RoomInfo


class Status(FromServer, tag="status"):
    """Whether messages from other processes arrive at once; if not, they are seconds late, and none is lost."""

    live: bool


class Error(FromServer, tag="error"):
    """Something was not done. `ref` is the id of the message, where it had one; `retry_after` is in seconds."""

    code: ErrorCode
    detail: str
    ref: str | None = None
    retry_after: float | None = None


Outgoing = Hello | Entry | Ack | Done | Pong | Entries | Present | Standing | Status | Error

_decoder: msgspec.json.Decoder[Incoming] = msgspec.json.Decoder(Incoming)
_encoder = msgspec.json.Encoder()


class Invalid(ValueError):
    """The text is no message of this protocol; its words say why, for whoever sent it."""


def decode(text: str) -> Incoming:
    """The message that a text frame holds.

    Raises:
        Invalid: where it is none.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Invalid(str(error)[:300] or "not understood") from None


def encode(message: Outgoing) -> str:
    """As it goes over the wire."""
    return _encoder.encode(message).decode()


def type_of(message: Incoming | Outgoing) -> str:
    """The name of its type."""
    return str(message.__struct_config__.tag)
