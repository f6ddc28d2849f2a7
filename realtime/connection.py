"""One WebSocket connection: from its handshake to its end.

The edge has counted the handshake. What is open is known by the set of those that run here, so that the gauge is right
however they end: `disconnect` need not come.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.http import parse_cookie

from observability import security
from observability.http import descriptors, draining
from observability.http.exchange import SCOPE_KEY, Exchange
from observability.http.watch import Receive, Send

from . import access, identity, log, moderation, origins, protocol, standing
from .hub import Floor, Hub, hub
from .limits import Bucket
from .metrics import AUTH, CONNECTIONS, DISCONNECTS, MESSAGES, SECONDS, SENT
from .models import MOST_CHARACTERS, Room
from .protocol import Close
from .threads import in_database

ROUTE = "ws/chat/<slug:slug>/"
PING_SECONDS = 25
MOST_QUEUED = 512  # messages that a reader has not taken, beyond which it is closed
MOST_QUEUED_BYTES = 1_048_576
STALLED_SECONDS = 15.0  # for a client to take what it has asked for
FAREWELL_SECONDS = 5.0  # for what is still to be sent, and the closing frame
MESSAGES_AT_ONCE, MESSAGES_PER_SECOND = 60, 20  # of one connection, of whatever type
STRIKES_AT_ONCE, STRIKES_PER_SECOND = 30, 0.2  # messages that are not understood or come too fast, until it is closed
MOST_CATCH_UP = 500  # entries that are given again after a reconnect; who has missed more asks for history

slog = structlog.get_logger("bambisleep.chat")

open_connections: set[Connection] = set()
CONNECTIONS.set_function(lambda: len(open_connections))

by_session = in_database(identity.by_session)
by_token = in_database(identity.by_token)
history_before = in_database(log.before)
history_after = in_database(log.after)


async def chat(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application of one connection to a room."""
    await Connection(scope, receive, send).run()


@draining.at_begin
def send_everybody_elsewhere(seconds: float) -> None:
    """Have everybody connect to another process: each at a moment of its own, within two thirds of the time, so that
    the others do not get all of them at once."""
    loop = asyncio.get_running_loop()
    for connection in open_connections:
        loop.call_later(random.uniform(0, seconds * 2 / 3), connection.send_elsewhere)  # noqa: S311


class Ended(Exception):
    """The connection is at its end; `end` has said why."""


class Connection:
    """Reads what its client sends, and sends it what the room has.

    Attributes:
        identity: who is there; None: a guest, or not known yet.
        identified_at: when that was asked, seconds of time.monotonic: what changed after that may be news.
        position: the number of the last entry that the client was given, while it catches up.
    """

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.exchange: Exchange = scope[SCOPE_KEY]
        self.hub: Hub = hub()
        self.floor: Floor | None = None
        self.identity: identity.Identity | None = None
        self.identified_at = 0.0
        self.session_digest = ""
        self.rights = access.Rights()
        self.info: protocol.RoomInfo | None = None
        self.position = 0
        self._queue: deque[str] = deque()
        self._queued_bytes = 0
        self._something = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._closing: tuple[int, str] | None = None
        self._is_listening = False  # for the client's next message, with none in hand
        self._is_to_leave = False
        self._reason = ""
        self._messages = Bucket(burst=MESSAGES_AT_ONCE, rate=MESSAGES_PER_SECOND)
        self._strikes = Bucket(burst=STRIKES_AT_ONCE, rate=STRIKES_PER_SECOND)
        self._holds: list[Callable[[], None]] = []
        self._writer: asyncio.Task[None] | None = None

    # --- From the handshake to the end ---

    async def run(self) -> None:
        """Serve the connection until it ends."""
        if not await self._handshake():
            return
        open_connections.add(self)
        self._writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait({self._writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            if self._closing is None:  # the server takes nothing more: it will say why
                self._drained.set()
                await asyncio.wait({reader}, timeout=FAREWELL_SECONDS)
                self.end(Close.ERROR, "error")
            await asyncio.wait({self._writer}, timeout=FAREWELL_SECONDS)
            if self._reason == "slow":
                await self._close(Close.TRY_AGAIN, self._reason)
        finally:
            open_connections.discard(self)
            self._leave()
            for task in (reader, self._writer):
                task.cancel()
            await asyncio.gather(reader, self._writer, return_exceptions=True)
            DISCONNECTS.labels(self._reason or "error").inc()

    async def _handshake(self) -> bool:
        """Accept the connection, unless it comes from a page of another site."""
        await self._receive()  # websocket.connect
        self.exchange.route = f"/{ROUTE}"
        headers = dict(self.scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        if not origins.is_host_allowed(host):
            security.record(type="bad_host", exchange=self.exchange)
            await self._send({"type": "websocket.close", "code": Close.POLICY})
            return False
        if origin is not None and not origins.is_allowed(
            origin.decode("latin-1"), host=host, scheme=self.scope["scheme"]
        ):
            security.record(type="bad_origin", exchange=self.exchange)
            await self._send({"type": "websocket.close", "code": Close.POLICY})
            return False
        if draining.is_under_way():
            self.exchange.sent_elsewhere = True
            await draining.refuse_handshake(self.scope, self._send, request_id=self.exchange.request_id)
            return False
        if descriptors.are_scarce():
            detail = descriptors.REFUSED_DETAIL
            await draining.refuse_handshake(self.scope, self._send, request_id=self.exchange.request_id, detail=detail)
            return False
        offered = self.scope.get("subprotocols") or []
        chosen = protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in offered else None
        await self._send({"type": "websocket.accept", "subprotocol": chosen})
        return True

    def end(self, code: int, reason: str) -> None:
        """Close the connection once what waits was sent; only the first call counts.

        Args:
            reason: one of `metrics.REASONS`.
        """
        if self._closing is not None:
            return
        self._closing = (code, reason)
        self._reason = self._reason or reason
        self._something.set()
        self._drained.set()
        if self.floor is not None:
            self.floor.live.discard(self)
        if reason == "slow" and self._writer is not None:
            self._queue.clear()
            self._writer.cancel()  # it waits for a client that does not read; `run` goes on from there

    def send_elsewhere(self) -> None:
        """End it because this process stops: now, or once the message in hand is answered."""
        self._is_to_leave = True
        if self._is_listening:
            self.end(Close.RESTART, "restart")

    @property
    def is_ending(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._closing is not None

    def _leave(self) -> None:
        if self.floor is not None:
            self.hub.exit(self, self.floor)
            self.floor = None
        while self._holds:
            self._holds.pop()()

    # --- To the client ---

    def push(self, text: str, kind: str) -> None:
        """Have a message sent; a client that does not take what it is sent is closed."""
        if self._closing is not None or (self._writer is not None and self._writer.done()):
            return
        self._queue.append(text)
        self._queued_bytes += len(text)
        SENT.labels(kind).inc()
        if len(self._queue) > MOST_QUEUED or self._queued_bytes > MOST_QUEUED_BYTES:
            self.end(Close.TRY_AGAIN, "slow")
            return
        self._drained.clear()
        self._something.set()

    def tell(self, message: protocol.Outgoing) -> None:
        """The same, for a message to this client alone."""
        self.push(protocol.encode(message), protocol.type_of(message))

    async def drained(self) -> None:
        """Wait until the client has taken everything, or the end has come: to take nothing for long is one."""
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self._drained.wait()
        except TimeoutError:
            self.end(Close.TRY_AGAIN, "slow")

    async def _write(self) -> None:
        while True:
            while self._queue:
                text = self._queue.popleft()
                self._queued_bytes -= len(text)
                await self._send({"type": "websocket.send", "text": text})
            self._drained.set()
            if self._closing is not None:
                await self._close(*self._closing)
                return
            self._something.clear()
            await self._something.wait()

    async def _close(self, code: int, reason: str) -> None:
        if reason not in {"client", "lost"}:  # those are gone already
            with suppress(Exception):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._send({"type": "websocket.close", "code": int(code), "reason": reason})

    # --- From the client ---

    async def _read(self) -> None:
        try:
            await self._enter()
            while True:
                await self._deal_with(await self._next(settings.CHAT_IDLE_SECONDS))
        except Ended:
            pass
        except DatabaseError as error:
            slog.warning("chat_unavailable", error=str(error).strip()[:200])
            self.end(Close.TRY_AGAIN, "unavailable")
        except Room.DoesNotExist:  # deleted meanwhile
            self.end(Close.NOT_FOUND, "not_found")
        except Exception:  # noqa: BLE001 -- said in the log with its traceback; the others go on
            slog.exception("chat_failed")
            self.end(Close.ERROR, "error")

    async def _next(self, seconds: float, *, late: tuple[int, str] = (Close.IDLE, "idle")) -> str:
        """The text of the client's next message.

        Raises:
            Ended: where there is none within that time, or the client left, or sent what is no text or too much.
        """
        if self._is_to_leave:
            self.end(Close.RESTART, "restart")
        if self._closing is not None:
            raise Ended
        self._is_listening = True
        try:
            async with asyncio.timeout(seconds):
                message = await self._receive()
        except TimeoutError:
            self.end(*late)
            raise Ended from None
        finally:
            self._is_listening = False
        if message["type"] == "websocket.disconnect":
            code = message.get("code")
            reason = {1012: "restart", 1006: "lost", None: "lost", 1009: "too_big", 1007: "protocol", 1002: "protocol"}
            self._reason = self._reason or reason.get(code, "client")
            if self._reason in {"too_big", "protocol"}:
                MESSAGES.labels("invalid").inc()
            self.end(code or 1006, "client")
            raise Ended
        text = message.get("text")
        if text is None:
            MESSAGES.labels("invalid").inc()
            self.end(Close.UNSUPPORTED, "protocol")
            raise Ended
        if len(text) > protocol.MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > protocol.MOST_BYTES:
            MESSAGES.labels("invalid").inc()
            self.end(Close.TOO_BIG, "too_big")
            raise Ended
        return str(text)

    # --- Coming in ---

    async def _enter(self) -> None:
        """Find out who is there and whether they may be, and say hello."""
        network = identity.network(self.exchange.client)
        self._hold(self.hub.networks.take(network), lambda: self.hub.networks.give_back(network))
        slug = self.scope["url_route"]["kwargs"]["slug"]
        await self._recognise()
        found = await look_in(slug, self.identity)
        if found.rights.refusal is not None and self.identity is None:
            await self._authenticate()  # whether there is such a room is told to whoever says who they are
            found = await look_in(slug, self.identity)
        if found.rights.refusal is not None:
            self._refuse(found.rights)
            raise Ended
        if self.identity is not None:
            user_id = self.identity.user.pk
            self._hold(self.hub.users.take(user_id), lambda: self.hub.users.give_back(user_id))
        else:
            AUTH.labels("guest").inc()
        await self._say_hello(found)

    def _hold(self, is_granted: bool, give_back: Callable[[], None]) -> None:
        if not is_granted:
            security.record(type="rate_limited", exchange=self.exchange, detail="too many connections")
            self.end(Close.TOO_MANY, "too_many")
            raise Ended
        self._holds.append(give_back)

    async def _recognise(self) -> None:
        """By the session's cookie, where the handshake comes from a page of this site."""
        headers = dict(self.scope["headers"])
        if b"origin" not in headers:  # no browser: whatever cookie it has proves nothing
            return
        # As Django reads it for pages: another cookie that breaks the rules hides none.
        cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
        if key := cookies.get(settings.SESSION_COOKIE_NAME):
            asked_at = time.monotonic()
            self._set_identity(await by_session(key[:64]), asked_at, is_told=False)

    async def _authenticate(self) -> None:
        """By the first message, which is to come soon."""
        deadline = time.monotonic() + settings.CHAT_AUTH_SECONDS
        while True:
            left = deadline - time.monotonic()
            try:
                text = await self._next(max(left, 0.001), late=(Close.UNAUTHENTICATED, "auth_timeout"))
            except Ended:
                if self._reason == "auth_timeout":
                    AUTH.labels("timeout").inc()
                raise
            message = self._understood(text)
            if isinstance(message, protocol.Auth):
                MESSAGES.labels("auth").inc()
                await self._auth(message)
                return
            if message is not None:
                self._complain("auth_required", "The first message is auth, with an access token.")

    async def _auth(self, message: protocol.Auth) -> identity.Identity:
        """Take a token, or end."""
        asked_at = time.monotonic()
        found = await by_token(message.token)
        self._set_identity(found, asked_at, is_told=True)
        if found is None:
            security.record(type="invalid_token", exchange=self.exchange)
            self._complain("auth_failed", "The token is not valid. Sign in again.")
            self.end(Close.UNAUTHENTICATED, "unauthenticated")
            raise Ended
        return found

    def _set_identity(self, found: identity.Identity | None, asked_at: float, *, is_told: bool) -> None:
        if found is not None:
            self.identity = found
            self.identified_at = asked_at
            self.session_digest = identity.digest(found.session_key) if found.session_key else ""
            self.exchange.user_id = found.user.pk
            AUTH.labels("success").inc()
        elif is_told:
            AUTH.labels("failure").inc()

    def _refuse(self, rights: access.Rights) -> None:
        code, reason = REFUSED[rights.refusal or "forbidden"]
        self.end(code, reason)

    async def _say_hello(self, found: Entrance) -> None:
        self.rights, self.info = found.rights, found.info
        asked = parse_qs(self.scope.get("query_string", b"").decode("latin-1")).get("after", [""])[-1]
        position = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 16 else found.last
        self.position = max(min(position, found.last), found.last - MOST_CATCH_UP)
        hello = protocol.Hello(
            protocol=protocol.VERSION,
            room=found.info,
            you=self._you(),
            last=found.last,
            after=self.position,
            most_characters=MOST_CHARACTERS,
            ping_seconds=PING_SECONDS,
        )
        self.tell(hello)
        if not self.hub.is_live:
            self.tell(protocol.Status(live=False))
        self.floor = await self.hub.enter(self, room_id=found.room_id, last=found.last, version=found.version)
        if self.floor.present is not None:
            self.tell(self.floor.present)
        await self.hub.catch_up(self, self.floor)

    def _here(self) -> Floor:
        """The room.

        Raises:
            Ended: where it was left meanwhile.
        """
        if self.floor is None:
            raise Ended
        return self.floor

    def _you(self) -> protocol.You:
        user = self.identity.user if self.identity else None
        return protocol.You(
            id=user.pk if user else None,
            name=user.username if user else "",
            may_write=self.rights.may_write,
            may_moderate=self.rights.may_moderate,
            muted_until=self.rights.muted_until,
            why_not=self.rights.why_not,
        )

    def reconsider(self, info: protocol.RoomInfo, known: identity.Identity | None, rights: access.Rights) -> None:
        """Take note of what the one here may do now; end where that is nothing."""
        if self._closing is not None or known is not self.identity:
            return  # who is here has changed meanwhile, and was looked up after that
        if rights.refusal is not None:
            self._refuse(rights)
        elif rights != self.rights or info != self.info:
            self.rights, self.info = rights, info
            self.tell(protocol.Standing(you=self._you(), room=info))

    # --- Messages ---

    def _understood(self, text: str) -> protocol.Incoming | None:
        """The message that a text is; None where it is none, or came too fast, which the client is told."""
        wait = self._messages.take()
        try:
            message = protocol.decode(text)
        except protocol.Invalid as problem:
            MESSAGES.labels("invalid").inc()
            self._strike(Close.POLICY, "protocol")
            self._complain("invalid", f"This is no message of {protocol.SUBPROTOCOL}: {problem}.")
            return None
        if wait:
            MESSAGES.labels("invalid").inc()
            self._strike(Close.POLICY, "too_fast")
            ref = getattr(message, "id", None)
            self._complain("too_fast", "Too many messages at once.", ref=ref, retry_after=wait)
            return None
        return message

    def _strike(self, code: int, reason: str) -> None:
        if self._strikes.take():
            self.end(code, reason)
            raise Ended

    def _complain(
        self, code: protocol.ErrorCode, detail: str, *, ref: str | None = None, retry_after: float | None = None
    ) -> None:
        rounded = None if retry_after is None else round(retry_after, 1)
        self.tell(protocol.Error(code=code, detail=detail, ref=ref, retry_after=rounded))

    async def _deal_with(self, text: str) -> None:
        message = self._understood(text)
        if message is None:
            return
        kind = KINDS[type(message)]
        MESSAGES.labels(kind).inc()
        started = time.perf_counter()
        try:
            if isinstance(message, protocol.Ping):
                self.tell(protocol.Pong(id=message.id))
            elif isinstance(message, protocol.Chat):
                await self._chat(message)
            elif isinstance(message, protocol.History):
                await self._history(message)
            elif isinstance(message, protocol.Auth):
                await self._late_auth(message)
            else:
                await self._moderation(message)
        except DatabaseError as error:
            slog.warning("chat_unavailable", error=str(error).strip()[:200])
            self._complain(
                "try_again", "The database does not answer.", ref=getattr(message, "id", None), retry_after=2
            )
        finally:
            SECONDS.labels(kind).observe(time.perf_counter() - started)

    async def _late_auth(self, message: protocol.Auth) -> None:
        """A guest of a public room says who they are."""
        if self.identity is not None:
            self._complain("already_signed_in", "This connection is somebody's already: open another.")
            return
        user_id = (await self._auth(message)).user.pk
        self._hold(self.hub.users.take(user_id), lambda: self.hub.users.give_back(user_id))
        found = await look_in(self.scope["url_route"]["kwargs"]["slug"], self.identity)
        if found.rights.refusal is not None:
            self._refuse(found.rights)
            raise Ended
        self.rights, self.info = found.rights, found.info
        self.tell(protocol.Standing(you=self._you(), room=found.info))
        self.hub.look_at(self)

    async def _chat(self, message: protocol.Chat) -> None:
        if self.identity is None:
            self._complain("read_only", "Sign in to write.", ref=message.id)
            return
        wait = 0.0 if self.rights.may_moderate else self.hub.chat_bucket(self.identity.user.pk).take()
        if wait:
            self._complain("too_fast", "You write too fast.", ref=message.id, retry_after=wait)
            return
        draft = log.Draft(self.identity.user.pk, message.id, log.clean(message.text))
        stored = await self.hub.say(self._here(), draft)
        if stored.number is not None:
            self.tell(protocol.Ack(id=message.id, number=stored.number))
        elif stored.error is not None:
            self.tell(stored.error)

    async def _history(self, message: protocol.History) -> None:
        room_id = self._here().room_id
        wanted = message.limit + 1  # one more, to know whether there is more
        if message.after is not None:
            entries = await history_after(room_id, message.after, wanted)
            entries, more = entries[: message.limit], len(entries) == wanted
        else:
            entries = await history_before(room_id, message.before, wanted)
            entries, more = entries[-message.limit :], len(entries) == wanted
        self.tell(protocol.Entries(entries=entries, more=more, before=message.before, after=message.after))
        await self.drained()  # whoever asks for much waits for it themselves

    async def _moderation(self, message: moderation.Request) -> None:
        if self.identity is None:
            self._complain("forbidden", "Sign in first.")
            return
        room_id = self._here().room_id
        try:
            entries = await moderate(room_id, self.identity.user.pk, message)
        except moderation.Refused as problem:
            self._complain(problem.code, str(problem))
            return
        self.hub.announce(room_id, entries)
        self.hub.wake()
        self.tell(protocol.Done(what=protocol.type_of(message)))


REFUSED: dict[str, tuple[int, str]] = {
    "unauthenticated": (Close.UNAUTHENTICATED, "unauthenticated"),
    "forbidden": (Close.FORBIDDEN, "forbidden"),
    "banned": (Close.FORBIDDEN, "banned"),
    "not_found": (Close.NOT_FOUND, "not_found"),
}
KINDS: dict[type, str] = {
    protocol.Auth: "auth",
    protocol.Chat: "chat",
    protocol.Ping: "ping",
    protocol.History: "history",
    protocol.Delete: "moderation",
    protocol.Report: "moderation",
    protocol.Restrict: "moderation",
    protocol.Lift: "moderation",
}


class Entrance:
    """What somebody finds at the door of a room; where there is none, an empty one that refuses them."""

    __slots__ = ("info", "last", "rights", "room_id", "version")

    def __init__(self, room: Room, rights: access.Rights) -> None:
        self.rights = rights
        self.room_id = room.pk
        self.last = room.last_number
        self.version = room.updated_at
        self.info = standing.info(room)


def _look_in(slug: str, who: identity.Identity | None) -> Entrance:
    room = Room.objects.filter(slug=slug).first()
    if room is None:
        return Entrance(Room(), access.Rights("not_found"))
    return Entrance(room, access.rights(room, who.user if who else None))


look_in = in_database(_look_in)
moderate = in_database(moderation.perform)
