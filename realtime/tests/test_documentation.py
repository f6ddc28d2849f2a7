"""The protocol's documentation against the protocol: what it promises is what is sent and taken."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from django.test import Client

from accounts import tokens
from bambisleep.tests.client import AsgiClient
from realtime import asyncapi, documentation, example, metrics, protocol
from realtime.hub import hub
from realtime.models import Room
from realtime.tests import rows
from realtime.tests.talking import Talker, talking
from realtime.wording import ENDS, ERRORS, FIELDS

OFFICIAL = json.loads(Path(__file__).with_name("asyncapi-3.0.0.json").read_text())
INCOMING, OUTGOING = get_args(protocol.Incoming), get_args(protocol.Outgoing)
INNER = (protocol.Person, protocol.You, protocol.RoomInfo)
DOCUMENT = asyncapi.document(url="https://members.example")


def faults(text: str, kinds: tuple[type, ...]) -> list[str]:
    """What the schemas of the document find wrong with a message that is to be of one of `kinds`."""
    message = json.loads(text)
    tags = {kind.__struct_config__.tag: kind.__name__ for kind in kinds}
    name = tags.get(message.get("type")) if isinstance(message, dict) else None
    if name is None:
        return [f"no message of a known type: {text[:100]}"]
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    found = jsonschema.Draft202012Validator(schema, format_checker=checker).iter_errors(message)
    return [f"{error.json_path}: {error.message}" for error in found]


# --- The document and the page ---


def test_the_document_is_asyncapi_by_its_official_schema() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    validator = jsonschema.Draft7Validator(OFFICIAL)
    assert [error.message[:300] for error in validator.iter_errors(document)] == []
    document["channels"]["room"]["bindings"]["ws"]["method"] = "PUT"
    assert not validator.is_valid(document)  # the schema has teeth


def test_every_reference_of_the_document_leads_somewhere() -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(DOCUMENT))
    assert len(found) > 40
    for reference in found:
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_it_has_every_message_and_what_a_client_may_send_apart_from_what_it_is_sent() -> None:
    operations = DOCUMENT["operations"]
    for name, kinds in (("say", INCOMING), ("hear", OUTGOING)):
        named = [message["$ref"].rpartition("/")[2] for message in operations[name]["messages"]]
        assert named == [kind.__name__ for kind in kinds]
    assert operations["say"]["action"] == "receive"  # as the application sees it
    assert operations["hear"]["action"] == "send"


def test_both_are_served(asgi: AsgiClient, db: None) -> None:
    page, document = asgi.get("/docs/chat/"), asgi.get("/docs/chat/v1.json")
    assert page.status == document.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert document.headers["content-type"] == "application/json"
    assert document.json["asyncapi"] == "3.0.0"
    assert 'href="/docs/chat/"' in asgi.get("/").body.decode()


def test_the_page_names_every_message_field_error_and_end(asgi: AsgiClient, db: None) -> None:
    page = asgi.get("/docs/chat/").body.decode()
    for kind in (*INCOMING, *OUTGOING):
        assert f'<h3 id="{kind.__name__}"><code>{kind.__struct_config__.tag}</code></h3>' in page
    for kind in (*INCOMING, *OUTGOING, *INNER):
        for field in msgspec.structs.fields(kind):
            assert f'<th scope="row"><code>{field.encode_name}</code></th>' in page
    for code in get_args(protocol.ErrorCode):
        assert f'<th scope="row"><code>{code}</code></th>' in page
    for close in protocol.Close:
        assert f'<th scope="row">{close.value}</th>' in page


def test_every_anchor_of_the_page_is_there_once(asgi: AsgiClient, db: None) -> None:
    page = asgi.get("/docs/chat/").body.decode()
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


# --- The words ---


@pytest.mark.parametrize("kind", [*INCOMING, *OUTGOING, *INNER], ids=lambda kind: kind.__name__)
def test_every_field_has_its_words_and_no_words_are_about_a_field_that_is_gone(kind: type[msgspec.Struct]) -> None:
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert set(FIELDS[kind.__name__]) <= names
    properties = asyncapi.schemas()[kind.__name__]["properties"]
    assert [name for name in names if not properties[name].get("description")] == []


def test_every_error_has_its_words() -> None:
    assert list(ERRORS) == list(get_args(protocol.ErrorCode))


def test_every_way_to_end_has_its_words() -> None:
    codes = [int(end.code) for end in ENDS]
    assert codes == sorted(set(codes))
    assert {int(code) for code in protocol.Close} <= set(codes)
    told = {reason for end in ENDS for reason in end.reasons.split(", ") if reason}
    assert told == set(metrics.REASONS) - {"client", "lost"}  # of those nothing is told: they are gone


def test_the_limits_are_those_in_force(settings: Any) -> None:
    settings.CHAT_IDLE_SECONDS, settings.CHAT_BURST, settings.CHAT_CONNECTIONS_PER_USER = 33.0, 7, 4
    told = dict(documentation.limits())
    assert told["Without a message from the client"] == "33 seconds"
    assert told["Connections of one account to one process"] == "4"
    assert told["One message from a client"] == "65,536 bytes"
    assert any(much.startswith("7 at once, ") for much in told.values())


# --- The example ---


def test_every_type_of_message_has_its_example() -> None:
    assert {type(line.message) for line in example.CONVERSATION} == {*INCOMING, *OUTGOING}


@pytest.mark.parametrize("line", example.CONVERSATION, ids=lambda line: line.text[:40])
def test_every_line_of_the_example_is_what_its_side_may_send(line: example.Line) -> None:
    assert faults(line.text, INCOMING if line.by == "client" else OUTGOING) == []
    if line.by == "client":
        assert protocol.decode(line.text) == line.message


# --- What is sent and taken ---

HER_ID = "0b6f2a52-9d0e-4f39-8d53-3d0f0a1d5c11"
REFUSED = (
    {"type": "chat", "text": "no id"},
    {"type": "chat", "id": "", "text": "an empty id"},
    {"type": "chat", "id": "a" * 65, "text": "a long id"},
    {"type": "chat", "id": "a b", "text": "an id with a space"},
    {"type": "chat", "id": "a", "text": 1},
    {"type": "chat", "id": None, "text": "no id"},
    {"type": "history", "limit": 0},
    {"type": "history", "limit": 101},
    {"type": "history", "before": -1},
    {"type": "history", "after": "1"},
    {"type": "delete"},
    {"type": "delete", "number": 1, "reason": "a" * 301},
    {"type": "restrict", "action": "praise", "user": 1},
    {"type": "restrict", "action": "ban", "user": 1, "minutes": 0},
    {"type": "auth", "token": "a" * 4097},
    {"type": "auth"},
    {"type": "entry", "number": 1},
    {"id": "a", "text": "of no type"},
    ["chat"],
)


@pytest.mark.parametrize("message", REFUSED, ids=lambda message: json.dumps(message)[:50])
def test_what_is_refused_is_no_message_by_the_schemas_either(message: Any) -> None:
    with pytest.raises(protocol.Invalid):
        protocol.decode(json.dumps(message))
    assert faults(json.dumps(message), INCOMING) != []


@pytest.mark.django_db(transaction=True)
def test_all_that_goes_over_real_connections_is_as_the_schemas_say() -> None:
    room = rows.members_room("night-room")
    people = {"mara": rows.member("mara"), "ash": rows.member("ash"), "kim": rows.moderator("kim")}
    access = {name: tokens.issue(user).access for name, user in people.items()}

    async def go() -> list[Talker]:
        path = "/ws/chat/night-room/"
        async with talking(path) as mara, talking(path) as kim, talking(path, query="after=0") as ash:
            for name, talker in {"mara": mara, "kim": kim, "ash": ash}.items():
                talker.say({"type": "auth", "token": access[name]})
                await talker.hears("hello")
            await mara.hears("present", people=3)
            mara.say({"type": "chat", "id": HER_ID, "text": "I am."})
            await mara.hears("ack", id=HER_ID, number=1)
            await ash.hears("entry", number=1, kind="message")
            mara.say({"type": "chat", "id": HER_ID, "text": "I am."})
            await mara.hears("ack", id=HER_ID, number=1)
            mara.say({"type": "chat", "id": "two", "text": " "})
            await mara.hears("error", code="empty", ref="two")
            mara.say({"type": "ping", "id": "p1"})
            await mara.hears("pong", id="p1")
            mara.say({"type": "ping"})
            await mara.hears("pong")
            mara.say({"type": "restrict", "action": "ban", "user": people["ash"].pk})
            await mara.hears("error", code="forbidden")
            ash.say({"type": "report", "number": 1, "reason": "unkind"})
            await ash.hears("done", what="report")
            kim.say({"type": "restrict", "action": "mute", "user": people["ash"].pk, "minutes": 5, "reason": "noise"})
            await kim.hears("done", what="restrict")
            await ash.hears("standing")
            ash.say({"type": "chat", "id": "three", "text": "Am I?"})
            assert (await ash.hears("error", code="muted", ref="three"))["retry_after"] > 0
            kim.say({"type": "lift", "action": "mute", "user": people["ash"].pk})
            await kim.hears("done", what="lift")
            kim.say({"type": "delete", "number": 1})
            await mara.hears("entry", kind="deletion", target=1)
            mara.say({"type": "history"})
            assert (await mara.hears("history"))["entries"][0]["deleted"]
            mara.say({"type": "history", "after": 1, "limit": 1})
            assert (await mara.hears("history"))["more"]
            hub()._set_live(False)
            await mara.hears("status", live=False)
            return [mara, kim, ash]

    talkers = asyncio.run(go())
    heard = [text for talker in talkers for text in talker.heard]
    sent = [text for talker in talkers for text in talker.sent]
    assert [(text, faults(text, OUTGOING)) for text in heard if faults(text, OUTGOING)] == []
    assert [(text, faults(text, INCOMING)) for text in sent if faults(text, INCOMING)] == []
    assert {json.loads(text)["type"] for text in heard} == {kind.__struct_config__.tag for kind in OUTGOING}
    assert {json.loads(text)["type"] for text in sent} == {kind.__struct_config__.tag for kind in INCOMING}
    assert Room.objects.get(pk=room.pk).last_number == 4  # what was said, muted, no longer muted, deleted


@pytest.mark.django_db(transaction=True)
def test_a_browser_is_known_by_its_cookie_and_may_name_the_subprotocol() -> None:
    rows.members_room("night-room")
    mara = rows.member("mara")
    browser = Client()
    browser.force_login(mara, backend="accounts.backends.NameOrEmailBackend")
    headers = {"cookie": f"sessionid={browser.cookies['sessionid'].value}", "origin": "http://testserver"}

    async def go() -> tuple[str | None, dict[str, Any]]:
        offered = ["bambisleep.chat.v9", protocol.SUBPROTOCOL]
        async with talking("/ws/chat/night-room/", headers=headers, subprotocols=offered) as talker:
            hello = await talker.hears("hello")
            return talker.subprotocol, hello["you"]

    subprotocol, you = asyncio.run(go())
    assert subprotocol == "bambisleep.chat.v1"
    assert you["name"] == "mara"
