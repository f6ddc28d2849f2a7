"""SIGKILL to an application process and to nginx: others answer, or a sentence does, until both are back.

PostgreSQL and Redis are killed in the tests that are theirs, Prometheus and Alertmanager in test_monitoring.py.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from e2e.faults.conftest import Whole
from e2e.faults.life import life
from e2e.nginx import nginx
from e2e.servers import Server, wait_for

pytestmark = pytest.mark.needs("postgresql", "redis-server", "nginx")


def test_one_application_process_and_then_all(whole: Whole) -> None:
    site = whole.site
    with life(site, whole.nginx) as people:
        site.stop(0, signal.SIGKILL)
        people.go_on(2)
        people.recover()  # by the other
        site.stop(1, signal.SIGKILL)
        try:
            people.go_on(1)
            assert "The site does not answer" in _page(whole.nginx, "text/html").text
            told = _page(whole.nginx, "application/json")
            assert (told.status_code, told.json()["status"]) == (503, 503)
            assert told.headers["Content-Type"] == "application/problem+json"
            assert int(told.headers["Retry-After"]) > 0
        finally:
            site.start(0)
            site.start(1)
        people.recover()
    people.expect_answers()


def test_nginx(whole: Whole, tmp_path: Path) -> None:
    with nginx(tmp_path, whole.site.processes) as door, life(whole.site, door) as people:
        os.killpg(door.process.pid, signal.SIGKILL)  # all of its processes: so does systemd
        door.process.wait(10)
        people.go_on(1)
        with _again(door):
            people.recover()
            people.stop()
    people.expect_answers(breaks=True)


def _page(door: Server, accept: str) -> httpx.Response:
    return door.http.get("/content/", headers={"Accept": accept})


@contextmanager
def _again(door: Server) -> Iterator[None]:
    command = door.process.args
    directory = door.log.parent
    process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], "HOME": str(directory)})  # type: ignore[arg-type]
    try:
        wait_for(lambda: _listens(door.port), "nginx is back")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
