"""The budget: how many series a process may have, and that strangers can make it neither more nor larger."""

import http.client
import itertools
import random
import re
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bambisleep.tests.environment import LONG
from e2e.servers import PRODUCTION, Installation, Server

SERIES = 3_000
SERIES_BY_STRANGERS = 300
REQUESTS = 20_000 if LONG else 2_500
CONNECTIONS = 4
GROWTH_BYTES = 10 * 1024 * 1024  # what allocators and bounded caches still take after the warm-up

PASSWORD = "a long enough phrase"
PAGES = ["/", "/dora", "/dora?service=demo&days=90", "/api/schema", "/api/docs", "/auth/me", "/admin/", "/no/such"]
PREFIXES = ["", "/auth", "/admin", "/admin/accounts/user", "/admin/delivery/deployment", "/static", "/dora", "/content"]
METHODS = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
BODIES = [b"", b"", b"{}", b'{"username": "x", "password": "y"}', b"\xff\x00", b"[" * 500]
TYPES = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/x"]


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Server]:
    """A production server with demo data and one superuser, behind one proxy, so that a stranger has any address."""
    account = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    for command in (
        ["createsuperuser", "--noinput", "--username=sam", "--email=sam@example.org"],
        ["load_demo"],
    ):
        done = installation.manage(*command, **account, **PRODUCTION)
        assert done.returncode == 0, done.stderr
    installation.collect_static()
    with installation.serving("daphne", TRUSTED_PROXIES="1", **PRODUCTION) as found:
        yield found


def series(server: Server) -> int:
    return sum(not line.startswith("#") for line in server.http.get("/metrics").text.splitlines())


def resident_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def tour(server: Server) -> set[str]:
    """Visit every page, and in the admin every list, form and record that the lists link to."""
    server.http.cookies.clear()
    home = server.sign_in_to_admin("sam", PASSWORD)
    assert home.url.path == "/admin/"
    links = re.compile(r'href="(/admin/[^"?#]+)"')
    lists = set(links.findall(home.text)) - {
        "/admin/logout/",
        "/admin/password_change/",
    }  # the second leads out of the admin
    seen = set()
    for path in [*PAGES, *sorted(lists)]:
        answer = server.http.get(path)
        seen.add(path)
        if path in lists:
            assert answer.status_code == 200, path
            record = next((link for link in links.findall(answer.text) if link.endswith("/change/")), None)
            if record:
                assert server.http.get(record).status_code == 200
                assert server.http.get(record.replace("/change/", "/history/")).status_code == 200
                seen.add(record)
    return seen


def test_a_tour_of_every_page_stays_within_the_budget(server: Server) -> None:
    seen = tour(server)

    assert {"/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/delivery/deployment/"} <= seen
    assert any(path.endswith("/change/") for path in seen)
    assert series(server) <= SERIES


def test_strangers_make_it_neither_more_nor_larger(server: Server) -> None:
    tour(server)
    before = series(server)
    warm_up = REQUESTS // 10
    statuses = knock(server, warm_up, seed=1)
    resident = resident_bytes(server)

    statuses |= knock(server, REQUESTS - warm_up, seed=2)

    assert statuses >= {200, 301, 302, 400, 401, 404, 405}  # they reached all kinds of places
    assert series(server) - before < SERIES_BY_STRANGERS
    grown = resident_bytes(server) - resident
    assert grown < GROWTH_BYTES, f"{grown / 1024 / 1024:.1f} MiB"


def test_no_stranger_finds_an_error_of_ours(server: Server) -> None:
    statuses = knock(server, REQUESTS // 5, seed=3)
    for method, path in itertools.product(sorted({*METHODS}), PAGES):
        statuses.add(server.http.request(method, path).status_code)

    assert not any(status >= 500 for status in statuses), statuses
    assert "Traceback" not in server.output


def knock(server: Server, number: int, *, seed: int) -> set[int]:
    """Send `number` random requests over a few connections that stay open; the statuses that came back."""
    share = number // CONNECTIONS

    def one(connection: int) -> set[int]:
        stranger = Stranger(random.Random(seed * 1000 + connection), server.port)
        try:
            return {stranger.ask() for _ in range(share)}
        finally:
            stranger.connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return set().union(*pool.map(one, range(CONNECTIONS)))


class Stranger:
    """A client on one connection, whose every request is another."""

    def __init__(self, chance: random.Random, port: int) -> None:
        self.chance = chance
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self) -> int:
        """Send one request; its status, or 0 where the server hung up without one."""
        method = self.chance.choice([*METHODS, self.word().upper()])
        body = self.chance.choice(BODIES) if method in {"POST", "PUT", "PATCH", "DELETE"} else b""
        try:
            self.connection.putrequest(method, self.target(), skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers().items():
                self.connection.putheader(name, value)
            self.connection.putheader("Content-Length", str(len(body)))
            self.connection.endheaders(body)
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (http.client.HTTPException, ConnectionError):
            self.connection.close()
            return 0

    def target(self) -> str:
        chance = self.chance
        if chance.random() < 0.1:
            return chance.choice(PAGES)
        path = chance.choice(PREFIXES) + "".join(f"/{self.word()}" for _ in range(chance.randint(0, 4)))
        path += chance.choice(["", "", "/", "/../x", "/%2e%2e/", ".json", "/%00", "/%F0%9F%98%B4"])
        query = f"?{self.word()}={self.word()}" if chance.random() < 0.3 else ""
        return (path or "/") + query

    def headers(self) -> dict[str, str]:
        chance = self.chance
        chosen = {
            "Host": "localhost" if chance.random() < 0.8 else f"{self.word()}.example",
            "X-Forwarded-For": ":".join(f"{chance.randrange(65_536):x}" for _ in range(8)),
        }
        others = {
            "Accept": chance.choice(["text/html", "application/json", "*/*", self.word()]),
            "Authorization": f"Bearer {self.word()}.{self.word()}.{self.word()}",
            "Content-Type": chance.choice([*TYPES, self.word()]),
            "Cookie": f"sessionid={self.word()}; csrftoken={self.word()}",
            "Origin": f"https://{self.word()}.example",
            "User-Agent": self.word(),
            "X-Request-ID": self.word(),
            f"X-{self.word()}": self.word(),
        }
        return chosen | {name: value for name, value in others.items() if chance.random() < 0.3}

    def word(self) -> str:
        return "".join(self.chance.choices(string.ascii_lowercase + string.digits, k=self.chance.randint(3, 20)))
