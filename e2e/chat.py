"""A client of the chat, as a program would write one, and the rooms and people that it needs.

make_rooms(installation)
token = tokens(installation, "mara")["mara"]
async with chat(site, "lobby", token=token) as client:
    number = await client.say("hello")
    await client.until(lambda: client.numbers == [number], "the message arrives")
"""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

from e2e.servers import Installation, Server

PASSWORD = "a-long-password-99"
PING_SECONDS = 25  # of those who come back after every end: whoever is silent is closed for good
LAST_RETRYABLE = 4399  # whoever is told more need not come back (realtime/protocol.py)

ROOMS = f"""
from accounts import membership
from accounts.models import User
from realtime.models import Room
for slug, audience in (("lobby", "public"), ("members", "members"), ("staff", "staff")):
    Room.objects.create(slug=slug, name=slug.title(), audience=audience)
User.objects.create_user("ash", "ash@example.org", "{PASSWORD}")
User.objects.create_superuser("boss", "boss@example.org", "{PASSWORD}")
hashed = User.objects.get(username="ash").password
User.objects.bulk_create(User(username=n, email=n + "@example.org", password=hashed) for n in NAMES)
for user in User.objects.filter(username__in=NAMES):
    membership.give(user=user, by=None, reason="test")
"""
TOKENS = """
import json
from accounts import tokens
from accounts.models import User
users = {user.username: user for user in User.objects.filter(username__in=NAMES)}
print("TOKENS", json.dumps({name: tokens.issue(users[name]).access for name in NAMES}))
"""


def make_rooms(installation: Installation, *, members: int = 0, **settings: str) -> None:
    """The rooms lobby (for all), members and staff; mara the member, ash who is none, boss the superuser.

    Args:
        members: how many more there are: member0, member1, …
        settings: as those of the server, where it has others than an installation's own.
    """
    names = ["mara", *(f"member{n}" for n in range(members))]
    run(installation, f"NAMES = {names}\n{ROOMS}", **settings)


def tokens(installation: Installation, *names: str, **settings: str) -> dict[str, str]:
    """An access token for each, good for some minutes."""
    printed = run(installation, f"NAMES = {list(names)}\n{TOKENS}", **settings)
    line = next(line for line in printed.splitlines() if line.startswith("TOKENS "))
    found: dict[str, str] = json.loads(line.removeprefix("TOKENS "))
    return found


def run(installation: Installation, code: str, **settings: str) -> str:
    """Run Python beside the server, and return what it prints."""
    done = installation.manage("shell", "-v0", "-c", code, **settings)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def session(site: Server, name: str) -> str:
    """Sign in with a browser's form: the Cookie header of that session; `site.http` is signed out afterwards."""
    site.http.cookies.clear()
    site.sign_in_to_admin(name, PASSWORD)
    key = next(value for cookie, value in site.http.cookies.items() if cookie.endswith("sessionid"))
    cookie = next(cookie for cookie in site.http.cookies if cookie.endswith("sessionid"))
    site.http.cookies.clear()
    return f"{cookie}={key}"


class Refused(Exception):
    """The server said no to a message, for good; `error` is what it said."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.error = error


class Client:
    """A connection to a room, or with `reconnects` a row of them.

    Attributes:
        messages: everything that came, in order. entries: those of type entry; each once, if the server does its work.
        closed: code and reason of the last end, while there is no new connection. ends: of all.
        refusals: why a connection could not be made, each time.
        connections: how many there were so far.
    """

    def __init__(self, sites: Sequence[Server], room: str, options: dict[str, Any]) -> None:
        self.sites, self.room, self.options = sites, room, options
        self.messages: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.ends: list[tuple[int, str]] = []
        self.refusals: list[str] = []
        self.connections = 0
        self.is_ready = False
        self.after: int | None = options["after"]
        self.socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future[dict[str, Any] | None]] = {}
        self._changed = asyncio.Condition()

    @property
    def numbers(self) -> list[int]:
        """Of the entries that came."""
        return [entry["number"] for entry in self.entries]

    @property
    def texts(self) -> list[str]:
        """Of the messages that came."""
        return [entry.get("text", "") for entry in self.entries if entry["kind"] == "message"]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The messages of a type that came."""
        return [message for message in self.messages if message["type"] == kind]

    async def send(self, message: dict[str, Any] | str | bytes) -> None:
        """Send something as it is."""
        assert self.socket is not None
        await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def say(self, text: str, *, id: str | None = None, seconds: float = 60) -> int:
        """Say something and wait until it is stored; the number of its entry.

        It is sent again, under the same id, when the connection was lost or the server asks to try again.

        Raises:
            Refused: where the server will not have it.
            ConnectionError: where the connection ended, and is not made again.
        """
        name = id or uuid.uuid4().hex
        async with asyncio.timeout(seconds):
            while True:
                await self.until(lambda: self.is_ready or self._is_over, "it is connected", seconds=seconds)
                if not self.is_ready:
                    raise ConnectionError(self.closed)
                answer = self._answers[name] = asyncio.get_running_loop().create_future()
                with suppress(websockets.ConnectionClosed):
                    await self.send({"type": "chat", "id": name, "text": text})
                    heard = await answer
                    if heard is None:
                        continue
                    if heard["type"] == "ack":
                        number: int = heard["number"]
                        return number
                    if heard["code"] not in {"try_again", "too_fast", "slow_mode"}:
                        raise Refused(heard)
                    await asyncio.sleep(heard.get("retry_after") or 1)
                await asyncio.sleep(0.05)

    async def until(self, condition: Callable[[], object], what: str, *, seconds: float = 20) -> None:
        """Wait until something is so, looking whenever a message came; fail with `what` at the deadline."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: bool(condition()))
        except TimeoutError:
            last = [*self.messages[-3:], self.closed]
            raise AssertionError(f"Within {seconds} s it did not come true: {what}; last: {last}") from None

    async def until_closed(self, *, seconds: float = 20) -> tuple[int, str]:
        """Wait for the end; its code and reason (1006: without a word)."""
        await self.until(lambda: self.closed is not None, "it is closed", seconds=seconds)
        assert self.closed is not None
        return self.closed

    @property
    def _is_over(self) -> bool:
        return self.closed is not None and (not self.options["reconnects"] or self.closed[0] > LAST_RETRYABLE)

    async def run(self) -> None:
        """Be connected, until the end."""
        while not self._is_over:
            try:
                await self._connected()
            except (OSError, TimeoutError, websockets.InvalidHandshake) as error:
                status = error.response.status_code if isinstance(error, websockets.InvalidStatus) else 1006
                self.closed = (status, str(error))
                self.refusals.append(str(error) or type(error).__name__)
            self.is_ready = False
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result(None)
            await self._tell()
            if not self._is_over:
                await asyncio.sleep(random.uniform(0.1, 1.0))  # jitter

    async def _connected(self) -> None:
        site = self.sites[self.connections % len(self.sites)]
        self.connections += 1
        query = "" if self.after is None else f"?after={self.after}"
        headers = {"Cookie": self.options["cookie"]} if self.options["cookie"] else {}
        address = f"{site.url.replace('http', 'ws', 1)}/ws/chat/{self.room}/{query}"
        origin = self.options["origin"] or (site.url if headers else None)
        async with connect(
            address, origin=origin, additional_headers=headers, compression=None, proxy=None, ping_interval=None,
            max_queue=None, open_timeout=60, close_timeout=5, local_addr=self.options["local"],
        ) as socket:  # fmt: skip
            self.socket = socket
            if self.options["token"]:
                await socket.send(json.dumps({"type": "auth", "token": self.options["token"]}))
            pings = asyncio.create_task(self._ping(socket)) if self.options["reconnects"] else None
            with suppress(websockets.ConnectionClosed):
                async for text in socket:
                    self._take(json.loads(text))
                    await self._tell()
            if pings is not None:
                pings.cancel()
            await socket.wait_closed()
        self.closed = (socket.close_code or 1006, socket.close_reason or "")
        self.ends.append(self.closed)

    async def _ping(self, socket: ClientConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await socket.send(json.dumps({"type": "ping"}))

    def _take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        kind = message["type"]
        if kind == "hello" and self.after is None:
            self.after = message["after"]
        if "you" in message and (message["you"]["id"] is not None or not self.options["signs_in"]):
            self.is_ready, self.closed = True, None
        if kind == "entry":
            self.entries.append(message)
            self.after = message["number"]
        answer = self._answers.get(message.get("id" if kind == "ack" else "ref") or "")
        if kind in {"ack", "error"} and answer is not None and not answer.done():
            answer.set_result(message)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def chat(
    site: Server | Sequence[Server],
    room: str,
    *,
    token: str | None = None,
    cookie: str | None = None,
    origin: str | None = None,
    after: int | None = None,
    reconnects: bool = False,
    waits: bool = True,
    local: tuple[str, int] | None = None,
) -> AsyncIterator[Client]:
    """Be in a room until the end of the block.

    Args:
        site: several: each new connection goes to the next.
        token: an access token, for the first message. cookie: the header, as `session` gives it, sent with `origin`.
        after: the number of the last entry that is known.
        reconnects: come back after every end that allows it, with the number of the last entry.
        waits: begin once the server has said hello to whoever signs in, or has closed.
        local: the address to come from, and a port or 0.
    """
    options = {
        "token": token, "cookie": cookie, "origin": origin, "after": after, "reconnects": reconnects,
        "signs_in": bool(token or cookie), "local": local,
    }  # fmt: skip
    client = Client([site] if isinstance(site, Server) else site, room, options)
    task = asyncio.create_task(client.run())
    try:
        if waits:
            await client.until(lambda: client.is_ready or task.done() or client.closed, "it is connected", seconds=60)
        yield client
    finally:
        client.options["reconnects"] = False
        if client.socket is not None:
            await client.socket.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
