"""A disk that is full, of the database, of the library, of the logs: told, nothing half-written, and over once there is
room again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from content.tests.samples import recording
from e2e import chat
from e2e.servers import PRODUCTION, Installation, Server, free_port, installed, running, wait_for

pytestmark = [
    pytest.mark.once,  # SQLite, whose file is on that disk
    pytest.mark.skipif(os.geteuid() != 0 and not shutil.which("sudo"), reason="mounting needs root"),
]

MEBIBYTES = 48
COMMITS = 500  # of each deployment: what was free inside the database is soon used up
TOKEN = """
from observability.delivery import tokens
from observability.delivery.models import Scope
print("TOKEN", tokens.issue(name="disk", scopes=list(Scope))[1])
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    path = tmp_path / "disk"
    path.mkdir()
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*as_root, "mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run([*as_root, "umount", "-l", str(path)], check=True)


def test_database_library_and_logs_at_once(disk: Path) -> None:
    with installed(disk) as installation:
        assert installation.manage("collectstatic", "--noinput", "-v0", **PRODUCTION).returncode == 0
        chat.make_rooms(installation)
        token = chat.run(installation, TOKEN).split("TOKEN ")[1].split()[0]
        with _serving(installation) as server:
            server.sign_in_to_admin("boss", chat.PASSWORD)
            told = [_tell(server, token, number).status_code for number in range(3)]
            assert told == [201, 201, 201]
            with _full(disk):
                for number in range(3, 60):
                    if not (answer := _tell(server, token, number)).is_success:
                        break
                    told.append(answer.status_code)
                assert answer.status_code == 503, answer.text
                assert "Try again" in answer.json()["detail"]
                upload = _upload(server, size=1_000_000)
                assert upload.status_code in {503, 507}
                assert upload.json()["detail"]
                for path in ("/", "/content/", "/dora", "/health/live", "/metrics"):
                    assert server.http.get(path).status_code == 200, path
            wait_for(lambda: _tell(server, token, 1000).is_success, "there is room again", seconds=10)
            assert server.http.get("/admin/").url.path == "/admin/", "still signed in"
            assert _upload(server, size=1_000_000).status_code == 201
            wait_for(lambda: server.metric("deployment_frequency_total") == len(told) + 1, "the facts follow")
            assert server.http.get("/dora", headers={"X-Request-ID": "after-the-full-disk"}).status_code == 200
            wait_for(lambda: "after-the-full-disk" in server.output, "its log goes on")
            assert "Traceback" not in server.output
        assert installation.count("delivery_deployment") == len(told) + 1
        assert installation.rows("PRAGMA integrity_check") == [("ok",)]


def test_a_full_library_takes_nothing_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with installed(data) as installation:
        assert installation.manage("collectstatic", "--noinput", "-v0", **PRODUCTION).returncode == 0
        chat.make_rooms(installation)
        with _serving(installation, LIBRARY_DIR=str(disk)) as server:
            server.sign_in_to_admin("boss", chat.PASSWORD)
            content = recording(10.0)
            begun = _upload(server, size=len(content))
            assert begun.status_code == 201, begun.text
            with _full(disk):
                answer = _send(server, begun, content)
                assert answer.status_code == 507
                assert "room" in answer.json()["detail"]
                assert server.json(begun.json()["url"])["offset"] == 0
                assert server.http.get("/content/").status_code == 200
            assert _send(server, begun, content).json()["offset"] == len(content)
            assert server.http.post(begun.json()["finish"], headers=_ours(server)).status_code == 200
        kept = [path for path in disk.rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in kept] == [content]


@contextmanager
def _serving(installation: Installation, **settings: str) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    environment = installation.environment(**{**PRODUCTION, "PORT": str(port), **settings})
    log = installation.data_dir / "uvicorn.log"
    command.append("bambisleep.asgi:application")
    with running(command, environment=environment, port=port, log=log, ready="/health/ready") as server:
        yield server


@contextmanager
def _full(disk: Path) -> Iterator[None]:
    """Nothing fits any more, until the end of the block."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filling.unlink()


def _tell(server: Server, token: str, number: int) -> httpx.Response:
    authored = datetime.now(UTC).isoformat()
    commits = [{"sha": f"{number:020x}{commit:020x}", "authored_at": authored} for commit in range(COMMITS)]
    body = {"version": f"1.{number}", "sha": f"{number:040x}", "commits": commits}
    return server.http.post("/dora/deployments", json=body, headers={"Authorization": f"Bearer {token}"})


def _ours(server: Server) -> dict[str, str]:
    return {"X-CSRFToken": server.http.cookies["csrftoken"], "Referer": server.url, "Accept": "application/json"}


def _upload(server: Server, *, size: int) -> httpx.Response:
    form = {"name": "silence.wav", "size": str(size), "role": "main"}
    return server.http.post("/admin/content/mediafile/uploads/", data=form, headers=_ours(server))


def _send(server: Server, begun: httpx.Response, content: bytes) -> httpx.Response:
    headers = {**_ours(server), "Upload-Offset": "0", "Content-Type": "application/octet-stream"}
    return server.http.patch(begun.json()["url"], content=content, headers=headers)
