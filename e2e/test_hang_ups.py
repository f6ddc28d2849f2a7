"""Clients that go away, send too much, or speak no proper HTTP, on both servers: counted once, and never our fault."""

import json
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from e2e.servers import PRODUCTION, Installation, Server, wait_for

LOGIN = "/auth/login"
CREDENTIALS = b'{"username":"invalid","password":"wrong"}'
TOO_LARGE = 2_000_000  # bytes; the limit is 1 MiB
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"}


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(installation: Installation, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A production server, once daphne and once uvicorn."""
    with installation.serving(request.param, **PRODUCTION) as found:
        yield found


@pytest.fixture
def is_daphne(request: pytest.FixtureRequest) -> bool:
    """Whether the server reads the whole body before it calls the application."""
    return bool(request.node.callspec.params["server"] == "daphne")


def test_a_client_that_leaves_before_its_answer_is_counted_once(server: Server) -> None:
    before = _statuses(server, LOGIN)

    for _ in range(5):
        _send_and_leave(server, _post(CREDENTIALS))

    after = _wait_for_requests(server, before, 5)
    assert _login(server) in {401, 429}  # as slow as those were, and after them: whatever they count is counted now
    counted = _wait_for_requests(server, before, 6) - before
    assert counted.total() == 6
    assert set(counted) <= {"401", "429", "499"}
    assert not (after - before).keys() - counted.keys()


def test_a_client_that_leaves_in_mid_body_is_no_error_of_ours(server: Server, is_daphne: bool) -> None:
    before = _statuses(server, LOGIN)

    _send_and_leave(server, _post(CREDENTIALS[:10], content_length=b"1000"))

    # daphne never tells the application of a request whose body did not arrive
    expected = Counter() if is_daphne else Counter({"499": 1})
    if not is_daphne:
        _wait_for_requests(server, before, 1)
    _login(server)
    counted = _wait_for_requests(server, before, expected.total() + 1) - before
    assert counted.total() == expected.total() + 1
    assert counted["499"] == expected["499"]


def test_hang_ups_leave_the_server_in_order(server: Server) -> None:
    for _ in range(20):
        _send_and_leave(server, _post(CREDENTIALS))

    assert server.json("/health")["status"] == "ok"
    assert "Traceback" not in server.output


def test_an_idle_server_has_no_request_in_progress(server: Server) -> None:
    wait_for(lambda: server.metric("http_requests_in_progress") == 0, "no request is in progress", seconds=20)


def test_a_body_too_large_is_refused_with_a_problem(server: Server) -> None:
    before = _statuses(server, LOGIN)

    status, headers, body = _parsed(server.raw(_post(b"a" * TOO_LARGE)))

    assert status == 413
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == 413
    assert _wait_for_requests(server, before, 1) - before == Counter({"413": 1})


def test_a_body_announced_too_large_is_refused_before_it_is_sent(server: Server, is_daphne: bool) -> None:
    if is_daphne:
        return  # reads it first: there, nginx's client_max_body_size is what holds it

    status, _, _ = _parsed(server.raw(_post(b"", content_length=str(TOO_LARGE).encode())))

    assert status == 413


def test_a_body_in_chunks_is_refused_once_it_is_too_large(server: Server) -> None:
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    head = _post(b"", content_length=None, more=b"Transfer-Encoding: chunked\r\n")

    status, headers, _ = _parsed(server.raw(head + chunk * (TOO_LARGE // 0x10000) + b"0\r\n\r\n"))

    assert status == 413
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("length", [b"abc", b"-1", b"1_0", b"0x10", b"9" * 30, b"2\r\nContent-Length: 3"])
def test_a_content_length_that_is_none_is_the_client_s_error(server: Server, is_daphne: bool, length: bytes) -> None:
    if is_daphne and length.isdigit():
        return  # waits for the body, as it would for any

    status, _, _ = _parsed(server.raw(_post(b"{}", content_length=length)))

    assert status in {400, 413}


@pytest.mark.parametrize("method", ["FOO", "TRACE", "PROPFIND", "CONNECT"])
@pytest.mark.parametrize("path", ["/", "/dora", LOGIN, "/admin/login/", "/metrics", "/nowhere"])
def test_an_unknown_method_is_refused_and_makes_no_new_label(server: Server, method: str, path: str) -> None:
    status, _, _ = _parsed(
        server.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    )

    assert 400 <= status < 500
    for name in ("http_requests_total", "http_request_duration_seconds_count", "http_requests_errors_total"):
        assert {labels["method"] for labels, _ in server.samples(name)} <= METHODS


def test_a_header_of_100_kilobytes_is_refused(server: Server, is_daphne: bool) -> None:
    answer = server.raw(
        b"GET /dora HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Large: " + b"a" * 100_000 + b"\r\n\r\n"
    )

    if is_daphne and not answer:
        return  # it hangs up, which is an answer
    assert 400 <= _parsed(answer)[0] < 500


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",  # TLS to a plain port
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"GET /dora?days=%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    ],
    ids=["tls", "version", "no-path", "nul", "no-utf-8", "host", "query", "chunk"],
)
def test_what_is_no_proper_request_is_the_client_s_error(server: Server, request_bytes: bytes) -> None:
    answer = server.raw(request_bytes)

    assert 400 <= _parsed(answer)[0] < 500


def test_a_websocket_to_nowhere_is_refused_and_counted(server: Server) -> None:
    before = _statuses(server, "unmatched")

    answer = server.raw(
        b"GET /ws/nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Origin: http://localhost\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    assert _parsed(answer)[0] == 403
    assert _wait_for_requests(server, before, 1, route="unmatched") - before == Counter({"403": 1})


def test_nothing_of_all_that_was_counted_as_our_error(server: Server) -> None:
    assert server.metric("http_requests_errors_total", type="server_error") == 0
    assert "Traceback" not in server.output


def _post(body: bytes, *, content_length: bytes | None = b"", more: bytes = b"") -> bytes:
    """A sign-in as it goes over the wire; `content_length` is the body's unless told, and left out where None."""
    length = str(len(body)).encode() if content_length == b"" else content_length
    lengths = b"" if length is None else b"Content-Length: " + length + b"\r\n"
    head = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head + lengths + more + b"\r\n" + body


def _send_and_leave(server: Server, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)


def _login(server: Server) -> int:
    return server.http.post(LOGIN, json=json.loads(CREDENTIALS)).status_code


def _parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1."), f"no answer: {answer[:200]!r}"
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def _statuses(server: Server, route: str) -> Counter[str]:
    """How many requests of a route were counted under each status."""
    return Counter(
        {
            labels["status"]: int(value)
            for labels, value in server.samples("http_requests_total")
            if labels["route"] == route
        }
    )


def _wait_for_requests(server: Server, before: Counter[str], number: int, *, route: str = LOGIN) -> Counter[str]:
    """The counts, as soon as at least `number` were added to `before`."""

    def counted() -> Counter[str] | None:
        now = _statuses(server, route)
        return now if now.total() >= before.total() + number else None

    found = wait_for(counted, f"{number} more requests of {route} are counted")
    assert found is not None
    return found
