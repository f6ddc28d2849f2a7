"""Signing up and in while Redis and the mail server are gone, or take a connection and never answer."""

import re
import socket
import socketserver
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.redis import redis
from e2e.servers import PRODUCTION, Installation, Server, free_port, wait_for

PHRASE = "a long enough phrase"
pytestmark = pytest.mark.needs("redis-server")


class _Taker(socketserver.StreamRequestHandler):
    """As much of SMTP as a mail takes."""

    def handle(self) -> None:
        server: Any = self.server
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline().upper().strip():
            if line == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += self.rfile.readline()
                server.taken.append(text.decode())
            self.wfile.write(b"221 bye\r\n" if line == b"QUIT" else b"250 well\r\n")


def test_people_sign_up_and_in_while_redis_and_the_mail_server_are_gone_or_hang(
    installation: Installation, tmp_path: Path
) -> None:
    mail_port = free_port()
    installation.collect_static()
    with ExitStack() as stack:
        cache = stack.enter_context(redis(tmp_path))
        settings = {**PRODUCTION, "REDIS_URL": cache.url, "EMAIL_URL": f"smtp://127.0.0.1:{mail_port}"}
        server = stack.enter_context(installation.serving("uvicorn", **settings))
        _walk(server, "there")
        with cache.hung(), socket.create_server(("127.0.0.1", mail_port)):  # takes a connection, says nothing
            _walk(server, "hung")
        with cache.away():
            _walk(server, "gone")
        assert server.metric("cache_failovers_total") > 0
        assert installation.count("accounts_outgoingmail") == 3

    post_office: Any = socketserver.ThreadingTCPServer(("127.0.0.1", mail_port), _Taker, bind_and_activate=False)
    post_office.allow_reuse_address, post_office.daemon_threads, post_office.taken = True, True, []
    post_office.server_bind()
    post_office.server_activate()
    threading.Thread(target=post_office.serve_forever, daemon=True).start()
    try:
        _make_due(installation)
        with installation.serving("uvicorn", **settings):
            wait_for(lambda: len(post_office.taken) == 3, "every mail has arrived")
    finally:
        post_office.shutdown()
        post_office.server_close()
    assert sorted(re.search(r"To: (\w+)@", text)[1] for text in post_office.taken) == ["gone", "hung", "there"]  # type: ignore[index]


def _walk(server: Server, name: str) -> None:
    """Sign up with a browser, sign in to the API, then out and in again with a browser; each answer within seconds."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=5, follow_redirects=True) as browser:
        account = {"username": name, "email": f"{name}@example.org", "password1": PHRASE}
        assert _send(browser, "/accounts/signup/", account).status_code == 200
        assert browser.get("/accounts/data/").url.path == "/accounts/data/"
        _send(browser, "/accounts/logout/", {})
        assert browser.get("/accounts/data/").url.path == "/accounts/login/"
        _send(browser, "/accounts/login/", {"login": name, "password": PHRASE})
        assert browser.get("/accounts/data/").url.path == "/accounts/data/"
        answer = browser.post("/auth/login", json={"username": name, "password": PHRASE})
        assert answer.status_code == 200
        assert browser.post("/auth/refresh", json={"refresh": answer.json()["refresh"]}).status_code == 200


def _send(browser: httpx.Client, path: str, fields: dict[str, str]) -> httpx.Response:
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(path).text)
    assert token
    return browser.post(path, data={"csrfmiddlewaretoken": token[1], **fields})


def _make_due(installation: Installation) -> None:
    code = (
        "from accounts.models import OutgoingMail; from django.utils import timezone;"
        "OutgoingMail.objects.update(next_try_at=timezone.now())"
    )
    done = installation.manage("shell", "-v0", "-c", code, **PRODUCTION)
    assert done.returncode == 0, done.stderr
