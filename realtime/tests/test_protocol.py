"""What is a message of the protocol and what is not."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import protocol
from realtime.protocol import Chat, Delete, History, Invalid, Ping, Restrict

pytestmark = pytest.mark.once

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"ping"}', Ping()),
        ('{"type":"chat","id":"a-1_B","text":"x"}', Chat("a-1_B", "x")),
        ('{"text":"x","id":"a","type":"chat"}', Chat("a", "x")),
        ('{"type":"chat","id":"a","text":"x","colour":"red"}', Chat("a", "x")),  # of a later version
        ('{"type":"history","before":7}', History(before=7)),
        ('{"type":"delete","number":9007199254740991}', Delete(2**53 - 1)),
        ('{"type":"restrict","action":"ban","user":4}', Restrict("ban", 4)),
    ],
)
def test_messages_are_understood(text: str, message: protocol.Incoming) -> None:
    assert protocol.decode(text) == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        '"chat"',
        "{}",
        '{"type":7}',
        '{"type":"hello"}',  # the server's
        '{"type":"CHAT","id":"a","text":"x"}',
        '{"type":"chat","id":"a"}',
        '{"type":"chat","text":"x"}',
        '{"type":"chat","id":"","text":"x"}',
        '{"type":"chat","id":"a b","text":"x"}',
        '{"type":"chat","id":"a\\n","text":"x"}',
        json.dumps({"type": "chat", "id": "a" * 65, "text": "x"}),
        '{"type":"chat","id":7,"text":"x"}',
        '{"type":"chat","id":"a","text":["x"]}',
        '{"type":"chat","id":"a","text":null}',
        '{"type":"history","limit":0}',
        '{"type":"history","limit":101}',
        '{"type":"history","before":-1}',
        '{"type":"history","before":1.5}',
        '{"type":"history","before":"1"}',
        '{"type":"history","before":true}',
        '{"type":"delete","number":9007199254740992}',
        '{"type":"restrict","action":"ban","user":1,"minutes":0}',
        '{"type":"restrict","action":"kick","user":1}',
        '{"type":"auth","token":"' + "x" * 4097 + '"}',
        '{"type":"ping"} {"type":"ping"}',
        '{"type":"ping"',
        "{'type':'ping'}",
        '{"type":"ping","id":NaN}',
        "\x00",
        "[" * 60_000,
        '{"a":' * 10_000,
    ],
)
def test_what_is_none_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        protocol.decode(text)
    assert 0 < len(str(refused.value)) <= 300


@given(JSON | st.text())
def test_whatever_comes_is_a_message_or_invalid(value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    with suppress(Invalid):
        protocol.decode(text)


@given(st.dictionaries(st.sampled_from(["id", "text", "before", "after", "number", "user", "minutes"]), JSON))
def test_whatever_a_known_type_carries_is_a_message_or_invalid(fields: dict[str, object]) -> None:
    for kind in ("auth", "chat", "ping", "history", "delete", "report", "restrict", "lift"):
        with suppress(Invalid):
            protocol.decode(json.dumps({"type": kind, **fields}))


def test_an_answer_leaves_out_what_it_does_not_say() -> None:
    error = protocol.Error(code="invalid", detail="no")
    assert json.loads(protocol.encode(error)) == {"type": "error", "code": "invalid", "detail": "no"}
    assert protocol.type_of(error) == "error"


def test_text_is_text_in_whatever_script() -> None:
    text = '日本 🙂 \u2028 <b> \\ "'
    entry = protocol.Entry(number=1, kind="message", at=None, text=text)  # type: ignore[arg-type]
    assert json.loads(protocol.encode(entry))["text"] == text
