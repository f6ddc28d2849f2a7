"""Life beside a fault: people who read, sign in, talk and upload, and a pipeline that records deployments, meanwhile.

with life(site) as people:
    with site.database.away():
        people.go_on(3)
    people.recover()
people.expect_no_loss()

Every answer is kept. Each must come within the limit, and be what is asked for or a 503 that says why; what was
acknowledged must be in the database afterwards, once.
"""

import asyncio
import hashlib
import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from content.tests.samples import recording
from e2e import chat
from e2e.crowd import ROOM, Site
from e2e.servers import Server, wait_for

SECONDS_OF_LIMIT = 10.0  # in which everything is answered, and in which all heals
CHUNK_BYTES = 8_192
PAUSE_SECONDS = 0.25
NUMBERS = itertools.count()
EARLIER = ('"code": "busy"', '"code": "offset"')  # of uploads whose last answer was lost


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt; `status` 0 where the connection broke."""

    habit: str
    began: float  # seconds of time.monotonic
    seconds: float
    status: int
    text: str

    @property
    def is_good(self) -> bool:
        """Whether it is what was asked for."""
        return 200 <= self.status < 400

    @property
    def is_expected(self) -> bool:
        """Whether it is that, or a word on why not: not now, or that an earlier attempt is, or was, at work."""
        return self.is_good or self.status == 503 or (self.status == 409 and any(code in self.text for code in EARLIER))


@dataclass(slots=True)
class Life:
    """What everybody does, again and again, at `entrance`."""

    site: Site
    entrance: Server
    answers: list[Answer] = field(default_factory=list)
    deployed: list[str] = field(default_factory=list)  # versions that were acknowledged
    said: dict[int, str] = field(default_factory=dict)  # number and text of what was acknowledged
    uploaded: list[str] = field(default_factory=list)  # SHA-256 of each file that was taken
    errors: list[BaseException] = field(default_factory=list)
    is_over: bool = False
    token: str = ""  # of the pipeline
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # so that no two lives say the same
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _clients: list[httpx.Client] = field(default_factory=list)
    _number: int = 0

    # --- What a test says -------------------------------------------------------------------------------------------

    def go_on(self, seconds: float) -> None:
        """Let them live for so long, and then until each has had an answer that was asked for in that time."""
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > seconds, "time passes", seconds=seconds + 5)
        self._wait_for_all(began, good=False, seconds=3 * SECONDS_OF_LIMIT)

    def recover(self, *, seconds: float = SECONDS_OF_LIMIT) -> None:
        """Wait until everybody gets what is asked for, which must be so in time."""
        began = time.monotonic()
        patience = seconds + 5  # the last attempt may begin at the last moment, and this machine be busy
        self._wait_for_all(began, good=True, seconds=patience)

    def statuses(self, habit: str | None = None, *, since: float = 0.0) -> Counter[int]:
        """How often each status was answered."""
        return Counter(a.status for a in self.answers if habit in {None, a.habit} and a.began >= since)

    def expect_answers(self, *, breaks: bool = False, limit: float = SECONDS_OF_LIMIT) -> None:
        """Every attempt was answered in time, with what was asked for or a 503 that says why.

        Args:
            breaks: whether connections may have broken (a process was killed).
        """
        wrong = [a for a in self.answers if not (a.is_expected or (breaks and a.status == 0))]
        assert not wrong, wrong[:5]
        mute = [a for a in self.answers if a.status == 503 and "Try again" not in a.text]
        assert not mute, mute[:5]
        slow = [a for a in self.answers if a.seconds > limit]
        assert not slow, slow[:5]
        assert "Traceback" not in self.site.output(), self.site.output()[-4000:]

    def expect_no_loss(self) -> None:
        """What was acknowledged is there, once; and everything was done at least once."""
        assert not self.errors, self.errors
        versions = Counter(row[0] for row in self.site.installation.rows(VERSIONS.format(name=self.name)))
        assert self.deployed
        assert set(versions.values()) == {1}, "told again, and stored once"
        assert set(self.deployed) <= versions.keys()
        log = self.site.log()
        assert self.said
        assert self.said.items() <= dict(log).items()
        assert max(Counter(text for _, text in log).values()) == 1, "said again, and stored once"
        stored = self.site.installation.rows("SELECT sha256, name FROM content_mediafile")
        assert set(self.uploaded) <= {sha256 for sha256, _ in stored}
        for sha256, name in stored:
            kept = self.site.installation.data_dir / "library" / name
            assert hashlib.sha256(kept.read_bytes()).hexdigest() == sha256

    # --- What they do -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin everything, and wait until everything works."""
        code = (
            # What a life before this one left half uploaded; a person may have few of these.
            "from content.models import Upload; Upload.objects.all().delete();"
            "from observability.delivery import tokens; from observability.delivery.models import Scope;"
            f"print('TOKEN', tokens.issue(name='{self.name}', scopes=[s for s in Scope])[1])"
        )
        printed = chat.run(self.site.installation, code, **self.site.settings)
        self.token = printed.split("TOKEN ")[1].split()[0]
        tokens = self.site.tokens(2)
        browser, stranger = self._client(), self._client()
        self._sign_in(browser)
        for path in ("/", "/content/", "/dora"):
            self._begin(path, lambda path=path: stranger.get(path))  # type: ignore[misc]
        self._begin("session", lambda: browser.get("/admin/"))
        self._begin("login", lambda: stranger.post("/auth/login", json=CREDENTIALS))
        self._begin("deploy", lambda: self._deploy(stranger))
        self._begin("upload", self._uploader(browser))
        talk = threading.Thread(target=self._guarded, args=[lambda: asyncio.run(self._talk(tokens))], daemon=True)
        self._threads.append(talk)
        talk.start()
        self.recover(seconds=30)

    def stop(self) -> None:
        """End everything, once."""
        self.is_over = True
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        for client in self._clients:
            client.close()

    def _client(self) -> httpx.Client:
        client = httpx.Client(
            base_url=self.entrance.url,
            trust_env=False,
            timeout=4 * SECONDS_OF_LIMIT,
            headers={"Accept": "text/html, application/json"},
            limits=httpx.Limits(max_keepalive_connections=0),  # what a kill cuts off is an answer, no idle connection
        )
        self._clients.append(client)
        return client

    def _begin(self, habit: str, act: Callable[[], httpx.Response]) -> None:
        def repeat() -> None:
            while not self._over.wait(PAUSE_SECONDS):
                self._attempt(habit, act)

        thread = threading.Thread(target=self._guarded, args=[repeat], daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BaseException as error:
            self.errors.append(error)
            raise

    def _attempt(self, habit: str, act: Callable[[], httpx.Response]) -> httpx.Response | None:
        began = time.monotonic()
        try:
            answer = act()
        except httpx.TransportError as error:
            self.answers.append(Answer(habit, began, time.monotonic() - began, 0, repr(error)))
            return None
        text = answer.text[:2000] if answer.status_code >= 400 else ""
        self.answers.append(Answer(habit, began, time.monotonic() - began, answer.status_code, text))
        return answer

    def _wait_for_all(self, moment: float, *, good: bool, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while missing := self._missing_since(moment, good=good):
            if time.monotonic() > deadline:
                last = {habit: [a for a in self.answers if a.habit == habit][-1:] for habit in missing}
                pytest.fail(f"Within {seconds} s nobody {'served' if good else 'answered'} {missing}; last: {last}")
            time.sleep(0.05)

    def _missing_since(self, moment: float, *, good: bool) -> set[str]:
        assert not self.errors, self.errors
        expected = HABITS if good else HABITS - {"chat"}  # who talks waits until it is acknowledged
        return expected - {a.habit for a in list(self.answers) if a.began >= moment and (a.is_good or not good)}

    def _sign_in(self, browser: httpx.Client) -> None:
        signed_in = Server.__new__(Server)
        signed_in.port, signed_in.http = self.entrance.port, browser
        home = signed_in.sign_in_to_admin("boss", chat.PASSWORD)
        assert home.url.path == "/admin/", home.text

    def _deploy(self, client: httpx.Client) -> httpx.Response:
        """Tell of a deployment; the same again until it is acknowledged, as a pipeline does."""
        version = f"{self.name}-{self._number}"
        body = {
            "version": version,
            "sha": hashlib.sha256(version.encode()).hexdigest()[:40],
            "service": f"life-{self.name}",
        }
        answer = client.post("/dora/deployments", json=body, headers={"Authorization": f"Bearer {self.token}"})
        if answer.is_success:
            self.deployed.append(version)
            self._number += 1
        return answer

    def _uploader(self, browser: httpx.Client) -> Callable[[], httpx.Response]:
        """A step of an upload at a time, as the admin's page does it: begin, a chunk, …, finish.

        What got no answer is asked again: the server says where the upload stands, or what has become of it.
        """
        state: dict[str, str | bytes | int] = {}

        def step() -> httpx.Response:
            headers = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": self.entrance.url}
            if not state:  # what is there already becomes no file of its own
                state.update(id=str(uuid.uuid4()), content=recording(1.0 + next(NUMBERS) / 1000))
            if "url" not in state:
                size = str(len(bytes(state["content"])))  # type: ignore[arg-type]
                form = {"id": str(state["id"]), "name": "silence.wav", "size": size, "role": "main"}
                answer = browser.post("/admin/content/mediafile/uploads/", data=form, headers=headers)
                if answer.is_success:
                    state.update(answer.json())
                return answer
            content, offset = bytes(state["content"]), int(state["offset"])  # type: ignore[arg-type]
            if offset < len(content):
                told = {**headers, "Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
                answer = browser.patch(str(state["url"]), content=content[offset : offset + CHUNK_BYTES], headers=told)
            else:
                answer = browser.post(str(state["finish"]), headers=headers)
            if answer.is_success and offset == len(content):
                self.uploaded.append(hashlib.sha256(content).hexdigest())
                state.clear()
            elif answer.is_success or answer.status_code == 409:
                state["offset"] = answer.json().get("offset", offset)
            return answer

        return step

    async def _talk(self, tokens: list[str]) -> None:
        async with chat.chat(self.entrance, ROOM, token=tokens[0], reconnects=True) as client:
            number = 0
            while not self._over.is_set():
                number += 1
                text, began = f"{self.name} says {number}", time.monotonic()
                self.said[await client.say(text, seconds=90)] = text
                # It is asked to try again, or finds its way back, for as long as it takes: no answer of its own.
                self.answers.append(Answer("chat", began, 0.0, 200, ""))
                await asyncio.sleep(1.1)


HABITS = {"/", "/content/", "/dora", "session", "login", "deploy", "upload", "chat"}
CREDENTIALS = {"username": "mara", "password": chat.PASSWORD}
VERSIONS = "SELECT version FROM delivery_deployment WHERE version LIKE '{name}-%'"


@contextmanager
def life(site: Site, entrance: Server) -> Iterator[Life]:
    """Everything goes on until the end of the block, where it must work, and nothing may be lost."""
    people = Life(site, entrance)
    try:
        people.start()
        yield people
        if not people.is_over:
            people.recover()
    finally:
        people.stop()
    people.expect_no_loss()
