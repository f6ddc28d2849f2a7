"""nginx as deployed: what it keeps from strangers, what it passes on, and what it refuses."""

import asyncio
import getpass
import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from e2e.chat import chat, make_rooms, tokens
from e2e.nginx import BEHIND_NGINX, DEPLOYED, SPEAKS_FOR_OTHERS, nginx, process_on
from e2e.servers import Installation, Server, free_port, wait_for

pytestmark = pytest.mark.needs("nginx")

STRANGER = "127.0.0.77"
MONITORING = "127.0.0.99"  # another host, which an `allow` lets through
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """A process and the nginx before it."""

    process: Server
    nginx: Server

    def ask(
        self, path: str, *, address: str = "127.0.0.1", method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Answer:
        """What nginx answers to a client at `address`; the path goes out as it stands here."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=20, source_address=(address, 0))
        with closing(connection):
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())


@pytest.fixture(scope="module")
def site(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A production process behind nginx."""
    make_rooms(installation, **BEHIND_NGINX)
    with ExitStack() as stack:
        process = stack.enter_context(process_on(installation, free_port(), CHAT_CONNECTIONS_PER_ADDRESS="200"))
        directory = tmp_path_factory.mktemp("nginx")
        (directory / "bambisleep-monitoring.conf").write_text(f"allow {MONITORING};\n")
        yield Site(process, stack.enter_context(nginx(directory, [process])))


def test_the_deployed_configuration_is_valid(tmp_path: Path) -> None:
    (tmp_path / "bambisleep").symlink_to(DEPLOYED)
    text = (DEPLOYED / "nginx.conf").read_text()
    for deployed, here in (
        ("www-data", getpass.getuser()),
        ("/run/", f"{tmp_path}/"),
        ("/var/log/nginx", str(tmp_path)),
    ):
        assert deployed in text
        text = text.replace(deployed, here)
    (tmp_path / "nginx.conf").write_text(text)

    command = [
        "nginx",
        "-t",
        "-q",
        "-c",
        str(tmp_path / "nginx.conf"),
        "-p",
        str(tmp_path),
        "-e",
        str(tmp_path / "error.log"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6detrics", "/./metrics", "/metrics?x=1", "/alerts"])
def test_a_stranger_sees_neither_metrics_nor_alerts(site: Site, path: str) -> None:
    answer = site.ask(path, address=STRANGER)

    assert answer.status == 404
    assert b"http_requests_total" not in answer.body


def test_the_host_itself_sees_metrics(site: Site) -> None:
    assert b"# TYPE http_requests_total counter" in site.ask("/metrics").body


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/alerts", 401)])
def test_a_host_that_is_let_through_reaches_metrics_and_alerts(site: Site, path: str, status: int) -> None:
    assert site.ask(path, address=MONITORING).status == status


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_a_load_balancer_sees_health(site: Site, path: str) -> None:
    assert site.ask(path, address=STRANGER).status == 200


@pytest.mark.parametrize(
    ("path", "status"), [("/dora?days=none", 400), ("/auth/me", 401), ("/nowhere", 404), ("/auth/login", 405)]
)
def test_the_application_s_own_errors_pass_as_they_are(site: Site, path: str, status: int) -> None:
    through = site.ask(path, X_Request_ID="one-of-mine")
    direct = site.process.http.get(path, headers={"X-Request-ID": "one-of-mine"})

    assert through.status == direct.status_code == status
    assert json.loads(through.body) == direct.json()


def test_a_request_id_passes_both_ways_and_one_is_given_where_there_is_none(site: Site) -> None:
    assert site.ask("/dora", X_Request_ID="one-of-mine").headers["X-Request-ID"] == "one-of-mine"
    given = site.ask("/dora").headers["X-Request-ID"]
    assert len(given) == 32
    assert site.ask("/dora", X_Request_ID="no id; of mine").headers["X-Request-ID"] not in {given, "no id; of mine"}


def test_the_log_has_the_address_that_nginx_saw(site: Site) -> None:
    site.ask("/nowhere", address=STRANGER, X_Forwarded_For="203.0.113.9", X_Request_ID="address-test")

    logged = wait_for(lambda: _logged(site.process, "address-test"), "the request is logged")
    assert logged["client"] == STRANGER


def test_its_log_has_no_query(site: Site) -> None:
    site.ask("/nowhere/to/be/found?token=a-secret")

    log = site.nginx.log.parent / "access.log"
    line = wait_for(lambda: re.search(r".*/nowhere/to/be/found.*", log.read_text()), "the request is logged")
    assert '"GET /nowhere/to/be/found?" 404 ' in line[0]
    assert "a-secret" not in log.read_text()


@pytest.mark.parametrize(
    ("path", "key", "shown"),
    [
        ("/accounts/password/reset/key/1-d2k9ab-0a1b2c/", "0a1b2c", "/accounts/password/reset/key/1-[redacted]"),
        ("/accounts/password/reset/key/1-d2k9ab-1a2b3c?x=y", "1a2b3c", "/accounts/password/reset/key/1-[redacted]"),
        ("/accounts/confirm-email/MQ:1vP3xk:2a3b4c/", "2a3b4c", "/accounts/confirm-email/[redacted]"),
        ("/accounts/confirm-email/MQ%3A1vP3xk%3A3a4b5c", "3a4b5c", "/accounts/confirm-email/[redacted]"),
        ("/reset/key/1-set-password/reset/key/1-4a5b6c/", "4a5b6c", "/reset/key/1-set-password/reset/key/1-[redacted]"),
        ("/reset/key/1-5a6b7c/reset/key/1-set-password/", "5a6b7c", "/reset/key/1-[redacted]"),
    ],
)
def test_neither_log_has_the_key_of_a_mailed_link(site: Site, path: str, key: str, shown: str) -> None:
    site.ask(path, X_Request_ID=f"mailed-{key}")

    log = site.nginx.log.parent / "access.log"
    line = wait_for(lambda: re.search(rf'"([^"]*)" .*mailed-{key}', log.read_text()), "nginx has logged it")
    assert line[1] == f"GET {shown}"
    logged = wait_for(lambda: _logged(site.process, f"mailed-{key}"), "the application has logged it")
    assert key not in logged["path"]


@pytest.mark.parametrize("path", ["/accounts/password/reset/key/1-set-password/", "/accounts/confirm-email/"])
def test_its_log_has_paths_that_only_look_like_mailed_links(site: Site, path: str) -> None:
    site.ask(path)

    log = site.nginx.log.parent / "access.log"
    wait_for(lambda: f'"GET {path} HTTP/1.1" ' in log.read_text(), "the request is logged whole")


@pytest.mark.parametrize("header", ["X_Refused_Request", "X_Refused_Status", "Daphne_Root_Path"])
def test_nobody_but_nginx_says_such_things(site: Site, header: str) -> None:
    before = site.process.metric("security_events_total")

    answer = site.ask("/dora", **{header: "GET /../../etc/passwd HTTP/1.1"})

    assert answer.status == 200
    assert site.process.metric("security_events_total") == before


def test_a_handshake_reaches_the_application_as_one(site: Site) -> None:
    before = site.process.metric("http_requests_total", route="unmatched", status="403")

    assert site.ask("/ws/nowhere/?token=a.b.c", **HANDSHAKE).status == 403

    counted = wait_for(
        lambda: site.process.metric("http_requests_total", route="unmatched", status="403") - before, "it is counted"
    )
    assert counted == 1


def test_what_one_process_has_never_heard_of_is_asked_of_the_others(installation: Installation, tmp_path: Path) -> None:
    """As while an old version's processes give way to a new one's, one by one."""
    with ExitStack() as stack:
        processes = []
        for version in ("old", "new"):
            (tmp_path / version).mkdir()
            (tmp_path / version / f"site.{version}.css").write_text(f"/* {version} */")
            own = process_on(installation, free_port(), STATIC_DIR=str(tmp_path / version))
            processes.append(stack.enter_context(own))
        directory = tmp_path / "nginx"
        directory.mkdir()
        site = Site(processes[0], stack.enter_context(nginx(directory, processes)))

        for version in ("old", "new"):
            for _ in range(6):
                answer = site.ask(f"/static/site.{version}.css")
                assert (answer.status, answer.body) == (200, f"/* {version} */".encode())
                assert answer.headers["Content-Security-Policy"]
        nobody_has_it = site.ask("/static/site.other.css", X_Request_ID="one-of-mine")
        elsewhere = site.ask("/site.other.css", X_Request_ID="one-of-mine")

    assert nobody_has_it.status == elsewhere.status == 404
    assert json.loads(nobody_has_it.body)["request_id"] == json.loads(elsewhere.body)["request_id"] == "one-of-mine"
    asked = re.findall(
        r"/site\.(\w+)\.css .*:\d+ (\d{3}(?:, \d{3})?) \S+$", (directory / "access.log").read_text(), re.M
    )
    assert {("old", "404, 200"), ("new", "404, 200")} < set(asked), "each was first asked of who has it not"
    assert asked[-2:] == [("other", "404, 404"), ("other", "404")], "elsewhere a 404 is the answer"


def test_people_talk_through_it(site: Site, installation: Installation) -> None:
    token = tokens(installation, "mara", **BEHIND_NGINX)["mara"]

    async def talk() -> None:
        async with chat(site.nginx, "lobby") as guest, chat(site.nginx, "lobby", token=token) as member:
            number = await member.say("Good night, everybody.")
            await guest.until(lambda: guest.numbers == [number], "the message arrives")
            assert guest.texts == ["Good night, everybody."]

    asyncio.run(talk())
    wait_for(lambda: site.process.metric("websocket_connections_total") == 0, "both have left")
    logged = site.nginx.log.parent / "access.log"
    wait_for(lambda: '"GET /ws/chat/lobby/ HTTP/1.1" 101 ' in logged.read_text(), "nginx has logged them")


def test_the_codes_of_closing_pass(site: Site) -> None:
    async def end(room: str, message: str | bytes, token: str | None = None) -> tuple[int, str]:
        async with chat(site.nginx, room, token=token, waits=token is not None) as client:
            await client.until(lambda: client.socket is not None, "it is connected")
            if message:
                await client.send(message)
            return await client.until_closed()

    assert asyncio.run(end("lobby", "x" * 70_000)) == (1009, "too_big")
    assert asyncio.run(end("lobby", b"bytes")) == (1003, "protocol")
    assert asyncio.run(end("lobby", "", token="no.token.atall")) == (4401, "unauthenticated")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 101),
        ("http://localhost:1", 403),
        ("https://localhost", 403),  # it comes without TLS, whatever the client says of it
        ("http://evil.example", 403),
        ("null", 403),
    ],
)
def test_a_handshake_is_for_pages_of_this_site(site: Site, origin: str, status: int) -> None:
    refused = site.process.metric("security_events_total", type="bad_origin")

    answer = _shake_hands(site.nginx, f"Origin: {origin}", "X-Forwarded-Proto: https")

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert site.process.metric("security_events_total", type="bad_origin") == refused + (status == 403)


def test_behind_tls_a_handshake_is_for_pages_that_came_by_it(site: Site) -> None:
    """As an nginx tells it that ends TLS: the process trusts one proxy."""
    told = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")

    assert _shake_hands(site.process, "Origin: https://localhost", *told).startswith(b"HTTP/1.1 101 ")
    assert _shake_hands(site.process, "Origin: http://localhost", *told).startswith(b"HTTP/1.1 403 ")


def test_one_address_has_a_hundred_sockets_and_its_pages_beside_them(site: Site) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", site.nginx.port), timeout=20))
            connection.sendall(_handshake())
            assert connection.recv(12) == b"HTTP/1.1 101"

        assert _shake_hands(site.nginx).startswith(b"HTTP/1.1 429 ")
        assert _shake_hands(site.nginx, address=STRANGER).startswith(b"HTTP/1.1 101 ")
        assert site.ask("/dora").status == 200
    wait_for(lambda: _shake_hands(site.nginx).startswith(b"HTTP/1.1 101 "), "there is room again")


@pytest.mark.parametrize(
    ("addresses", "neighbour", "stranger"),
    [
        ([f"2001:db8:1:2:{number:x}::{number:x}" for number in range(1, 101)], "2001:db8:1:2::ffff", "2001:db8:1:3::1"),
        ([f"::ffff:203.0.113.{number}" for number in range(1, 3)] * 50, None, "::ffff:203.0.113.9"),
    ],
)
def test_an_ipv6_network_is_limited_as_one_address_is(
    site: Site, addresses: list[str], neighbour: str | None, stranger: str
) -> None:
    def shake_hands(address: str) -> bytes:
        return _shake_hands(site.nginx, f"X-Other-Address: {address}", address=SPEAKS_FOR_OTHERS)

    with ExitStack() as stack:
        for address in addresses:
            source = (SPEAKS_FOR_OTHERS, 0)
            connection = socket.create_connection(("127.0.0.1", site.nginx.port), timeout=20, source_address=source)
            stack.enter_context(connection).sendall(_handshake(f"X-Other-Address: {address}"))
            assert connection.recv(12) == b"HTTP/1.1 101"

        if neighbour:
            assert shake_hands(neighbour).startswith(b"HTTP/1.1 429 ")
        else:  # fifty of each of two IPv4 addresses
            assert shake_hands(addresses[0]).startswith(b"HTTP/1.1 101 ")
        assert shake_hands(stranger).startswith(b"HTTP/1.1 101 ")


def test_a_body_too_large_is_refused_before_a_process_holds_it(site: Site) -> None:
    before = site.process.metric("http_requests_total")

    head = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n"
    answer = site.nginx.raw(head + b"a" * 2_000_000)

    assert answer.startswith(b"HTTP/1.1 413 ")
    counted = wait_for(lambda: site.process.metric("http_requests_total") - before, "the application was told")
    assert counted == 1


def test_a_body_of_the_limit_passes(site: Site) -> None:
    assert site.ask("/auth/login", method="POST", body=b" " * 1_048_576, Content_Type="application/json").status == 400


def _handshake(*headers: str) -> bytes:
    named = [f"{name}: {value}" for name, value in HANDSHAKE.items()]
    return "\r\n".join(["GET /ws/chat/lobby/ HTTP/1.1", "Host: localhost", *named, *headers, "", ""]).encode()


def _shake_hands(server: Server, *headers: str, address: str = "127.0.0.1") -> bytes:
    """The beginning of what comes back; whoever was let in leaves."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(address, 0)) as connection:
        connection.sendall(_handshake(*headers))
        return connection.recv(65_536)


def _logged(server: Server, request_id: str) -> dict[str, str] | None:
    lines = [json.loads(line) for line in server.output.splitlines() if line.startswith("{") and request_id in line]
    return next((line for line in lines if line.get("event") == "request"), None)


@pytest.mark.parametrize(
    ("method", "path", "size", "status", "counted", "address"),
    [
        ("POST", "/auth/login", 2_000_000, 413, "POST", "127.0.0.1"),
        ("BREW", "/auth/login", 0, 405, "OTHER", "127.0.0.1"),
        ("GET", "/metrics", 0, 404, "GET", STRANGER),
    ],
)
def test_what_nginx_refuses_is_counted_as_what_it_was(
    site: Site, method: str, path: str, size: int, status: int, counted: str, address: str
) -> None:
    labels = {"method": counted, "route": "unmatched", "status": str(status)}
    before = site.process.metric("http_requests_total", **labels)
    oversized = site.process.metric("security_events_total", type="oversized_body")

    answer = site.ask(path, method=method, body=b"a" * size if size else None, address=address)

    assert answer.status == status
    assert json.loads(answer.body)["status"] == status
    assert site.process.metric("http_requests_total", **labels) == before + 1
    assert site.process.metric("security_events_total", type="oversized_body") == oversized + (status == 413)
