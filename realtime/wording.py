"""The words of the protocol's documentation that its types do not say: what each field is, and what a client is to do.

Tests hold them against the types: no field, no code of an error, no close code without its words.
"""

from dataclasses import dataclass

from . import protocol
from .models import MOST_CHARACTERS
from .protocol import Close

FIELDS: dict[str, dict[str, str]] = {
    "Auth": {"token": "The access token."},
    "Chat": {},
    "Ping": {"id": "Comes back in the answer."},
    "History": {
        "before": "Entries with smaller numbers, the last of them.",
        "after": "Entries with greater numbers, the first of them. Counts more than `before`.",
        "limit": "How many at most.",
    },
    "Delete": {"number": "The message.", "reason": "For the audit trail."},
    "Report": {"number": "The message.", "reason": "For the moderators."},
    "Restrict": {
        "action": "A person who is muted reads and does not write; one who is banned is not in the room.",
        "user": "The person's id, as in `author`.",
        "minutes": "For how long; null: until it is lifted.",
        "reason": "For the audit trail.",
    },
    "Lift": {"action": "What is to end.", "user": "The person's id."},
    "Hello": {
        "protocol": "The version.",
        "room": "The room.",
        "you": "Who is at this connection, and what they may do.",
        "last": "The number of the room's last entry; 0: there is none yet.",
        "after": "Entries with greater numbers follow.",
        "most_characters": "Of the text of one message.",
        "ping_seconds": "How often to say something at least.",
    },
    "Entry": {
        "number": "Its number in the room: 1, 2, 3, … without a gap.",
        "kind": "A `message`; the `deletion` of one; a `notice` of the moderators.",
        "at": "When it was stored.",
        "author": "Who said it; null: the room itself, or an account that is erased.",
        "text": "Plain text: show it as such.",
        "target": "Of a deletion: the number of the message.",
        "deleted": "Of a message: it was deleted, and has lost its text.",
    },
    "Ack": {"id": "The client's name for its message.", "number": "Its number in the room."},
    "Done": {"what": "The type of the message that asked: delete, report, restrict, lift."},
    "Pong": {"id": "That of the ping."},
    "Entries": {
        "entries": "In the order of their numbers.",
        "more": "Whether there are more in the direction that was asked for.",
        "before": "As it was asked for.",
        "after": "As it was asked for.",
    },
    "Present": {"people": "Accounts, each once, in all processes.", "guests": "Connections of nobody in particular."},
    "Standing": {"you": "As in `hello`.", "room": "As in `hello`."},
    "Status": {"live": "Whether they arrive at once."},
    "Error": {
        "code": "What went wrong, for programs.",
        "detail": "The same, for people.",
        "ref": "The id of the message that it is about, where it had one.",
        "retry_after": "Seconds after which it may be tried again.",
    },
    "Person": {
        "id": "Of the account.",
        "name": "Of the account; unique, and may change.",
        "staff": "Whether they belong to the site's staff.",
    },
    "You": {
        "id": "Of the account; null: a guest.",
        "name": "Of the account; empty: a guest.",
        "may_write": "Whether messages are taken.",
        "may_moderate": "Whether `restrict`, `lift`, and `delete` of others' messages are taken.",
        "muted_until": "When a mute ends, where it does.",
        "why_not": "Why no messages are taken, in words for people.",
    },
    "RoomInfo": {
        "slug": "As in its address.",
        "name": "Its name.",
        "topic": "A sentence, or nothing.",
        "audience": "Whom it is for.",
        "slow_mode_seconds": "How long one waits between two messages; 0: not at all.",
        "archived": "Whether it can be read and no longer written in.",
    },
}

ERRORS: dict[str, tuple[str, str]] = {
    "invalid": (
        "No JSON object, of no known type, or with a wrong field: detail says which.",
        "It is a mistake in the client. Do not send it again.",
    ),
    "auth_required": (
        "The room is not open to guests, and the first message was not auth.",
        "Send auth within the time that is left.",
    ),
    "auth_failed": (
        "The access token is not good, or no longer. The connection ends with 4401.",
        "Get another (POST /auth/refresh, POST /auth/login) and connect again.",
    ),
    "already_signed_in": ("The connection is somebody's already.", "Open another one for another account."),
    "empty": ("The text has nothing but white space.", "Show it to whoever wrote it. Nothing was stored."),
    "too_long": (f"The text has more than {MOST_CHARACTERS:,} characters.", "Likewise."),
    "too_fast": (
        "Too many messages in a short time, from this connection or this account.",
        "Send it again after retry_after seconds, with the same id. Nothing was stored.",
    ),
    "slow_mode": ("In this room one waits between two messages.", "Likewise."),
    "muted": (
        "A moderator has muted the one at this connection; retry_after says for how long, where it ends.",
        "Say so. standing tells when it is over.",
    ),
    "read_only": ("A guest, or an archived room.", "Offer to sign in, where you.id is null."),
    "not_found": ("There is no such message, or person, or nothing to lift.", "Somebody else was faster, say."),
    "forbidden": ("The one at this connection may not do that.", "Say so. Do not send it again."),
    "try_again": (
        "The database did not answer.",
        "Send it again after retry_after seconds, with the same id: that it was stored after all does no harm.",
    ),
}


@dataclass(frozen=True, slots=True)
class End:
    """One way in which a connection ends: its close code, the words that may stand beside it, what to do."""

    code: int
    reasons: str
    when: str
    advice: str


AGAIN = "Connect again, with after."
ENDS = (
    End(1000, "", "The client has closed it.", "Nothing."),
    End(Close.GOING_AWAY, "", "The server, or a proxy before it, goes away.", AGAIN),
    End(1002, "", "A frame was none of the WebSocket protocol.", "It is a mistake in the client."),
    End(Close.UNSUPPORTED, "protocol", "A binary frame: messages are text.", "It is a mistake in the client."),
    End(1006, "", "It was cut off without a word: the network, or a process that died.", AGAIN),
    End(1007, "", "A text that is no UTF-8.", "It is a mistake in the client."),
    End(
        Close.POLICY,
        "too_fast, protocol",
        "Too many messages that came too fast or were not understood.",
        "It is a mistake in the client. Connect again after a minute at the earliest.",
    ),
    End(
        Close.TOO_BIG,
        "too_big",
        f"A message of more than {protocol.MOST_BYTES:,} bytes.",
        "Connect again, and do not send it again.",
    ),
    End(Close.ERROR, "error", "A mistake in the server, which has noted it.", AGAIN),
    End(Close.RESTART, "restart", "The process restarts; others go on.", "Connect again at once, with after."),
    End(
        Close.TRY_AGAIN,
        "slow, unavailable",
        "The client did not read what it was sent; or the database is away, or went back to an earlier state.",
        AGAIN,
    ),
    End(
        Close.UNAUTHENTICATED,
        "unauthenticated, auth_timeout",
        "No good token in time; or signed out, here or everywhere, or the password changed.",
        "Sign in, or refresh the token. Do not come back with the same.",
    ),
    End(
        Close.FORBIDDEN,
        "forbidden, banned",
        "Not a member, or no longer; or a moderator has banned this account from the room.",
        "Say so. Do not come back by itself.",
    ),
    End(Close.NOT_FOUND, "not_found", "There is no such room, for this account.", "Do not come back by itself."),
    End(Close.IDLE, "idle", "Nothing was heard for too long.", "Connect again, with after, and ping."),
    End(
        Close.TOO_MANY,
        "too_many",
        "The account, or the network address, has too many connections.",
        "Close one. Connect again after a minute at the earliest.",
    ),
)
