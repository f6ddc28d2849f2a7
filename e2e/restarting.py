"""Processes of `manage.py serve` whose sockets are held open for them, as systemd does, and a load without a pause."""

import hashlib
import http.client
import itertools
import json
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.chat import run
from e2e.library import in_library
from e2e.nginx import BEHIND_NGINX
from e2e.servers import ROOT, Installation, Server, running, wait_for

# What systemd does for a unit with a socket: descriptor 3, and whom it is meant for.
PASSING = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
SERVE = [sys.executable, str(ROOT / "manage.py"), "serve"]
BLOCK_BYTES = 65_536


@dataclass(slots=True)
class Instance:
    """One of the site's processes, and the socket that outlives it."""

    installation: Installation
    settings: dict[str, str]
    listener: socket.socket = field(init=False)
    port: int = field(init=False)
    server: Server = field(init=False)
    logs: list[Path] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = self.listener.getsockname()[1]

    def start(self) -> None:
        """Start a process, and wait until it is ready."""
        log = self.installation.data_dir / f"serve-{self.port}-{len(self.logs)}.log"
        self.logs.append(log)
        command = [sys.executable, "-c", PASSING, str(self.listener.fileno()), *SERVE]
        process = running(
            command,
            environment=self.installation.environment(PORT=str(self.port), **self.settings),
            port=self.port,
            log=log,
            ready="/health/ready",
            descriptors=[self.listener.fileno()],
        )
        self.server = self._stack.enter_context(process)

    def stop(self, *, seconds: float) -> int:
        """SIGTERM; how it ended, which must come in time."""
        self.server.process.send_signal(signal.SIGTERM)
        status = self.server.process.wait(seconds)
        self._stack.close()
        return status

    def close(self) -> None:
        """Have all of it end."""
        self._stack.close()
        self.listener.close()

    def lines(self, event: str, *logs: Path) -> list[dict[str, Any]]:
        """What its processes, all that there were, or those that wrote `logs`, have written of one kind."""
        lines = [line for log in logs or self.logs for line in log.read_text().splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{") and f'"event": "{event}"' in line]


@contextmanager
def instances(installation: Installation, number: int, **settings: str) -> Iterator[list[Instance]]:
    """So many processes, all ready."""
    with ExitStack() as stack:
        found = []
        for _ in range(number):
            instance = Instance(installation, {**BEHIND_NGINX, **settings})
            stack.callback(instance.close)
            found.append(instance)
            instance.start()
        yield found


@dataclass(slots=True)
class Film:
    """A public film, to be read slowly."""

    address: str
    sha256: str


def make_film(installation: Installation, *, size_bytes: int, **settings: str) -> Film:
    """A film of random bytes in the library."""
    code = f"""
import hashlib, os
content = os.urandom({size_bytes})
film = rows.media(rows.item(kind=Kind.VIDEO, slug="a-long-film"), content)
told |= {{"address": f"/watch/media/{{film.key}}/", "sha256": hashlib.sha256(content).hexdigest()}}
"""
    return Film(**in_library(installation, code, **settings))


def deploy_token(installation: Installation, **settings: str) -> str:
    """A token that may record deployments."""
    code = """
from observability.delivery import tokens
print("TOKEN", tokens.issue(name="test", scopes=["deployments:write"])[1])
"""
    printed = run(installation, code, **settings)
    return next(line.removeprefix("TOKEN ") for line in printed.splitlines() if line.startswith("TOKEN "))


@dataclass(slots=True)
class Load:
    """Clients of a proxy who ask for one thing after the other, each from an address of its own, until `end`.

    Attributes:
        answers: how many of each kind and status. wrong: what was not answered as it should be.
        slowest: seconds, of each kind.
    """

    port: int
    film: Film
    token: str
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, *, readers: int, deployers: int, joiners: int, watchers: int) -> None:
        """Have so many ask for pages, record deployments, sign up, and watch a film."""
        kinds: list[tuple[Callable[[http.client.HTTPConnection], None], int]] = [
            (self._read, readers), (self._deploy, deployers), (self._join, joiners),
        ]  # fmt: skip
        for ask, number in kinds:
            self._threads += [threading.Thread(target=self._repeat, args=[ask], daemon=True) for _ in range(number)]
        self._threads += [threading.Thread(target=self._watch, daemon=True) for _ in range(watchers)]
        for thread in self._threads:
            thread.start()

    def give_up(self) -> None:
        """Have nobody ask for anything more, whatever became of it."""
        self._is_over.set()

    def end(self) -> None:
        """Let everybody finish what they ask for."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads)

    def total(self, *kinds: str) -> int:
        """How many answers of these kinds came."""
        with self._lock:
            return sum(number for (kind, _), number in self.answers.items() if kind in kinds)

    def more(self, answers: int, *, seconds: float = 90) -> None:
        """Wait until so many more of each kind have come."""
        kinds = {kind for kind, _ in dict(self.answers)}
        before = {kind: self.total(kind) for kind in kinds}
        for kind in kinds:
            wait_for(lambda k=kind: self.total(k) >= before[k] + answers, f"more of {kind}", seconds=seconds)  # type: ignore[misc]

    def _address(self) -> tuple[str, int]:
        number = next(self._numbers)
        return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}", 0

    def _repeat(self, ask: Callable[[http.client.HTTPConnection], None]) -> None:
        """One client, on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90, source_address=self._address())
        with closing(connection):
            while not self._is_over.is_set():
                ask(connection)

    def _ask(
        self, connection: http.client.HTTPConnection, kind: str, method: str, target: str, expected: int,
        body: dict[str, Any] | None = None, **headers: str,
    ) -> None:  # fmt: skip
        began = time.monotonic()
        sent = json.dumps(body) if body is not None else None
        more = {"Content-Type": "application/json"} if sent else {}
        try:
            connection.request(method, target, sent, {**headers, **more})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._note(kind, 0, began, f"{method} {target}: {error!r}")
            connection.close()
            return
        wrong = (
            "" if response.status == expected else f"{method} {target} was answered {response.status}: {text[:200]!r}"
        )
        self._note(kind, response.status, began, wrong)

    def _read(self, connection: http.client.HTTPConnection) -> None:
        target = ("/", "/content/", "/dora", "/accounts/login/", "/chat/")[next(self._numbers) % 5]
        self._ask(connection, "page", "GET", target, 200)

    def _deploy(self, connection: http.client.HTTPConnection) -> None:
        number = next(self._numbers)
        body = {"version": f"1.{number}", "sha": f"{number:040x}"}
        self._ask(
            connection, "deployment", "POST", "/dora/deployments", 201, body, Authorization=f"Bearer {self.token}"
        )

    def _join(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        connection.source_address = self._address()  # of one, only so many may sign up
        name = f"joiner{next(self._numbers)}"
        body = {"username": name, "email": f"{name}@example.org", "password": "a long enough phrase"}
        self._ask(connection, "member", "POST", "/auth/register", 201, body)

    def _watch(self) -> None:
        """Somebody who watches a film again and again, no faster than it plays."""
        address = self._address()
        while not self._is_over.is_set():
            began = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90, source_address=address)
            digest = hashlib.sha256()
            with closing(connection):
                try:
                    connection.connect()
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK_BYTES)
                    connection.request("GET", self.film.address)
                    response = connection.getresponse()
                    while block := response.read(BLOCK_BYTES):
                        digest.update(block)
                        self._is_over.wait(0.005)
                except (OSError, http.client.HTTPException) as error:
                    self._note("film", 0, began, f"film: {error!r}")
                    continue
            is_whole = digest.hexdigest() == self.film.sha256
            self._note("film", response.status, began, "" if is_whole else "The film is not whole.")

    def _note(self, kind: str, status: int, began: float, wrong: str) -> None:
        seconds = time.monotonic() - began
        with self._lock:
            self.answers[kind, status] += 1
            self.slowest[kind] = max(self.slowest.get(kind, 0), seconds)
            if wrong:
                self.wrong.append(wrong)
