"""The protocol as an AsyncAPI 3.0 document, made of its types (https://www.asyncapi.com/docs/reference/specification/v3.0.0)."""

import json
from functools import cache
from typing import Any, get_args

import msgspec

from . import example, protocol
from .wording import FIELDS

ROOM_ADDRESS = "/ws/chat/{room}/"
AFTER = {"type": "integer", "minimum": 0, "description": "The number of the last entry that the client has."}


def document(*, url: str) -> dict[str, Any]:
    """The whole document; `url` is the site's own, such as https://example.org."""
    incoming, outgoing = get_args(protocol.Incoming), get_args(protocol.Outgoing)
    scheme, _, host = url.partition("://")
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:{protocol.SUBPROTOCOL.replace('.', ':')}",
        "info": {
            "title": "bambisleep chat",
            "version": str(protocol.VERSION),
            "description": (protocol.__doc__ or "").strip(),
            "externalDocs": {"url": f"{url}/docs/chat/", "description": "The same in words, with what a client does."},
        },
        "defaultContentType": "application/json",
        "servers": {"site": {"host": host, "protocol": "wss" if scheme == "https" else "ws"}},
        "channels": {
            "room": {
                "address": ROOM_ADDRESS,
                "title": "A room",
                "parameters": {"room": {"description": "The room's slug, as in the address of its page."}},
                "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": {"after": AFTER}}}},
                "messages": {
                    kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in (*incoming, *outgoing)
                },
            }
        },
        "operations": {
            "say": _operation("receive", "What a client may send.", incoming),
            "hear": _operation("send", "What a client is sent.", outgoing),
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in (*incoming, *outgoing)},
            "schemas": schemas(),
        },
    }


@cache
def schemas() -> dict[str, Any]:
    """The JSON schema of each type, by its name.

    Patterns are rewritten: they are Python's in the code, and ECMA 262's in a JSON schema, which has no \\A and \\Z.
    """
    kinds = [*get_args(protocol.Incoming), *get_args(protocol.Outgoing)]
    _, found = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    text = json.dumps(found).replace(json.dumps(r"\A")[1:-1], "^").replace(json.dumps(r"\Z")[1:-1], "$")
    rewritten: dict[str, Any] = json.loads(text)
    for kind, fields in FIELDS.items():
        properties = rewritten[kind]["properties"]
        for name, meaning in fields.items():
            properties[name] = {**properties[name], "description": meaning}
    return rewritten


def _operation(action: str, summary: str, kinds: tuple[type, ...]) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/room/messages/{kind.__name__}"} for kind in kinds]
    return {"action": action, "summary": summary, "channel": {"$ref": "#/channels/room"}, "messages": messages}


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    summary, _, rest = (kind.__doc__ or "").strip().partition("\n\n")
    found: dict[str, Any] = {
        "name": kind.__struct_config__.tag,
        "summary": " ".join(summary.split()),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "examples": [{"summary": line.why, "payload": msgspec.to_builtins(line.message)} for line in example.of(kind)],
    }
    return {**found, "description": " ".join(rest.split())} if rest else found
