"""Thousands of frames that no client of ours would send: each is answered or ends its own connection, with a reason."""

import asyncio
import json
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from bambisleep.tests.environment import LONG
from e2e.chat import Client, chat, make_rooms, tokens
from e2e.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, frame, raw
from e2e.servers import Installation, Server

pytestmark = pytest.mark.once

FRAMES = 20_000 if LONG else 1_500
SEEDS = {"daphne": 20_261, "uvicorn": 20_262}
SOFT = 12  # frames of a connection that are answered, before one that ends it
AT_ONCE = 20
SETTINGS = {
    "CHAT_CONNECTIONS_PER_ADDRESS": "1000",
    "CHAT_MESSAGES_PER_MINUTE": "60000",
    "CHAT_BURST": "1000",
    "CHAT_AUTH_SECONDS": "30",
}
BROADCAST = {"hello", "entry", "present", "status", "standing"}  # what comes unasked
Rng = random.Random


@pytest.fixture(params=["daphne", "uvicorn"])
def site(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Server]:
    if not installation.count("realtime_room"):
        make_rooms(installation)
    with installation.serving(request.param, **SETTINGS) as server:
        yield server


# --- What is answered: bytes, and how many answers they ask for ---


def anything(rng: Rng, depth: int = 0) -> object:
    """A JSON value."""
    kind = rng.randrange(9 if depth < 4 else 7)
    if kind < 2:
        return rng.choice([None, True, False])
    if kind < 4:
        return rng.choice([0, -1, 2**53, 2**64, 10**30, 1.5, -0.0, 1e308])
    if kind < 7:
        alphabet = 'abc \x00\x1f"\\/\u2028\ufffd日🙂<>&'
        return "".join(rng.choice(alphabet) for _ in range(rng.randrange(40)))
    if kind == 7:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(5))]
    return {str(anything(rng, 9))[:20]: anything(rng, depth + 1) for _ in range(rng.randrange(5))}


def text(value: object) -> bytes:
    return frame(TEXT, json.dumps(value).encode())


def wrong_types(rng: Rng) -> tuple[bytes, int]:
    kind = rng.choice(
        ["chat", "ping", "history", "delete", "report", "restrict", "lift", "hello", "entry", "", None, 7]
    )
    fields = rng.sample(["id", "text", "before", "after", "limit", "number", "user", "action", "minutes", "reason"], 4)
    return text({"type": kind, **{field: anything(rng) for field in fields}}), 1


def no_message(rng: Rng) -> tuple[bytes, int]:
    return text(anything(rng)), 1


def no_json(rng: Rng) -> tuple[bytes, int]:
    words = [
        "",
        "{",
        "}",
        "[" * rng.randrange(1, 60_000),
        '{"a":' * 5000,
        "NaN",
        "'x'",
        '{"type":"ping"}x',
        "\x00",
        "é" * 999,
    ]
    return frame(TEXT, rng.choice(words).encode()), 1


def huge_number(rng: Rng) -> tuple[bytes, int]:
    return frame(TEXT, b'{"type":"history","before":' + b"9" * rng.randrange(20, 50_000) + b"}"), 1


def in_fragments(rng: Rng) -> tuple[bytes, int]:
    whole = json.dumps({"type": "ping", "id": "a" * rng.randrange(1, 60)}).encode()
    cuts = sorted(rng.randrange(len(whole)) for _ in range(rng.randrange(1, 5)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    sent = b"".join(
        frame(TEXT if n == 0 else CONTINUATION, piece, last=n == len(pieces) - 1) + frame(PING, b"between")
        for n, piece in enumerate(pieces)
    )
    return sent, 1


def control(rng: Rng) -> tuple[bytes, int]:
    return frame(rng.choice([PING, PONG]), rng.randbytes(rng.randrange(126))), 0


SOFTS: list[Callable[[Rng], tuple[bytes, int]]] = [wrong_types, no_message, no_json, huge_number, in_fragments, control]

# --- What ends a connection: bytes, and the codes with which it may ---

PROTOCOL = {1002}
INVALID_TEXT = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \xe2\x82", b"\x80"]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535]


def binary(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(BINARY, rng.randbytes(rng.randrange(200))), {1003}


def invalid_text(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(TEXT, rng.choice(INVALID_TEXT)), {1007}


def too_big(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(TEXT, b"x" * rng.randrange(65_537, 200_000)), {1009}


def too_big_in_fragments(rng: Rng) -> tuple[bytes, set[int]]:
    piece = b"x" * rng.randrange(9_000, 20_000)
    rest = [frame(CONTINUATION, piece, last=n == 19) for n in range(20)]
    return b"".join([frame(TEXT, piece, last=False), *rest]), {1009}


def too_big_by_its_word(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(TEXT, b"x", length=rng.choice([2**31, 2**40, 2**62])), {1009}


def negative_length(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(TEXT, b"x", length=2**63 + rng.randrange(9)), {1002, 1009}


def unmasked(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(rng.choice([TEXT, BINARY, PING, CLOSE]), b"", masked=False), PROTOCOL


def reserved_bits(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(rng.choice([TEXT, PING]), b"x", rsv=rng.randrange(1, 8)), PROTOCOL


def reserved_opcode(rng: Rng) -> tuple[bytes, set[int]]:
    return frame(rng.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), b"x"), PROTOCOL


def bad_control(rng: Rng) -> tuple[bytes, set[int]]:
    if rng.random() < 0.5:
        return frame(rng.choice([PING, PONG, CLOSE]), b"x" * rng.randrange(126, 2000)), PROTOCOL
    return frame(PING, b"x", last=False), PROTOCOL


def bad_fragments(rng: Rng) -> tuple[bytes, set[int]]:
    if rng.random() < 0.5:
        return frame(CONTINUATION, b"x"), PROTOCOL
    return frame(TEXT, b"x", last=False) + frame(TEXT, b"y"), PROTOCOL


def bad_close(rng: Rng) -> tuple[bytes, set[int]]:
    payload = rng.choice([b"x", struct.pack("!H", rng.choice(BAD_CODES)), b"\x03\xe8\xff\xfe"])
    return frame(CLOSE, payload), {1002, 1007}


def bad_token(rng: Rng) -> tuple[bytes, set[int]]:
    return text({"type": "auth", "token": rng.choice(["", "x", "a.b.c", "é" * 400, "\x00"])}), {4401}


def good_close(rng: Rng) -> tuple[bytes, set[int]]:
    code = rng.choice([1000, 1001, 1003, 3000, 4999])
    return frame(CLOSE, struct.pack("!H", code) + b"bye"), {code, 1000}


FATALS: list[Callable[[Rng], tuple[bytes, set[int]]]] = [
    binary, invalid_text, too_big, too_big_in_fragments, too_big_by_its_word, negative_length, unmasked, reserved_bits,
    reserved_opcode, bad_control, bad_fragments, bad_close, bad_token, good_close,
]  # fmt: skip


@dataclass
class Tally:
    """What was sent, and what was answered otherwise than it should be."""

    frames: int
    wrong: Counter[str]


async def answers(connection: Raw, wanted: int) -> int:
    """Read so many answers; how many came before the end."""
    heard = 0
    while heard < wanted:
        found = await connection.read()
        if found is None or found[0] == CLOSE:
            break
        heard += found[0] == TEXT and json.loads(found[1])["type"] not in BROADCAST
    return heard


async def one(site: Server, rng: Rng, tally: Tally) -> None:
    """One connection: what is answered, then what ends it."""
    async with raw(site, "lobby") as connection, asyncio.timeout(90):
        wanted = 0
        for _ in range(rng.randrange(SOFT + 1)):
            data, count = rng.choice(SOFTS)(rng)
            wanted += count
            tally.frames += 1
            await connection.send(data)
        heard = await answers(connection, wanted)
        if heard != wanted:
            tally.wrong[f"{heard} answers to {wanted} messages"] += 1
            return
        fatal = rng.choice(FATALS)
        data, codes = fatal(rng)
        tally.frames += 1
        await connection.send(data)
        code = await connection.ends(seconds=60)
        if code not in codes:
            tally.wrong[f"{fatal.__name__}: {code}"] += 1


async def noise(site: Server, rng: Rng, tally: Tally) -> None:
    """Bytes that are frames by accident, if at all: the connection ends when its client leaves, at the latest."""
    async with raw(site, "lobby") as connection:
        await connection.send(rng.randbytes(rng.randrange(1, 4000)))
        tally.frames += 1
        connection.writer.write_eof()
        await connection.ends(seconds=60)


async def talk(client: Client, name: str, is_over: asyncio.Event) -> list[str]:
    """Say something all the while; what was said."""
    said: list[str] = []
    while not is_over.is_set() or len(said) < 5:
        said.append(f"{name} {len(said)}")
        await client.say(said[-1])
        await asyncio.sleep(0.2)
    return said


async def storm(site: Server, seed: int, people: dict[str, str]) -> tuple[Tally, list[str], list[list[str]]]:
    """Send it all, while others talk; what was said, and what each of them read."""
    tally = Tally(0, Counter())
    free, is_over = asyncio.Semaphore(AT_ONCE), asyncio.Event()

    async def act(number: int) -> None:
        rng = Rng(seed * 1_000_000 + number)
        async with free:
            await (noise if number % 10 == 0 else one)(site, rng, tally)

    async with chat(site, "lobby", token=people["mara"]) as mara, chat(site, "lobby", token=people["ash"]) as ash:
        talking = [asyncio.create_task(talk(client, name, is_over)) for client, name in ((mara, "mara"), (ash, "ash"))]
        number = 0
        while tally.frames < FRAMES:
            await asyncio.gather(*(act(number + n) for n in range(100)))
            number += 100
        is_over.set()
        said = [line for lines in await asyncio.gather(*talking) for line in lines]
        for client in (mara, ash):
            await client.until(lambda client=client: len(client.texts) >= len(said), "everything is read")  # type: ignore[misc]
        assert (mara.connections, ash.connections) == (1, 1)
        return tally, said, [mara.texts, ash.texts]


def test_whatever_is_sent_is_answered_or_ends_its_own_connection_alone(
    site: Server, installation: Installation, request: pytest.FixtureRequest
) -> None:
    seed = SEEDS[request.node.callspec.params["site"]]
    print(f"seed {seed}")  # noqa: T201
    people = tokens(installation, "mara", "ash")
    tally, said, read = asyncio.run(storm(site, seed, people))
    assert tally.wrong == Counter()
    assert tally.frames >= FRAMES
    assert [sorted(texts) for texts in read] == [sorted(said)] * 2
    assert read[0] == read[1]
    assert site.metric("websocket_disconnects_total", reason="error") == 0
    errors = site.samples("http_requests_errors_total")
    assert [labels for labels, value in errors if value and labels.get("status", "").startswith("5")] == []
    log = site.output
    assert [word for word in ("Traceback", "Unhandled", "chat_failed", "never retrieved") if word in log] == []
