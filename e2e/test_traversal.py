"""Attempts to climb out of a directory, over raw sockets: none succeeds, each is counted, nothing harmless is."""

import http.client
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from bambisleep.tests.environment import LONG
from e2e.nginx import nginx, process_on
from e2e.servers import Installation, Server, free_port, wait_for
from observability.tests.test_traversal import CLIMBING, HARMLESS, OTHERS

pytestmark = pytest.mark.needs("nginx")

CLIMBS = "/content/..%5c..%5cetc/passwd"  # passes nginx's own checks
IN_QUERIES = [
    f"/content/?file={dots}/{dots}/etc/passwd" for dots in ("..", "%2e%2e", "%252e%252e", "..;", "%c0%ae%c0%ae")
]
ATTEMPTS = [path.encode() for path in [*CLIMBING, *OTHERS, *IN_QUERIES]]

HARMLESS_PATHS = 5000 if LONG else 600
NO_ENCODING = re.compile(r"%(?![0-9a-fA-F]{2})")

HOST = b"Host: localhost\r\nConnection: close\r\n"
HANDSHAKE = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
GET = b"GET " + CLIMBS.encode() + b" HTTP/1.1\r\n" + HOST
POST = GET.replace(b"GET", b"POST")
CHUNK = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
# What one of the three servers answers by itself. Behind nginx the application knows of each.
ODD = {
    "without a version": b"GET /../../etc/passwd\r\n",
    "backslashes without a version": b"GET " + CLIMBS.encode() + b"\r\n",
    "HTTP/1.0 without a host": GET.split(b"\r\n")[0].replace(b"1.1", b"1.0") + b"\r\n\r\n",
    "HTTP/1.1 without a host": GET.replace(b"Host: localhost\r\n", b"") + b"\r\n",
    "two hosts": GET + b"Host: other\r\n\r\n",
    "a host that is none": GET.replace(b"localhost", b"a/b") + b"\r\n",
    "HTTP/2.0 on a plain port": GET.replace(b"HTTP/1.1", b"HTTP/2.0") + b"\r\n",
    "HTTP/1.9": GET.replace(b"HTTP/1.1", b"HTTP/1.9") + b"\r\n",
    "TRACE": GET.replace(b"GET", b"TRACE") + b"\r\n",
    "CONNECT": GET.replace(b"GET", b"CONNECT") + b"\r\n",
    "an unknown method": GET.replace(b"GET", b"BREW") + b"\r\n",
    "a method in small letters": GET.replace(b"GET", b"get") + b"\r\n",
    "a raw NUL": b"GET /content/a\x00b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a raw control character": b"GET /content/\x01/../../etc HTTP/1.1\r\n" + HOST + b"\r\n",
    "two of them, then encoded dots": b"GET /content/\x01\x02/%2e%2e/etc HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space": b"GET /content/.. /../etc HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw overlong dots": b"GET /content/\xc0\xae\xc0\xae/etc HTTP/1.1\r\n" + HOST + b"\r\n",
    "a raw byte that daphne takes in no header": b"GET /content/\x85/..%5c/etc HTTP/1.1\r\n" + HOST + b"\r\n",
    "a raw byte in the query": b"GET /content/?file=../../\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "no slash at its beginning": b"GET ../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "behind a fragment": b"GET /content/#/../../etc HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long line": GET.replace(b"passwd", b"a" * 7_000) + b"\r\n",
    "a very long line": GET.replace(b"passwd", b"a" * 20_000) + b"\r\n",
    "a long header": GET + b"X-Long: " + b"a" * 20_000 + b"\r\n\r\n",
    "long headers": GET + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(15)) + b"\r\n",
    "a NUL in a header": GET + b"X-Odd: a\x00b\r\n\r\n",
    "a header without a colon": GET + b"X-Odd\r\n\r\n",
    "a header name that is none": GET + b"X Odd: b\r\n\r\n",
    "an unknown encoding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "a length that is none": POST + b"Content-Length: abc\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "a body announced too large": POST + b"Content-Length: 2000000\r\n\r\n" + b"a" * 2_000_000,
    "a body too large": POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 20 + b"0\r\n\r\n",
    "a chunk that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "half a handshake": GET + b"Upgrade: websocket\r\n\r\n",
    "half a handshake at the chat": GET.replace(b"/content", b"/ws") + b"Upgrade: websocket\r\n\r\n",
    "a handshake of an odd origin": GET.replace(b"/content", b"/ws").replace(b"close", b"close, upgrade")
    + b"Upgrade: websocket\r\nOrigin: ::odd::\r\n" + HANDSHAKE + b"\r\n",
    "to a place for nginx alone": b"GET /content/../_refused HTTP/1.1\r\n" + HOST + b"\r\n",
    "to what strangers may not see": b"GET /content/../alerts HTTP/1.1\r\n" + HOST + b"\r\n",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """An application's process, and nginx before it."""

    process: Server
    nginx: Server
    stored_before: int  # security events in the database when it started

    def entrance(self, name: str) -> Server:
        """ "direct" or "nginx"."""
        return self.nginx if name == "nginx" else self.process

    def climbs(self) -> float:
        """How many attempts were counted so far."""
        return self.process.metric("security_events_total", type="directory_traversal")

    def requests(self) -> float:
        """How many requests were counted so far."""
        return self.process.metric("http_requests_total")


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def site(
    installation: Installation, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A production process, once daphne and once uvicorn, behind nginx."""
    with ExitStack() as stack:
        process = stack.enter_context(process_on(installation, free_port(), server=request.param))
        before = stack.enter_context(nginx(tmp_path_factory.mktemp("nginx"), [process]))
        yield Site(process, before, installation.count("observability_security_event"))


@pytest.mark.parametrize("entrance", ["direct", "nginx"])
def test_no_attempt_succeeds_and_each_is_counted(site: Site, entrance: str) -> None:
    before, requests = site.climbs(), site.requests()

    answers = {target: _get(site.entrance(entrance), target) for target in ATTEMPTS}

    assert len(answers) >= 300
    assert {target: answer for target, answer in answers.items() if not _is_refusal(answer)} == {}
    wait_for(lambda: site.requests() >= requests + len(answers), "each attempt is a request")
    assert site.climbs() == before + len(answers)
    assert site.requests() == requests + len(answers)


@pytest.mark.parametrize("kind", ODD)
def test_behind_nginx_the_odd_ones_are_counted_too(site: Site, kind: str) -> None:
    before, requests = site.climbs(), site.requests()

    answer = site.nginx.raw(ODD[kind])

    assert _is_refusal(answer), answer
    wait_for(lambda: site.requests() > requests, "the attempt is a request")
    assert site.climbs() == before + 1
    assert site.requests() == requests + 1


@pytest.mark.parametrize("entrance", ["direct", "nginx"])
@pytest.mark.parametrize(
    "target",
    ["http://x/content/../etc", "http://localhost/../../etc/passwd", f"http://localhost{CLIMBS}", "http://x/%2e%2e/"],
)
def test_a_whole_url_as_target_climbs_no_further(site: Site, entrance: str, target: str) -> None:
    before = site.climbs()

    answer = _get(site.entrance(entrance), target.encode())

    assert _is_refusal(answer), answer
    wait_for(lambda: site.climbs() == before + 1, "the attempt is counted")


def test_what_is_refused_is_not_all_called_an_attempt_to_climb(site: Site) -> None:
    before, requests = site.climbs(), site.requests()

    for harmless in (
        b"GET /content/\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /content/ HTTP/2.0\r\n" + HOST + b"\r\n",
        b"GET /content/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03../..\r\n\r\n",  # TLS to a plain port
    ):
        assert _is_refusal(site.nginx.raw(harmless))

    wait_for(lambda: site.requests() == requests + 4, "each is a request")
    assert site.climbs() == before


@pytest.mark.once
def test_hundreds_of_harmless_paths_count_nothing(site: Site) -> None:
    before, requests = site.climbs(), site.requests()
    paths = _harmless_paths()

    for entrance, half in ((site.process, paths[::2]), (site.nginx, paths[1::2])):
        connection = http.client.HTTPConnection("127.0.0.1", entrance.port, timeout=20)
        for path in half:
            connection.putrequest("GET", path)
            connection.endheaders()
            response = connection.getresponse()
            response.read()
            # nginx refuses (and reports) what is no encoding; that is no attempt to climb.
            assert response.status == 404 or (response.status == 400 and NO_ENCODING.search(path)), path
        connection.close()

    wait_for(lambda: site.requests() >= requests + len(paths), "each path is a request")
    assert site.requests() == requests + len(paths)
    assert site.climbs() == before


def test_what_is_counted_is_stored_or_counted_as_dropped(site: Site, installation: Installation) -> None:
    def unaccounted() -> float:
        rows = installation.count("observability_security_event") - site.stored_before
        dropped = site.process.metric("security_events_dropped_total")
        return site.process.metric("security_events_total") - dropped - rows

    for _ in range(50):
        assert _is_refusal(_get(site.nginx, b"/../../etc/passwd"))

    wait_for(lambda: unaccounted() == 0, "every event is stored, or counted as dropped")
    assert site.process.metric("security_events_dropped_total") > 0


def _get(server: Server, target: bytes) -> bytes:
    return server.raw(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")


def _is_refusal(answer: bytes) -> bool:
    """Whether an answer is an error of the client's, and holds nothing of a file."""
    if b"root:" in answer:
        return False
    # To a request without a version nginx answers without a head.
    return answer[9:10] == b"4" or answer[9:12] in {b"501", b"505"} or answer.startswith(b'{"type": "about:blank"')


def _harmless_paths() -> list[str]:
    chooser = random.Random(11)
    pieces = ["a", "b", "7", ".", "..", "-", "_", "ü", "…", "‥", "月", "🌙", "%", " ", "+", "~", "é.", "v1..2"]
    paths = [path for path in HARMLESS if path not in {"/", "/auth/login"}]
    while len(paths) < HARMLESS_PATHS:
        segments = ["".join(chooser.choices(pieces, k=chooser.randint(1, 6))) for _ in range(chooser.randint(1, 5))]
        paths.append("/" + "/".join(quote(f"x{segment}", safe="~+") for segment in segments))
    return paths
