"""`manage.py serve` by itself: where it listens, what it refuses, and how it ends."""

import hashlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx

from e2e import restarting
from e2e.servers import PRODUCTION, ROOT, Installation, free_port, running, wait_for

SERVE = [sys.executable, str(ROOT / "manage.py"), "serve"]


def test_told_to_stop_it_answers_for_a_while_and_says_it_is_not_ready(installation: Installation) -> None:
    with installation.serving("serve", **PRODUCTION, DRAIN_SECONDS="3") as site:
        assert site.json("/health/ready")["status"] == "ok"
        assert "server" not in site.http.get("/health/live").headers
        before = installation.count("observability_security_event")

        site.process.send_signal(signal.SIGTERM)
        wait_for(lambda: site.http.get("/health/ready").status_code == 503, "it is not ready")

        answer = site.http.get("/health/ready")
        assert answer.json()["checks"]["draining"]["status"] == "failed"
        live = site.http.get("/health/live")
        assert (live.status_code, live.headers["connection"]) == (200, "close")
        page = site.http.get("/dora")
        assert (page.status_code, page.headers["connection"]) == (200, "close")
        errors = site.metric("http_requests_errors_total", type="server_error")
        assert b" 503 " in site.raw(_handshake()).partition(b"\r\n")[0]
        handshake = {"method": "GET", "route": "/ws/chat/<slug:slug>/", "status": "503"}
        assert wait_for(lambda: site.metric("http_requests_total", **handshake), "the handshake is counted") == 1
        assert site.metric("http_requests_errors_total", type="server_error") == errors, "another process takes it"
        assert b" 400 " in site.raw(_climb()).partition(b"\r\n")[0]
        assert site.process.wait(30) == 0
        assert '"in_good_order": true' in site.output
        assert "Traceback" not in site.output
        assert installation.count("observability_security_event") == before + 1, "it was stored before the end"


def test_a_request_after_a_download_that_outlasted_the_draining_is_answered(installation: Installation) -> None:
    """Its answer could not say that the connection will be closed: a proxy keeps it, and sends more into it."""
    film = restarting.make_film(installation, size_bytes=16 * 2**20)
    with installation.serving("serve", **PRODUCTION, DRAIN_SECONDS="6", KEEP_ALIVE_SECONDS="60") as site:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        with closing(connection):
            connection.request("GET", film.address)
            download = connection.getresponse()
            site.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not _listens(site.port), "it has drained")

            assert hashlib.sha256(download.read()).hexdigest() == film.sha256
            time.sleep(0.5)
            connection.request("GET", "/health/live")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert site.process.wait(10) == 0, "nobody is left"


def test_in_production_it_has_read_its_templates_before_anybody_asks(installation: Installation) -> None:
    code = """
import bambisleep.asgi
from django.template import engines
(loader,) = engines["django"].engine.template_loaders
print(*sorted(loader.get_template_cache))
"""
    command = [sys.executable, "-c", code]
    environment = installation.environment(**PRODUCTION)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    assert {"base.html", "account/login.html", "admin/base_site.html"} <= set(done.stdout.split()), done.stderr


def test_a_second_signal_ends_it_at_once(installation: Installation) -> None:
    with installation.serving("serve", **PRODUCTION, DRAIN_SECONDS="250") as site:
        site.process.send_signal(signal.SIGTERM)
        wait_for(lambda: site.http.get("/health/ready").status_code == 503, "it drains")

        assert site.interrupt(seconds=30) == 1


def test_it_listens_on_a_unix_socket_and_tells_systemd(installation: Installation, tmp_path: Path) -> None:
    path, told = tmp_path / "site.sock", tmp_path / "notify.sock"
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(path))  # as by a process that died
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(told))
        systemd.settimeout(60)
        settings = {**PRODUCTION, "DRAIN_SECONDS": "0", "NOTIFY_SOCKET": str(told), "WATCHDOG_USEC": "5000000"}
        log = (tmp_path / "serve.log").open("wb")
        command = [*SERVE, "--uds", str(path)]
        with log, subprocess.Popen(command, env=installation.environment(**settings), stderr=log) as process:
            assert systemd.recv(100) == b"READY=1"
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), trust_env=False) as client:
                assert client.get("http://localhost/health/live").status_code == 200
            assert systemd.recv(100) == b"WATCHDOG=1"
            process.terminate()
            assert process.wait(30) == 0
            states = {systemd.recv(100)}
            while b"STOPPING=1" not in states:
                states.add(systemd.recv(100))
            assert states <= {b"WATCHDOG=1", b"STOPPING=1"}


def test_an_idle_connection_is_kept_for_as_long_as_the_settings_say(installation: Installation) -> None:
    with installation.serving("serve", **PRODUCTION, DRAIN_SECONDS="0", KEEP_ALIVE_SECONDS="2") as site:
        with closing(socket.create_connection(("127.0.0.1", site.port), timeout=30)) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
            answered_at = time.monotonic()
            while connection.recv(65_536):
                pass
        assert 1.5 < time.monotonic() - answered_at < 4.5, "uvicorn's own default is 5 s"


def test_it_refuses_in_a_sentence(installation: Installation) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        refused = installation.manage("serve", "--port", str(port), **PRODUCTION)
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("Choose another with --host and --port.")

    development = installation.manage("serve", "--port", str(free_port()))
    assert development.returncode == 1
    assert "set DEBUG=false" in development.stderr

    nothing = installation.manage("serve", "--fd", "77", **PRODUCTION)
    assert nothing.returncode == 1
    assert "Descriptor 77 is no socket" in nothing.stderr
    assert "Traceback" not in refused.stderr + development.stderr + nothing.stderr


def test_before_migrations_it_says_so_and_is_not_ready(blank_installation: Installation) -> None:
    port = free_port()
    log = blank_installation.data_dir / "serve.log"
    environment = blank_installation.environment(**PRODUCTION, PORT=str(port), DRAIN_SECONDS="0")
    with running(SERVE, environment=environment, port=port, log=log, ready="/health/live") as site:
        assert site.http.get("/health/ready").json()["checks"]["migrations"]["status"] == "failed"
        wait_for(lambda: "migrations are not applied: run manage.py migrate." in site.output, "it has warned")


def _listens(port: int) -> bool:
    with closing(socket.socket()) as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _handshake() -> bytes:
    lines = ["GET /ws/chat/lobby/ HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    return "\r\n".join(lines).encode()


def _climb() -> bytes:
    return b"GET /content/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
