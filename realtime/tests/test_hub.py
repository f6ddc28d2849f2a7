"""What the connections of one process share: delivery in order and once, messages stored together, empty rooms."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from realtime import hub as hubs
from realtime import log, protocol
from realtime.hub import Floor, Hub
from realtime.models import Entry
from realtime.tests import rows


class Ear:
    """As much of a connection as a room knows of it."""

    def __init__(self, position: int = 0) -> None:
        self.numbers: list[int] = []
        self.told: list[str] = []
        self.ends: list[str] = []
        self.position = position
        self.is_ending = False
        self.identity = None
        self.identified_at = 0.0
        self.session_digest = ""

    def push(self, text: str, kind: str) -> None:
        if kind == "entry":
            self.numbers.append(protocol.msgspec.json.decode(text)["number"])
        else:
            self.told.append(kind)

    def end(self, code: int, reason: str) -> None:
        self.ends.append(reason)

    def reconsider(self, *_: Any) -> None:
        pass

    async def drained(self) -> None:
        await asyncio.sleep(0)


def entry(number: int) -> protocol.Entry:
    return protocol.Entry(number=number, kind="message", at=timezone.now(), text=str(number))


def floor_with(ear: Any, cursor: int = 0) -> Floor:
    floor = Floor(1, cursor, None)
    floor.connections.add(ear)
    floor.live.add(ear)
    return floor


def test_entries_are_delivered_once_and_in_order_whatever_is_heard_twice() -> None:
    ear = Ear()
    floor = floor_with(ear)
    assert floor.deliver([entry(1), entry(2)])
    assert floor.deliver([entry(2), entry(1)])
    assert floor.deliver([entry(2), entry(3)])
    assert ear.numbers == [1, 2, 3]


def test_nothing_is_delivered_over_a_gap() -> None:
    ear = Ear()
    floor = floor_with(ear, cursor=4)
    assert not floor.deliver([entry(6)])
    assert ear.numbers == []
    assert floor.deliver([entry(5), entry(6)])
    assert ear.numbers == [5, 6]


def run(test: Any) -> Any:
    """Run it with a hub of its own, of which nothing is left."""

    async def go() -> Any:
        return await test(hubs.hub())

    return asyncio.run(go())


def draft(author: Any, name: str, text: str = "x") -> log.Draft:
    return log.Draft(author.pk, name, text)


@pytest.mark.django_db(transaction=True)
def test_messages_that_wait_are_stored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    room, mara = rows.room(), rows.member()
    batches: list[int] = []
    write = hubs.write

    async def counted(room_id: int, drafts: Sequence[log.Draft]) -> Any:
        batches.append(len(drafts))
        return await write(room_id, drafts)

    monkeypatch.setattr(hubs, "write", counted)

    async def go(hub: Hub) -> list[log.Stored]:
        floor = hub.floors[room.pk] = floor_with(Ear())
        floor.room_id = room.pk
        return list(await asyncio.gather(*(hub.say(floor, draft(mara, f"m{n}", str(n))) for n in range(300))))

    stored = run(go)
    assert [one.number for one in stored] == list(range(1, 301))
    assert sum(batches) == 300
    assert len(batches) <= 3
    assert list(Entry.objects.order_by("number").values_list("text", flat=True)) == [str(n) for n in range(300)]


@pytest.mark.django_db(transaction=True)
def test_the_same_message_twice_in_one_batch_is_stored_once() -> None:
    room, mara = rows.room(), rows.member()

    async def go(hub: Hub) -> list[log.Stored]:
        floor = hub.floors[room.pk] = floor_with(Ear())
        floor.room_id = room.pk
        return list(await asyncio.gather(*(hub.say(floor, draft(mara, "same")) for _ in range(5))))

    assert {one.number for one in run(go)} == {1}
    assert Entry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_everybody_is_told_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    room, mara = rows.room(), rows.member()
    real = hubs.write

    async def away(*_: Any) -> Any:
        raise OperationalError("gone")

    async def go(hub: Hub) -> tuple[list[log.Stored], log.Stored]:
        floor = hub.floors[room.pk] = floor_with(Ear())
        floor.room_id = room.pk
        monkeypatch.setattr(hubs, "write", away)
        lost = await asyncio.gather(*(hub.say(floor, draft(mara, f"m{n}")) for n in range(3)))
        monkeypatch.setattr(hubs, "write", real)
        return list(lost), await hub.say(floor, draft(mara, "m0"))

    lost, again = run(go)
    assert [(one.error.code, one.error.ref) for one in lost] == [("try_again", f"m{n}") for n in range(3)]
    assert again.number == 1


@pytest.mark.django_db(transaction=True)
def test_a_room_that_is_gone_takes_nothing() -> None:
    room, mara = rows.room(), rows.member()
    room_id = room.pk
    room.delete()

    async def go(hub: Hub) -> log.Stored:
        floor = hub.floors[room_id] = floor_with(Ear())
        floor.room_id = room_id
        return await hub.say(floor, draft(mara, "m"))

    error = run(go).error
    assert error.code == "not_found"


@pytest.mark.django_db(transaction=True)
def test_whoever_knows_more_than_this_process_is_given_nothing_again() -> None:
    room, mara = rows.room(), rows.member()
    rows.entries(room, 5, mara)

    async def go(hub: Hub) -> list[int]:
        old, returning = Ear(), Ear(position=4)
        floor = hub.floors[room.pk] = floor_with(old, cursor=2)  # it has not heard of 3 to 5
        floor.room_id = room.pk
        floor.connections.add(returning)  # type: ignore[arg-type]
        await hub.catch_up(returning, floor)  # type: ignore[arg-type]
        assert old.numbers == [3, 4, 5]
        return returning.numbers

    assert run(go) == [5]


@pytest.mark.django_db(transaction=True)
def test_a_room_that_is_entered_while_the_database_is_asked_is_not_taken_for_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, other = rows.room(), rows.room()
    look = hubs.look

    async def go(hub: Hub) -> list[str]:
        first, second = Ear(), Ear()
        hub.floors[room.pk] = floor_with(first)
        hub.floors[room.pk].room_id = room.pk

        async def look_while_somebody_enters(*arguments: Any) -> Any:
            found = await look(*arguments)
            hub.floors[other.pk] = floor_with(second)
            hub.floors[other.pk].room_id = other.pk
            return found

        monkeypatch.setattr(hubs, "look", look_while_somebody_enters)
        await hub._look()
        return first.ends + second.ends

    assert run(go) == []


@pytest.mark.django_db(transaction=True)
def test_a_database_that_went_back_is_followed() -> None:
    room, mara = rows.room(), rows.member()
    rows.entries(room, 3, mara)

    async def go(hub: Hub) -> list[int]:
        old, returning = Ear(position=10), Ear(position=3)
        floor = hub.floors[room.pk] = floor_with(old, cursor=10)
        floor.room_id = room.pk
        floor.connections.add(returning)  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await hub.catch_up(returning, floor)  # type: ignore[arg-type]
        await hub._look()
        assert old.ends == returning.ends == ["unavailable"]
        coming = Ear(position=3)
        floor.connections.add(coming)  # type: ignore[arg-type]
        await hub.catch_up(coming, floor)  # type: ignore[arg-type]
        await hub.say(floor, draft(mara, "m"))
        await hub._look()
        assert coming.ends == []
        return coming.numbers

    assert run(go) == [4]


@pytest.mark.django_db(transaction=True)
def test_what_is_stored_while_the_database_is_asked_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    room, mara = rows.room(), rows.member()
    look = hubs.look

    async def go(hub: Hub) -> list[str]:
        ear = Ear()
        floor = hub.floors[room.pk] = floor_with(ear)
        floor.room_id = room.pk

        async def look_while_somebody_writes(*arguments: Any) -> Any:
            found = await look(*arguments)
            await hub.say(floor, draft(mara, "m"))
            return found

        monkeypatch.setattr(hubs, "look", look_while_somebody_writes)
        await hub._look()
        assert ear.numbers == [1]
        return ear.ends

    assert run(go) == []


@pytest.mark.django_db(transaction=True)
def test_the_people_of_a_room_that_is_gone_are_told_so() -> None:
    room = rows.room()
    room_id = room.pk
    room.delete()

    async def go(hub: Hub) -> list[str]:
        ear = Ear()
        hub.floors[room_id] = floor_with(ear)
        hub.floors[room_id].room_id = room_id
        await hub._look()
        return ear.ends

    assert run(go) == ["not_found"]


@pytest.mark.django_db(transaction=True)
def test_an_empty_room_is_forgotten_and_the_tasks_end() -> None:
    room = rows.room()

    async def go(hub: Hub) -> tuple[int, int]:
        ear: Any = Ear()
        floor = await hub.enter(ear, room_id=room.pk, last=0, version=room.updated_at)
        tasks = list(hub._tasks)
        assert len(tasks) == 4
        hub.exit(ear, floor)
        await asyncio.wait(tasks, timeout=10)
        layer: Any = hubs.channel_layers["default"]
        assert not layer.groups.get(hubs.GROUP)
        return len(hub.floors), sum(not task.done() for task in tasks)

    assert run(go) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_room_whose_last_writer_left_meanwhile_is_forgotten_too() -> None:
    room, mara = rows.room(), rows.member()

    async def go(hub: Hub) -> int:
        ear: Any = Ear()
        floor = await hub.enter(ear, room_id=room.pk, last=0, version=room.updated_at)
        saying = [asyncio.create_task(hub.say(floor, draft(mara, f"m{n}"))) for n in range(250)]  # more than a batch
        await asyncio.sleep(0)  # they begin
        writing = floor.writing
        assert writing is not None
        hub.exit(ear, floor)
        await asyncio.gather(*saying)
        await writing
        return len(hub.floors)

    assert run(go) == 0
    assert Entry.objects.count() == 250


def test_how_fast_a_user_writes_is_remembered_and_forgotten_again() -> None:
    async def go(hub: Hub) -> int:
        busy = hub.chat_bucket(1)
        assert hub.chat_bucket(1) is busy
        while not busy.take():
            pass
        for user_id in range(2, 10_003):
            hub.chat_bucket(user_id)
        assert hub.chat_bucket(1) is busy
        return len(hub._chat_buckets)

    assert run(go) < 10


def test_each_loop_has_a_hub_of_its_own() -> None:
    async def go() -> Hub:
        assert hubs.hub() is hubs.hub()
        return hubs.hub()

    assert asyncio.run(go()) is not asyncio.run(go())


@pytest.mark.django_db(transaction=True)
def test_a_process_without_redis_hears_itself_for_longer_than_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    room = rows.room()
    real = time.time
    monkeypatch.setattr(hubs, "BEAT_SECONDS", 0.01)

    async def go(hub: Hub) -> list[bool]:
        found: asyncio.Queue[bool] = asyncio.Queue()
        set_live = hub._set_live

        def noted(is_live: bool) -> None:
            set_live(is_live)
            found.put_nowait(is_live)

        monkeypatch.setattr(hub, "_set_live", noted)
        ear: Any = Ear()
        floor = await hub.enter(ear, room_id=room.pk, last=0, version=room.updated_at)
        assert await found.get()
        monkeypatch.setattr(time, "time", lambda: real() + 86_401)
        beats = [await found.get() for _ in range(5)]
        hub.exit(ear, floor)
        return beats

    assert all(run(go))
