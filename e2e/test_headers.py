"""Headers as they arrive through nginx, each kind of answer graded by the committed list (e2e/headers.toml)."""

import re
import socket
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.library import in_library
from e2e.nginx import ACCELERATED, nginx, process_on
from e2e.servers import Installation, Server, free_port

pytestmark = pytest.mark.needs("nginx")

LIST: dict[str, Any] = tomllib.loads(Path(__file__).with_name("headers.toml").read_text())
ABSENT = "-"
PAGE = {"Accept": "text/html"}
FILM_AND_ROOM = """
from realtime.models import Room
Room.objects.create(slug="lobby", name="Lobby", audience="public")
film = rows.media(rows.item(kind=Kind.VIDEO, visibility=Visibility.PUBLIC), b"a film, as it were")
told |= dict(address=f"/watch/media/{film.key}/")
"""
CLIMB = "GET /content/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers, as they came."""

    status: int
    headers: dict[str, str]


@pytest.fixture(scope="module")
def answers(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """One answer of each kind, asked for once: of the site, and of an nginx behind which nothing runs."""
    installation.collect_static()
    film = in_library(installation, FILM_AND_ROOM)["address"]
    directory, deserted = tmp_path_factory.mktemp("nginx"), tmp_path_factory.mktemp("deserted")
    library = installation.data_dir / "library"
    with (
        process_on(installation, free_port(), server="uvicorn", **ACCELERATED) as process,
        nginx(directory, [process], library=library) as front,
        nginx(deserted, [process]) as gone,
    ):
        found = asked(front, film)
        process.process.terminate()
        process.process.wait(20)
        found["error of nginx, nothing runs"] = of(gone.http.get("/", headers=PAGE))
    return found


def asked(front: Server, film: str) -> dict[str, Answer]:
    """Ask for one answer of each kind."""
    http = front.http
    page = http.get("/content/", headers=PAGE)
    stylesheet = re.search(r'href="(/static/[^"]+\.css)"', page.text)
    assert stylesheet
    own, other = front.url.replace("127.0.0.1", "localhost"), "https://elsewhere.example"
    return {
        "page": of(page),
        "page with a form": of(http.get("/accounts/login/", headers=PAGE)),
        "JSON": of(http.get("/dora")),
        "problem of the API": of(http.post("/auth/login", json={})),
        "static file": of(http.get(stylesheet[1])),
        "media": of(http.get(film)),
        "redirect": of(http.get("/accounts/data/", headers=PAGE)),
        "error of the application": of(http.get("/nothing-is-here", headers=PAGE)),
        "error of nginx": raw(front, CLIMB),
        "metrics": of(http.get("/metrics")),
        "handshake": raw(front, HANDSHAKE.format(path="/ws/chat/lobby/", port=front.port, origin=own)),
        "handshake refused": raw(front, HANDSHAKE.format(path="/ws/chat/lobby/", port=front.port, origin=other)),
    }


def of(answer: httpx.Response) -> Answer:
    return Answer(answer.status_code, dict(answer.headers))


def raw(front: Server, request: str) -> Answer:
    """What comes up to the end of the headers."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=20) as connection:
        connection.sendall(request.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            block = connection.recv(65_536)
            assert block, received
            received += block
    first, *lines = received.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value for name, value in pairs})


def grade(kind: str, answer: Answer) -> dict[str, tuple[str, str]]:
    """Each header that is not as listed: what was expected, and what came."""
    listed = {**LIST["every"], **{name: value for name, value in LIST["kinds"][kind].items() if name != "status"}}
    expected = {name: LIST["values"].get(value, value) for name, value in listed.items()}
    return {
        name: (wanted, came)
        for name in {*expected, *answer.headers}
        if not fits(wanted := expected.get(name, ABSENT), came := answer.headers.get(name, ABSENT))
    }


def fits(wanted: str, came: str) -> bool:
    return came != ABSENT and fnmatchcase(came, wanted) if wanted != ABSENT else came == ABSENT


@pytest.mark.parametrize("kind", LIST["kinds"])
def test_every_header_is_as_the_list_says(answers: dict[str, Answer], kind: str) -> None:
    assert answers[kind].status == LIST["kinds"][kind]["status"]
    assert grade(kind, answers[kind]) == {}


def test_every_kind_of_answer_is_listed(answers: dict[str, Answer]) -> None:
    assert set(answers) == set(LIST["kinds"])


def test_a_header_that_is_missing_wrong_or_not_listed_is_told(answers: dict[str, Answer]) -> None:
    page = answers["page"]
    headers = {name: value for name, value in page.headers.items() if name != "x-frame-options"}
    headers |= {"referrer-policy": "unsafe-url", "x-powered-by": "a framework", "x-debug": "1"}
    assert grade("page", Answer(200, headers)) == {
        "x-frame-options": ("DENY", ABSENT),
        "referrer-policy": ("same-origin", "unsafe-url"),
        "x-powered-by": (ABSENT, "a framework"),
        "x-debug": (ABSENT, "1"),
    }
