"""What the connections of one process share: rooms with people in them, and the way to the other processes.

The database is the truth. Each process knows for each of its rooms up to which number it has delivered (`Floor.cursor`)
and delivers what is greater, in order. Word of new entries goes to the other processes over the channel layer, with the
entries themselves; it may be lost, late or repeated, since whoever sees a gap, or hears nothing, looks into the
database. So the layer decides how soon a message arrives, never whether (docs/decisions/chat.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from channels.layers import channel_layers
from django.conf import settings
from django.db import DatabaseError

from . import log, presence, protocol, standing
from .limits import Bucket, Places
from .metrics import PUBLISHED
from .models import Room
from .threads import in_database

if TYPE_CHECKING:
    from .connection import Connection

GROUP = "chat"
BATCH = 200  # entries read, or messages stored, at once
BEAT_SECONDS = 2.0  # how often a process tells itself something over the layer, to see that it carries
SILENCE_SECONDS = 6.0  # after which it does not
LAYER_TIMEOUT_SECONDS = 1.0
CHANGED_SECONDS = 60.0
COUNTED_EVERY_SECONDS = 1.0  # how many people are here
MOST_WAITING = 1000  # wake-ups on their way to the layer

# It writes a traceback a second while Redis is away; we say so once, in a line.
logging.getLogger("channels_redis.pubsub").setLevel(logging.CRITICAL)
slog = structlog.get_logger("bambisleep.chat")

write = in_database(log.write)
entries_after = in_database(log.after)
look = in_database(standing.look)
look_again = in_database(standing.look_again)
attend = in_database(presence.attend)
leave = in_database(presence.leave)


class Floor:
    """One room, as this process serves it."""

    def __init__(self, room_id: int, cursor: int, version: Any) -> None:
        self.room_id = room_id
        self.cursor = cursor  # every live connection was given all entries up to here
        self.version = version  # of the room's settings, as its people know them
        self.connections: set[Connection] = set()  # all that are in the room
        self.live: set[Connection] = set()  # those that have caught up
        self.pending: list[tuple[log.Draft, asyncio.Future[log.Stored]]] = []
        self.writing: asyncio.Task[None] | None = None
        self.present: protocol.Present | None = None
        self.reading = asyncio.Lock()

    def deliver(self, entries: Iterable[protocol.Entry]) -> bool:
        """Give what comes next to everybody; whether there was no gap before it."""
        for entry in entries:
            if entry.number > self.cursor + 1:
                return False
            if entry.number <= self.cursor:
                continue
            self.cursor = entry.number
            text = protocol.encode(entry)
            for connection in tuple(self.live):
                connection.push(text, "entry")
        return True

    def tell(self, message: protocol.Outgoing) -> None:
        """Tell everybody who is in the room something that is no entry."""
        text, kind = protocol.encode(message), protocol.type_of(message)
        for connection in tuple(self.connections):
            connection.push(text, kind)


class Hub:
    """One for each event loop; `hub()` gives it. Its tasks run while there is a connection."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.process = uuid.uuid4().hex
        self.floors: dict[int, Floor] = {}
        self.users = Places(settings.CHAT_CONNECTIONS_PER_USER)
        self.networks = Places(settings.CHAT_CONNECTIONS_PER_ADDRESS)
        self.is_live = True
        self._chat_buckets: dict[int, Bucket] = {}
        self._wake = asyncio.Event()
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self._heard_at = time.monotonic()
        self._counted_at = -COUNTED_EVERY_SECONDS
        self._counts_later = False
        self._seen = standing.Seen()
        # Whose access has changed lately, and when (time.monotonic): a connection that was just let in may have been
        # asked who it is before that, and is looked at once more.
        self._changed: dict[int | str, float] = {}
        self._due: set[Connection] = set()

    # --- Coming and going ---

    async def enter(self, connection: Connection, *, room_id: int, last: int, version: Any) -> Floor:
        """Take a connection into its room; `catch_up` is next.

        Args:
            last: the number of the room's last entry, as it was just read.
            version: of the room's settings, likewise.
        """
        self._start()
        floor = self.floors.get(room_id)
        if floor is None:
            floor = self.floors[room_id] = Floor(room_id, last, version)
        elif floor.version != version:  # what they may do was perhaps asked before the room changed
            self._due.add(connection)
        floor.connections.add(connection)
        self.look_at(connection)
        return floor

    def look_at(self, connection: Connection) -> None:
        """Somebody is new here: they are counted, and looked at again if news of them came while they were let in."""
        if connection.identity is not None:
            keys = (connection.identity.user.pk, connection.session_digest)
            if any(self._changed.get(key, 0.0) >= connection.identified_at for key in keys):
                self._due.add(connection)
        self._wake.set()

    async def catch_up(self, connection: Connection, floor: Floor) -> None:
        """Give a connection what it has missed, no faster than it reads; then let it be live."""
        if connection.position > floor.cursor:  # it knows of entries, by another process, that are news here
            await self.read_on(floor)
        while connection.position < floor.cursor and not connection.is_ending:
            entries = await entries_after(floor.room_id, connection.position, BATCH)
            if not entries:  # the room is gone, or the database went back: the next look sees which
                self._wake.set()
                break
            for entry in entries:
                if entry.number > floor.cursor:
                    break
                connection.push(protocol.encode(entry), "entry")
                connection.position = entry.number
            await connection.drained()
        if connection in floor.connections and not connection.is_ending:
            floor.live.add(connection)

    def exit(self, connection: Connection, floor: Floor) -> None:
        """Let a connection go."""
        self._due.discard(connection)
        floor.connections.discard(connection)
        floor.live.discard(connection)
        self._wake.set()
        self._close_if_empty(floor)

    def _close_if_empty(self, floor: Floor) -> None:
        if not floor.connections and not floor.pending and self.floors.get(floor.room_id) is floor:
            del self.floors[floor.room_id]
            if not self.floors:
                self._stop()

    def chat_bucket(self, user_id: int) -> Bucket:
        """How fast a user may write, over all of their connections to this process."""
        if len(self._chat_buckets) > 10_000:
            self._chat_buckets = {key: kept for key, kept in self._chat_buckets.items() if not kept.is_full()}
        bucket = self._chat_buckets.get(user_id)
        if bucket is None:
            rate = settings.CHAT_MESSAGES_PER_MINUTE / 60
            bucket = self._chat_buckets[user_id] = Bucket(burst=settings.CHAT_BURST, rate=rate)
        return bucket

    # --- Writing ---

    async def say(self, floor: Floor, draft: log.Draft) -> log.Stored:
        """Store a message, together with those of others that wait; then everybody is given it."""
        done: asyncio.Future[log.Stored] = self.loop.create_future()
        floor.pending.append((draft, done))
        if floor.writing is None:
            floor.writing = self.loop.create_task(self._write(floor))
        return await done

    async def _write(self, floor: Floor) -> None:
        try:
            while floor.pending:
                batch, floor.pending = floor.pending[:BATCH], floor.pending[BATCH:]
                drafts = [draft for draft, _ in batch]
                try:
                    stored, entries = await write(floor.room_id, drafts)
                except DatabaseError as error:
                    slog.warning("chat_not_stored", messages=len(batch), error=str(error).strip()[:200])
                    again = "The message was not stored: the database does not answer. Send it again."
                    stored, entries = log.refused(drafts, "try_again", again, retry_after=2), []
                except Room.DoesNotExist:  # deleted meanwhile; its people are told so
                    stored, entries = log.refused(drafts, "not_found", "The room is gone."), []
                except BaseException as error:
                    for _, done in batch:
                        if not done.done():
                            done.set_exception(RuntimeError(f"not stored: {type(error).__name__}"))
                            done.exception()  # looked at here: whoever waited may be gone
                    raise
                for (_, done), outcome in zip(batch, stored, strict=True):
                    if not done.done():
                        done.set_result(outcome)
                self.announce(floor.room_id, entries)
        finally:
            floor.writing = None
            self._close_if_empty(floor)  # whoever wrote may have left meanwhile

    def announce(self, room_id: int, entries: Sequence[protocol.Entry]) -> None:
        """Give new entries to everybody here, and word of them to the other processes."""
        if not entries:
            return
        floor = self.floors.get(room_id)
        if floor is not None and not floor.deliver(entries):
            self._wake.set()
        self._put({"type": "chat.entries", "room": room_id, "entries": msgspec.json.encode(entries).decode()})

    # --- The other processes ---

    def _put(self, message: dict[str, Any]) -> None:
        with suppress(asyncio.QueueFull):  # they find it by themselves
            self._outbox.put_nowait({**message, "process": self.process})

    async def _publish(self) -> None:
        layer: Any = channel_layers["default"]
        while True:
            message = await self._outbox.get()
            try:
                async with asyncio.timeout(LAYER_TIMEOUT_SECONDS):
                    await layer.group_send(GROUP, message)
                PUBLISHED.labels("sent").inc()
            except Exception:  # noqa: BLE001 -- whatever the layer is made of raises when it is away
                PUBLISHED.labels("failed").inc()

    async def _listen(self) -> None:
        layer: Any = channel_layers["default"]
        while True:
            try:
                async with asyncio.timeout(3 * LAYER_TIMEOUT_SECONDS):
                    channel = await layer.new_channel()
                    await layer.group_add(GROUP, channel)
                try:
                    await self._receive(layer, channel)
                finally:  # the layer would keep the name of every channel that there ever was
                    with suppress(Exception):
                        async with asyncio.timeout(LAYER_TIMEOUT_SECONDS):
                            await layer.group_discard(GROUP, channel)
            except Exception:  # noqa: BLE001 -- likewise
                await asyncio.sleep(LAYER_TIMEOUT_SECONDS)

    async def _receive(self, layer: Any, channel: str) -> None:
        while True:
            message = await layer.receive(channel)
            if message.get("process") == self.process:
                self._heard_at = time.monotonic()
                self._set_live(True)
                continue
            floor = self.floors.get(message.get("room"))
            if message.get("type") == "chat.entries" and floor is not None:
                entries = msgspec.json.decode(message["entries"], type=list[protocol.Entry])
                if not floor.deliver(entries):
                    self._wake.set()

    async def _beat(self) -> None:
        while True:
            self._put({"type": "chat.beat"})
            await asyncio.sleep(BEAT_SECONDS)
            if time.monotonic() - self._heard_at > SILENCE_SECONDS:
                self._set_live(False)

    def _set_live(self, is_live: bool) -> None:
        if is_live != self.is_live:
            self.is_live = is_live
            slog.warning("chat_layer", live=is_live)
            for floor in self.floors.values():
                floor.tell(protocol.Status(live=is_live))

    # --- Looking ---

    def wake(self) -> None:
        """Look into the database now."""
        self._wake.set()

    async def _watch(self) -> None:
        """Every few seconds, or sooner when there is word: new entries, changed rooms, changed access, who is there."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.CHAT_POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._look()
            except DatabaseError as error:
                slog.warning("chat_blind", error=str(error).strip()[:200])
                self._seen.owe_everybody()
                await asyncio.sleep(0.5)
            except Exception:  # noqa: BLE001 -- likewise; without this loop nothing would be seen any more
                slog.exception("chat_watch_failed")
                self._seen.owe_everybody()
                await asyncio.sleep(1)

    async def _look(self) -> None:
        asked = dict(self.floors)  # one that is entered meanwhile is looked at next time
        cursors = {room_id: floor.cursor for room_id, floor in asked.items()}  # what is stored meanwhile is greater
        found = await look(list(asked), self._seen)
        for room_id, floor in asked.items():
            state = found.rooms.get(room_id)
            if state is None:  # the room is gone
                for connection in tuple(floor.connections):
                    connection.end(protocol.Close.NOT_FOUND, "not_found")
            elif state.last_number < cursors[room_id]:
                self._go_back(floor, state.last_number)
            elif state.last_number > floor.cursor:
                await self.read_on(floor)
        await self._look_at_people(found)
        await self._count(found)

    def _go_back(self, floor: Floor, last: int) -> None:
        """The database has less than it had: a replica took over that lacked the last commits, say.

        What people know of the room is no more, so they come back to what there is. Whose access has changed may
        stand under ids that were seen before: everybody is looked at.
        """
        slog.warning("chat_went_back", room=floor.room_id, known=floor.cursor, last=last)
        floor.cursor = last
        self._seen = standing.Seen()
        for connection in tuple(floor.connections):
            connection.end(protocol.Close.TRY_AGAIN, "unavailable")

    async def read_on(self, floor: Floor) -> None:
        """Deliver what is new in the database."""
        async with floor.reading:
            while entries := await entries_after(floor.room_id, floor.cursor, BATCH):
                floor.deliver(entries)
                if len(entries) < BATCH:
                    break

    async def _look_at_people(self, found: standing.Found) -> None:
        """Close the connections of sessions that ended; look again at those whose access may have changed."""
        now = time.monotonic()
        self._changed = {key: at for key, at in self._changed.items() if now - at < CHANGED_SECONDS}
        self._changed |= dict.fromkeys([*found.users, *found.ended_sessions], now)
        due, self._due = self._due, set()
        for floor in list(self.floors.values()):
            state = found.rooms.get(floor.room_id)
            if state is None:  # the room is gone; or was entered just now, by whoever may be in `found`: next time
                self._due |= {connection for connection in floor.connections if not connection.is_ending}
                continue
            is_changed = state.version != floor.version
            floor.version = state.version
            people = []
            for connection in tuple(floor.connections):
                if connection.identity is not None and connection.session_digest in found.ended_sessions:
                    connection.end(protocol.Close.UNAUTHENTICATED, "unauthenticated")
                elif (
                    found.everybody
                    or is_changed
                    or connection in due
                    or (connection.identity and connection.identity.user.pk in found.users)
                ):
                    people.append(connection)
            if people:
                rights = await look_again(floor.room_id, [connection.identity for connection in people])
                for connection, (info, identity, granted) in zip(people, rights, strict=True):
                    connection.reconsider(info, identity, granted)

    async def _count(self, found: standing.Found) -> None:
        """Say who is here, and tell people how many they are in all processes together.

        Not more than once a second: in a room of five hundred, each who comes would be told to all the others.
        """
        early = self._counted_at + COUNTED_EVERY_SECONDS - time.monotonic()
        if early > 0:
            if not self._counts_later:
                self._counts_later = True
                self.loop.call_later(early, self._wake.set)
            return
        self._counted_at, self._counts_later = time.monotonic(), False
        here = {
            floor.room_id: presence.Here(
                people=frozenset(c.identity.user.pk for c in floor.connections if c.identity),
                guests=sum(1 for c in floor.connections if c.identity is None),
            )
            for floor in self.floors.values()
            if floor.room_id in found.rooms
        }
        for room_id, present in (await attend(self.process, here)).items():
            floor = self.floors.get(room_id)
            if floor is not None and floor.present != present:
                floor.present = present
                floor.tell(present)

    # --- Tasks ---

    def _start(self) -> None:
        if not self._tasks:
            self._heard_at = time.monotonic()
            steps = (self._watch(), self._publish(), self._listen(), self._beat())
            self._tasks = [self.loop.create_task(step) for step in steps]

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self.loop.create_task(self._say_goodbye())

    async def _say_goodbye(self) -> None:
        with suppress(Exception):
            if not self.floors:
                await leave(self.process)


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub()
    return found


def wake_soon() -> None:
    """Have the hubs of this process look into the database; from any thread."""
    for loop, found in list(_hubs.items()):
        with suppress(RuntimeError):  # a loop that is closed
            loop.call_soon_threadsafe(found.wake)
