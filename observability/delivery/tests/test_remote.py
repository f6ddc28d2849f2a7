"""remote: an installation elsewhere is asked until it answers, and what it refuses is told plainly."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from observability.delivery.remote import ATTEMPTS, Remote, RemoteError

TOKEN = "bsd_a-secret"
Answer = tuple[int, dict[str, str], Any]
CREATED: Answer = (201, {}, {"outcome": "created", "deployment": {"id": 1}})


@dataclass
class Elsewhere:
    """A server that gives prepared answers, one after the other, and the last of them from then on."""

    url: str = ""
    answers: list[Answer | None] = field(default_factory=list)
    received: list[tuple[str, str, str | None, bytes]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def remote(self) -> Remote:
        return Remote(self.url, TOKEN, pause=self.pauses.append)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    here = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            here.received.append((self.command, self.path, self.headers["Authorization"], body))
            answer = here.answers.pop(0) if len(here.answers) > 1 else here.answers[0]
            if answer is None:
                self.close_connection = True
                return  # hangs up without a word
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

        do_POST = do_GET  # noqa: N815 - the standard library's name

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    here.url = f"http://127.0.0.1:{server.server_port}"
    yield here
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("trouble", [None, (429, {}, {}), (500, {}, {}), (503, {}, b"<html>")])
def test_it_tries_again_after(trouble: Answer | None, elsewhere: Elsewhere) -> None:
    elsewhere.answers = [trouble, trouble, CREATED]
    assert elsewhere.remote().record({"version": "1"})["outcome"] == "created"
    assert len(elsewhere.received) == 3
    assert len({body for *_, body in elsewhere.received}) == 1, "each attempt tells the same"
    assert elsewhere.pauses[0] < elsewhere.pauses[1]


def test_it_waits_as_long_as_it_is_asked_to(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(429, {"Retry-After": "17"}, {}), CREATED]
    elsewhere.remote().record({})
    assert elsewhere.pauses == [17]


@pytest.mark.parametrize("asked", ["3600", "Wed, 01 Jan 2098 00:00:00 GMT"])
def test_it_does_not_wait_for_hours(asked: str, elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(503, {"Retry-After": asked}, {})]
    with pytest.raises(RemoteError, match="asks to wait"):
        elsewhere.remote().record({})
    assert elsewhere.pauses == []


def test_it_gives_up_and_says_what_the_last_trouble_was(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(502, {}, {})]
    with pytest.raises(RemoteError, match="502 Bad Gateway"):
        elsewhere.remote().record({})
    assert len(elsewhere.received) == ATTEMPTS
    assert len(elsewhere.pauses) == ATTEMPTS - 1


def test_it_tells_a_refusal_at_once_with_each_field(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(400, {}, {"detail": "Not recorded.", "errors": {"version": ["Too long."]}})]
    with pytest.raises(RemoteError, match=r"400: Not recorded\.\n  version: .*Too long"):
        elsewhere.remote().record({})
    assert len(elsewhere.received) == 1


def test_it_never_repeats_the_token(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(401, {}, {"detail": f"I do not know {TOKEN}."})]
    with pytest.raises(RemoteError) as caught:
        elsewhere.remote().record({})
    assert TOKEN not in str(caught.value)
    assert elsewhere.received[0][2] == f"Bearer {TOKEN}"


def test_it_follows_no_redirect_with_the_token(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(302, {"Location": f"{elsewhere.url}/elsewhere"}, {}), CREATED]
    with pytest.raises(RemoteError, match="redirects to"):
        elsewhere.remote().previous_commit(service="web", environment="production", external_id="")
    assert len(elsewhere.received) == 1


def test_it_finds_the_last_commit_of_another_deployment(elsewhere: Elsewhere) -> None:
    rows = [{"external_id": "this", "sha": "a" * 40}, {"external_id": "last", "sha": "b" * 40}]
    elsewhere.answers = [(200, {}, {"results": rows})]
    found = elsewhere.remote().previous_commit(service="a b", environment="production", external_id="this")
    assert found == "b" * 40
    assert elsewhere.received[0][1].startswith("/dora/deployments?service=a+b&environment=production&status=succeeded")


def test_a_first_deployment_has_no_previous_one(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(200, {}, {"results": []})]
    assert elsewhere.remote().previous_commit(service="a", environment="b", external_id="") == ""


def test_a_token_that_may_not_read_is_told_the_ways_out(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(403, {}, {"detail": "The deploy token lacks the scope read."})]
    with pytest.raises(RemoteError, match=r"(?s)lacks the scope read.*--previous.*--no-commits"):
        elsewhere.remote().previous_commit(service="a", environment="b", external_id="")


def test_another_kind_of_site_is_recognised(elsewhere: Elsewhere) -> None:
    elsewhere.answers = [(200, {}, b"<html>Welcome</html>")]
    with pytest.raises(RemoteError, match="is the address right"):
        elsewhere.remote().record({})


@pytest.mark.parametrize(
    "url", ["bambisleep.example", "file:///etc/passwd", "https://me:secret@host", "http://[", "http://h:x", "http://"]
)
def test_it_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(RemoteError, match="--remote takes an address") as caught:
        Remote(url, TOKEN)
    assert "secret" not in str(caught.value)
