"""The chat as those see it who are in it: a served site that can be killed and started again, and people at pages."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect

from e2e.chat import run
from e2e.servers import PRODUCTION, Installation, Server, free_port, installed, running

T = TypeVar("T")

PASSWORD = "a long enough phrase"  # as realtime/tests/rows.py gives it

# What a moderator does is of one room: each story has a room of its own, and all have the same people.
# The number of messages of boss in it, one each 40 minutes until now; and what else is said of the room.
ROOMS: dict[str, tuple[int, dict[str, Any]]] = {
    "talk": (0, {}),
    "times": (40, {}),
    "moderated": (0, {}),
    "own": (0, {}),
    "members": (0, {"audience": "members"}),
    "left": (0, {}),
    "unread": (30, {}),
    "long": (130, {}),
    "keys": (0, {}),
    "converted": (0, {}),
    "hostile": (0, {}),
    "slow": (0, {"slow_mode_seconds": 4}),
    "light": (3, {}),
    "dark": (3, {}),
    "killed": (0, {}),
    "offline": (0, {}),
    "silent": (0, {}),
    "gaps": (0, {}),
    "unacknowledged": (0, {}),
    "told": (0, {}),
    "hurried": (0, {}),
    "hasty": (0, {}),
    "lapsed": (0, {}),
    "undone": (3, {}),
    "pruned": (130, {}),
}
MAKE = f"""
import json
from datetime import timedelta
from django.test import Client
from django.utils import timezone
from accounts import membership, tokens
from accounts.models import User
from realtime.models import Entry
from realtime.tests import rows
boss = User.objects.create_superuser("boss", "boss@example.org", rows.PASSWORD)
people = [boss, *(rows.person(name) for name in ("mara", "ash", "noor", "lena"))]
membership.give(user=people[-1], by=None, reason="a test")
sessions = {{}}
for user in people:
    browser = Client()
    browser.force_login(user, backend="accounts.backends.NameOrEmailBackend")
    sessions[user.username] = browser.cookies["sessionid"].value
for slug, (entries, more) in {ROOMS!r}.items():
    room = rows.room(slug, topic="A room of a test.", **more)
    for number in range(1, entries + 1):
        at = timezone.now() - timedelta(minutes=40 * (entries - number))
        rows.entry(room, boss, f"said {{number}}", created_at=at)
print("MADE", json.dumps([sessions, tokens.issue(boss).access]))
"""


def beside(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a program's part beside the browser's, whose event loop is this thread's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result(120)


@dataclass
class House:
    """The served site.

    Attributes:
        sessions: the cookie by which each of mara, ash, noor, lena (a member) and boss (a moderator) is signed in.
        token: by which a program speaks as boss.
    """

    installation: Installation
    port: int
    sessions: dict[str, str]
    token: str
    server: Server = field(init=False)
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def starts(self) -> None:
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "-v", "0"]
        self.server = self._running.enter_context(
            running(
                [*command, "bambisleep.asgi:application"],
                environment=self.installation.environment(PORT=str(self.port), **PRODUCTION),
                port=self.port,
                log=self.installation.data_dir / f"server-{time.monotonic_ns()}.log",
                ready="/health",
            )
        )

    def is_killed(self) -> None:
        """Without a word to anybody."""
        self.server.process.kill()
        self.server.process.wait()
        self._running.close()
        self._running = ExitStack()

    def ends(self) -> None:
        self._running.close()

    def said_in(self, slug: str) -> list[str]:
        """What was said, as the database has it."""
        query = (
            "SELECT text FROM realtime_entry JOIN realtime_room ON realtime_room.id = room_id"
            f" WHERE slug = '{slug}' AND kind = 'message' ORDER BY number"
        )
        return [text for (text,) in self.installation.rows(query)]


@contextmanager
def house(directory: Path) -> Iterator[House]:
    """A site in production but for TLS, with people and a room for members."""
    with installed(directory) as installation:
        installation.collect_static()
        sessions, token = json.loads(run(installation, MAKE, **PRODUCTION).partition("MADE ")[2].splitlines()[0])
        served = House(installation, free_port(), sessions, token)
        served.starts()
        try:
            yield served
        finally:
            served.ends()


@dataclass
class Seat:
    """Somebody at the page of a room; without a name, a guest."""

    page: Page
    slug: str
    problems: list[str] = field(default_factory=list)
    loses_connections: bool = False  # which Chromium says in its console

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        expected = "the server responded with a status of 403" in text
        is_of_the_network = "WebSocket connection to" in text or "net::ERR_" in text
        if kind in {"error", "warning"} and not expected and not (self.loses_connections and is_of_the_network):
            self.problems.append(f"{self.page.url}: {text}")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log", name="Messages")

    @property
    def composer(self) -> Locator:
        return self.page.get_by_label("Write a message")

    @property
    def status(self) -> Locator:
        return self.page.locator(".chat-status")

    @property
    def messages(self) -> Locator:
        """The texts of those that the room has."""
        return self.page.locator(".chat-list .chat-message .chat-text")

    @property
    def texts(self) -> list[str]:
        return self.messages.all_inner_texts()

    def signs_in(self, name: str) -> None:
        """By the form."""
        self.page.goto("/accounts/login/")
        for field_name, value in (("login", name), ("password", PASSWORD)):
            self.page.locator(f"main [name={field_name}]").fill(value)
        self.page.locator("main").get_by_role("button", name="Sign in", exact=True).click()
        self.page.wait_for_url("**/")

    def enters(self) -> None:
        self.page.goto(f"/chat/{self.slug}/")
        self.is_in()

    def is_in(self, *, seconds: float = 30) -> None:
        """The line is open."""
        expect(self.page.locator(".chat")).to_have_attribute("data-state", "open", timeout=seconds * 1000)

    def says(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    def sees(self, text: str) -> None:
        expect(self.messages.filter(has_text=text)).to_have_count(1)

    def reads(self, words: str, *, seconds: float = 20) -> None:
        """The page says so of the connection."""
        expect(self.status).to_contain_text(words, timeout=seconds * 1000)

    def acts_on(self, text: str, choice: str, *, reason: str = "") -> None:
        """By the menu at a message, and the dialogue that follows."""
        entry = self.page.locator(".chat-list .chat-entry").filter(has_text=text)
        entry.get_by_role("button", name="Act on").click()
        self.page.get_by_role("menuitem", name=choice).click()
        if reason:
            self.page.get_by_label("Reason").fill(reason)
        self.page.get_by_role("dialog").locator("[type=submit]").click()

    def position(self) -> float:
        """How far down the messages are scrolled, in pixels."""
        return float(self.log.evaluate("log => log.scrollTop"))

    def is_at_end(self) -> bool:
        return bool(self.log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 32"))

    def becomes(self, *, hidden: bool) -> None:
        """As when one goes to another tab, and comes back."""
        self.page.evaluate(
            """hidden => {
                Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    def listens(self, between: Callable[[WebSocketRoute], None]) -> None:
        """Stand between page and server: `between` gets each line that the page opens, before it is."""
        self.page.route_web_socket("**/ws/chat/**", between)


@dataclass
class Seats:
    """Everybody who is at a page in one test."""

    browser: Browser
    house: House
    taken: list[Seat] = field(default_factory=list)

    def take(self, name: str, slug: str, **context: Any) -> Seat:
        """A window of its own, signed in as `name`, who does not enter yet."""
        made = self.browser.new_context(
            **{"base_url": self.house.url, "viewport": {"width": 900, "height": 800}, **context}
        )
        made.set_default_timeout(20_000)  # milliseconds
        if name:
            made.add_cookies([{"name": "sessionid", "value": self.house.sessions[name], "url": self.house.url}])
        seat = Seat(made.new_page(), slug)
        self.taken.append(seat)
        return seat

    def __call__(self, name: str, slug: str, **context: Any) -> Seat:
        """The same, and they enter."""
        seat = self.take(name, slug, **context)
        seat.enters()
        return seat

    def leave(self) -> None:
        """Close them all; nothing may have been said in the console."""
        for seat in self.taken:
            seat.page.context.close()
        assert [problem for seat in self.taken for problem in seat.problems] == []
