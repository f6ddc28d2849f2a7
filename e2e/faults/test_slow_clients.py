"""900 clients that drip through nginx, of head, of body, and as readers: they hold nothing that others need."""

import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from bambisleep.tests.environment import LONG
from e2e.faults.conftest import Whole
from e2e.faults.life import life
from e2e.servers import Server, wait_for

pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx")

CLIENTS = 900
ADDRESSES = 10  # of 127.0.0.0/8, none of them the visitors' own
HEAD = b"GET /content/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{"
)
READ = b"GET /static/admin/js/vendor/jquery/jquery.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
SECONDS_OF_HEAD = 10  # deploy/nginx/http.conf: client_header_timeout


def test_nine_hundred_drip(whole: Whole) -> None:
    with life(whole.site, whole.nginx) as people:
        before = max(_descriptors(process) for process in whole.site.processes)
        with _dripping(whole.nginx) as connections:
            people.go_on(60 if LONG else 4)
            held = max(_descriptors(process) for process in whole.site.processes)
            assert held < before + 100, "the processes see nothing of them"
            heads = connections[::3]
            wait_for(
                lambda: all(map(_is_over, heads)), "whoever drips a head is sent away", seconds=4 * SECONDS_OF_HEAD
            )
        people.recover()
        assert people.statuses()[503] == 0
    people.expect_answers()


@contextmanager
def _dripping(door: Server) -> Iterator[list[socket.socket]]:
    """Of three kinds; each sends, or reads, a byte a second."""
    over = threading.Event()
    with ExitStack() as stack:
        connections: list[socket.socket] = []
        for number in range(CLIENTS):
            address = f"127.0.1.{1 + number % ADDRESSES}"
            connection = socket.create_connection(("127.0.0.1", door.port), 20, source_address=(address, 0))
            connections.append(stack.enter_context(connection))
            connection.sendall((HEAD, BODY, READ)[number % 3])
            connection.setblocking(False)

        def drip() -> None:
            while not over.wait(1):
                for number, connection in enumerate(connections):
                    with suppress(OSError):
                        connection.recv(1) if number % 3 == 2 else connection.send(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield connections
        finally:
            over.set()
            thread.join()


def _is_over(connection: socket.socket) -> bool:
    """Whether the server has ended it."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        if not selector.select(0):
            return False
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _descriptors(process: Server) -> int:
    return len(os.listdir(f"/proc/{process.process.pid}/fd"))
