"""What /docs/chat/ says of the protocol: its messages field by field, its errors, how connections end, its limits.

Names, types and limits are read from the code, the words from `wording`.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import msgspec
from django.conf import settings
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from . import asyncapi, connection, example, protocol
from .models import MOST_CHARACTERS, MOST_REASON
from .wording import ENDS, ERRORS


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: what it may hold, and what holds where it is left out."""

    name: str
    kind: str
    default: str | None
    meaning: SafeString


@dataclass(frozen=True, slots=True)
class Shape:
    """A type of message, or of an object within one."""

    name: str
    tag: str
    meaning: SafeString
    fields: tuple[Field, ...]


@cache
def page() -> dict[str, Any]:
    """What the template needs; the same for everybody."""
    incoming, outgoing = get_args(protocol.Incoming), get_args(protocol.Outgoing)
    scheme, _, host = settings.PUBLIC_URL.partition("://")
    return {
        "address": f"{'wss' if scheme == 'https' else 'ws'}://{host}{asyncapi.ROOM_ADDRESS}",
        "version": protocol.VERSION,
        "subprotocol": protocol.SUBPROTOCOL,
        "auth_seconds": f"{settings.CHAT_AUTH_SECONDS:g}",
        "poll_seconds": f"{settings.CHAT_POLL_SECONDS:g}",
        "idle_seconds": f"{settings.CHAT_IDLE_SECONDS:g}",
        "ping_seconds": connection.PING_SECONDS,
        "most_catch_up": connection.MOST_CATCH_UP,
        "conversation": example.CONVERSATION,
        "incoming": [_shape(kind) for kind in incoming],
        "outgoing": [_shape(kind) for kind in outgoing],
        "inner": [_shape(kind) for kind in (protocol.Person, protocol.You, protocol.RoomInfo)],
        "errors": [(code, *words) for code, words in ERRORS.items()],
        "ends": ENDS,
        "limits": limits(),
    }


@cache
def asyncapi_text() -> str:
    """The AsyncAPI document, as it is sent."""
    return json.dumps(asyncapi.document(url=settings.PUBLIC_URL), indent=2, ensure_ascii=False)


def limits() -> list[tuple[str, str]]:
    """What is limited, and to how much, as this site is set."""
    kibibytes = connection.MOST_QUEUED_BYTES // 1024
    return [
        ("One message from a client", f"{protocol.MOST_BYTES:,} bytes"),
        ("The text of a chat message", f"{MOST_CHARACTERS:,} characters"),
        ("The reason of a report, a deletion, a mute or a ban", f"{MOST_REASON} characters"),
        (
            "Messages of one connection, whatever their type",
            f"{connection.MESSAGES_AT_ONCE} at once, {connection.MESSAGES_PER_SECOND} a second",
        ),
        (
            "Chat messages of one account, over its connections to one process",
            f"{settings.CHAT_BURST} at once, {settings.CHAT_MESSAGES_PER_MINUTE} a minute; moderators have no limit",
        ),
        (
            "Messages that are not understood or come too fast, before the connection is closed",
            f"{connection.STRIKES_AT_ONCE}, and one more every {1 / connection.STRIKES_PER_SECOND:g} seconds",
        ),
        ("Connections of one account to one process", str(settings.CHAT_CONNECTIONS_PER_USER)),
        ("Connections of one address (IPv6: one /64) to one process", str(settings.CHAT_CONNECTIONS_PER_ADDRESS)),
        ("Until the first message, where the room wants to know who comes", f"{settings.CHAT_AUTH_SECONDS:g} seconds"),
        ("Without a message from the client", f"{settings.CHAT_IDLE_SECONDS:g} seconds"),
        ("Entries in one answer to history", str(protocol.MOST_ENTRIES)),
        ("Entries that are given again after a reconnect", str(connection.MOST_CATCH_UP)),
        (
            "What waits for a client that does not read",
            f"{connection.MOST_QUEUED} messages or {kibibytes:,} KiB",
        ),
    ]


def _shape(kind: type[msgspec.Struct]) -> Shape:
    schema = asyncapi.schemas()[kind.__name__]
    required = set(schema.get("required", ()))
    fields = tuple(
        Field(name, _kind(told), None if name in required else _default(told), _marked(told["description"]))
        for name, told in schema["properties"].items()
        if name != "type"
    )
    return Shape(kind.__name__, str(kind.__struct_config__.tag or ""), _marked(schema["description"]), fields)


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(sorted({_kind(one) for one in schema["anyOf"]}, key=lambda kind: kind == "null"))
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if schema["type"] == "array":
        return f"array of {_kind(schema['items'])}"
    if schema.get("format") == "date-time":
        return "time, as in RFC 3339"
    bounds = [f"{schema['minimum']:,}" if schema.get("minimum") else ""]
    bounds += [f"up to {schema['maximum']:,}" if schema.get("maximum", 2**53) < 2**53 - 1 else ""]
    bounds += [f"up to {schema['maxLength']:,} characters" if "maxLength" in schema else ""]
    bounds += [f"matches {schema['pattern']}" if "pattern" in schema else ""]
    return ", ".join([str(schema["type"]), " ".join(filter(None, bounds))]).rstrip(", ")


def _default(schema: dict[str, Any]) -> str:
    return json.dumps(schema.get("default"))


def _marked(text: str) -> SafeString:
    """With what stands between backticks as code."""
    parts = ((("code" if number % 2 else "span"), part) for number, part in enumerate(text.split("`")))
    return format_html_join("", "<{0}>{1}</{0}>", parts)
