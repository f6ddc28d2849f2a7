"""A file on its way to readers who stall, leave, or outlive it: on both servers, what it costs and what is left."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.library import in_library
from e2e.servers import PRODUCTION, Installation, Server, wait_for

SIZE_BYTES = 2**30
MEBIBYTE = 2**20
STALLED = 8
ROUTE = "/watch/media/<uuid:key>/"


@dataclass(frozen=True, slots=True)
class Film:
    """A sparse file in the library."""

    path: Path
    address: str

    def opened_by(self, process: Server) -> int:
        """How many descriptors of the server stand for it."""
        here = f"/proc/{process.process.pid}/fd"
        return sum(_target(f"{here}/{name}").startswith(str(self.path)) for name in os.listdir(here))


@pytest.fixture(scope="module")
def film(installation: Installation) -> Film:
    """A film of a gigabyte."""
    return _film(installation)


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(installation: Installation, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A production server, once daphne and once uvicorn."""
    with installation.serving(request.param, **PRODUCTION) as found:
        yield found


def test_a_reader_who_stalls_costs_less_than_a_mebibyte(server: Server, film: Film) -> None:
    _read_quickly(server, film, 64 * MEBIBYTE)
    with closing(_reading(server, film)):  # so that whatever the first one costs is paid
        _read_quickly(server, film, 64 * MEBIBYTE)
    before = _resident_bytes(server)

    with ExitStack() as stack:
        stalled = [stack.enter_context(closing(_reading(server, film))) for _ in range(STALLED)]
        assert all(reader.recv(1000) for reader in stalled)
        _read_quickly(server, film, 256 * MEBIBYTE)  # long enough for the others' gigabytes to pile up
        grown = _resident_bytes(server) - before
        assert film.opened_by(server) == STALLED

    assert grown < STALLED * MEBIBYTE


def test_readers_who_leave_leave_no_descriptor_and_are_counted(server: Server, film: Film) -> None:
    def left() -> float:
        return server.metric("http_requests_total", route=ROUTE, status="499")

    before, errors = left(), server.metric("http_requests_errors_total", route=ROUTE)
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(_reading(server, film))) for _ in range(20)]
        for reader in readers:
            assert reader.recv(1000)
        assert film.opened_by(server) == 20

    wait_for(lambda: film.opened_by(server) == 0, "every file is closed")
    wait_for(lambda: left() - before == 20, "each is counted as one who left")
    assert server.metric("http_requests_errors_total", route=ROUTE) == errors, "as a player leaves at each jump"
    assert "Traceback" not in server.output


def test_a_file_that_is_cut_meanwhile_is_not_filled_up(server: Server, installation: Installation) -> None:
    film = _film(installation)
    failed = server.metric("http_requests_total", route=ROUTE, status="500")

    with closing(_reading(server, film, more=b"")) as reader:  # which would keep the connection
        assert reader.recv(1000)
        os.truncate(film.path, 3 * MEBIBYTE)
        rest = _rest_of(reader)

    assert rest < 64 * MEBIBYTE  # what was on its way; then the connection ended
    assert film.opened_by(server) == 0
    wait_for(
        lambda: server.metric("http_requests_total", route=ROUTE, status="500") - failed == 1, "it is counted as ours"
    )
    assert server.output.count("CutShort: The file ends at") >= 1
    assert server.http.get("/health").status_code == 200


def test_what_is_timed_is_the_first_byte(server: Server, film: Film) -> None:
    def observed(what: str) -> float:
        return server.metric(f"http_request_duration_seconds_{what}", route=ROUTE, method="GET")

    seconds, number = observed("sum"), observed("count")
    with closing(_reading(server, film)) as reader:
        assert reader.recv(1000)
        started = time.monotonic()
        _read_quickly(server, film, 256 * MEBIBYTE)
        passed = time.monotonic() - started  # since the other had its first byte

    wait_for(lambda: observed("count") - number == 2, "both are counted")
    assert observed("sum") - seconds < passed


@pytest.mark.needs("postgresql")
def test_readers_who_stall_keep_no_connection_to_the_database(installation: Installation, film: Film) -> None:
    with installation.serving("daphne", **PRODUCTION, DATABASE_POOL_SIZE="3") as server, ExitStack() as stack:
        readers = [stack.enter_context(closing(_reading(server, film))) for _ in range(12)]
        for reader in readers:
            assert reader.recv(1000)

        assert server.http.get("/health/ready").status_code == 200
        assert server.http.get("/dora").status_code == 200


def _film(installation: Installation) -> Film:
    code = f"""
import os
from pathlib import Path
from django.conf import settings
item = rows.item(kind=Kind.VIDEO, slug="film-" + os.urandom(4).hex())
film = rows.media(item, b"", size_bytes={SIZE_BYTES})
path = Path(settings.LIBRARY_DIR) / film.name
os.truncate(path, {SIZE_BYTES})
told |= {{"path": str(path), "address": f"/watch/media/{{film.key}}/"}}
"""
    told = in_library(installation, code)
    return Film(Path(told["path"]), told["address"])


def _target(descriptor: str) -> str:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:  # closed since
        return ""


def _reading(server: Server, film: Film, *, more: bytes = b"Connection: close\r\n") -> socket.socket:
    """A connection on which the film was asked for, and of which nothing was read."""
    connection = socket.socket()
    connection.settimeout(20)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (film.address.encode(), more))
    return connection


def _rest_of(connection: socket.socket) -> int:
    """How many bytes still come until the server ends the connection."""
    number = 0
    while block := connection.recv(MEBIBYTE):
        number += len(block)
    return number


def _read_quickly(server: Server, film: Film, size: int) -> None:
    answer = server.http.get(film.address, headers={"Range": f"bytes=0-{size - 1}"})
    assert (answer.status_code, len(answer.content)) == (206, size)


def _resident_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024
