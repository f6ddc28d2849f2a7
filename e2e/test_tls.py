"""nginx-tls.conf over real TLS: what is negotiated, what is redirected, and what is the same as without."""

import asyncio
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import websockets

from e2e.chat import make_rooms
from e2e.nginx import ACCELERATED, BEHIND_NGINX
from e2e.servers import Installation, Server, free_port, running, wait_for
from e2e.tls import NAME, Door, nginx_with_tls

pytestmark = [pytest.mark.needs("nginx", "openssl", "curl"), pytest.mark.once]

NAMES = {"ALLOWED_HOSTS": f"{NAME},127.0.0.1", "PUBLIC_URL": f"https://{NAME}"}
SETTINGS = {**BEHIND_NGINX, **ACCELERATED, **NAMES, "HTTPS": "true"}


@pytest.fixture(scope="module")
def process(installation: Installation) -> Iterator[Server]:
    """A production process that knows it is behind TLS."""
    make_rooms(installation, **BEHIND_NGINX)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-access-log", "bambisleep.asgi:application"]
    environment = installation.environment(PORT=str(port), **SETTINGS)
    log = installation.data_dir / "tls.log"
    with running(command, environment=environment, port=port, log=log, ready="/health") as process:
        yield process


@pytest.fixture(scope="module")
def door(process: Server, installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """nginx before it."""
    with nginx_with_tls(tmp_path_factory.mktemp("tls"), process, library=installation.data_dir / "library") as found:
        yield found


def test_browsers_get_http_2_and_the_newest_tls(door: Door) -> None:
    with closing(door.connection("h2", "http/1.1")) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() == "TLSv1.3"


def test_a_page_comes_by_http_2_with_its_headers(door: Door) -> None:
    address = ["--cacert", str(door.certificate), "--resolve", f"{NAME}:{door.tls_port}:127.0.0.1"]
    command = ["curl", "-sS", "-D", "-", "-o", "/dev/null", "--noproxy", "*", *address]

    done = subprocess.run(
        [*command, f"https://{NAME}:{door.tls_port}/dora"], capture_output=True, text=True, timeout=30
    )

    head = done.stdout.lower()
    assert head.startswith("http/2 200"), done.stdout + done.stderr
    assert re.findall("^strict-transport-security: (.*)$", head, re.MULTILINE) == [
        "max-age=31536000; includesubdomains"
    ]
    assert re.search(r"^server: nginx\r?$", head, re.MULTILINE), "it tells no version"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(door: Door, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(door.certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises(ssl.SSLError):
        door.connection(context=context)


def test_every_cipher_of_tls_1_2_has_forward_secrecy(door: Door) -> None:
    context = ssl.create_default_context(cafile=str(door.certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with closing(door.connection(context=context)) as connection:
        assert str(connection.cipher()).startswith("('ECDHE-ECDSA-")

    context.set_ciphers("AES128-SHA:AES256-SHA:AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        door.connection(context=context)


@pytest.mark.parametrize("name", [None, "another.example"])
def test_without_our_name_there_is_no_handshake(door: Door, name: str | None) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        door.connection(name=name, context=context)


def test_another_host_in_the_request_is_refused_and_counted(door: Door, process: Server) -> None:
    before = process.metric("security_events_total", type="bad_host")

    answer = door.say("GET /dora HTTP/1.1\nHost: evil.example\nConnection: close\n\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert process.metric("security_events_total", type="bad_host") == before + 1


@pytest.mark.parametrize("host", [NAME, "evil.example"])
def test_without_tls_one_is_sent_to_our_name(door: Door, host: str) -> None:
    answer = door.plain.http.get("/plans?from=mail", headers={"Host": host})

    assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{NAME}/plans?from=mail")


@pytest.mark.parametrize("path", ["/metrics", "/alerts", "/health", "/ws/chat/lobby/", "/auth/login"])
def test_without_tls_there_is_nothing_else(door: Door, path: str) -> None:
    assert door.plain.http.get(path).status_code == 301
    assert door.plain.http.post(path, json={}).status_code == 301


def test_an_authority_that_gives_certificates_finds_its_challenge(door: Door) -> None:
    assert door.plain.http.get("/.well-known/acme-challenge/ready").text == "the answer"
    assert door.plain.http.get("/.well-known/acme-challenge/other").status_code == 404


@pytest.mark.parametrize("over_tls", [True, False])
def test_an_attempt_to_climb_is_reported(door: Door, process: Server, over_tls: bool) -> None:
    before = process.metric("security_events_total", type="directory_traversal")
    request = f"GET /../../etc/passwd HTTP/1.1\nHost: {NAME}\nConnection: close\n\n"

    answer = door.say(request) if over_tls else door.plain.raw(request.replace("\n", "\r\n").encode())

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert process.metric("security_events_total", type="directory_traversal") == before + 1


def test_a_stranger_sees_no_metrics(door: Door) -> None:
    address = ["--cacert", str(door.certificate), "--resolve", f"{NAME}:{door.tls_port}:127.0.0.1"]
    command = ["curl", "-sS", "--noproxy", "*", "--interface", "127.0.0.77", *address, "-w", "%{http_code}"]
    for path in ("/metrics", "/alerts"):
        done = subprocess.run(
            [*command, f"https://{NAME}:{door.tls_port}{path}"], capture_output=True, text=True, timeout=30
        )
        assert done.stdout.endswith("404"), done.stdout + done.stderr
        assert "http_requests_total" not in done.stdout


def test_a_chat_is_joined_over_tls_by_a_page_of_this_site_alone(door: Door) -> None:
    async def join(origin: str) -> dict[str, object]:
        context = ssl.create_default_context(cafile=str(door.certificate))
        address = f"wss://{NAME}/ws/chat/lobby/"
        where = {"host": "127.0.0.1", "port": door.tls_port}
        async with websockets.connect(address, ssl=context, origin=websockets.Origin(origin), **where) as socket:
            answer: dict[str, object] = json.loads(await asyncio.wait_for(socket.recv(), 20))
            return answer

    assert asyncio.run(join(f"https://{NAME}"))["type"]
    with pytest.raises(websockets.InvalidStatus, match="403"):
        asyncio.run(join(f"http://{NAME}"))


def test_the_log_tells_the_client_and_that_it_was_tls(door: Door, process: Server) -> None:
    told = f"Host: {NAME}\nX-Forwarded-For: 203.0.113.9\nX-Request-ID: over-tls\nConnection: close"
    door.say(f"GET /nowhere HTTP/1.1\n{told}\n\n")

    line = wait_for(lambda: next((x for x in process.output.splitlines() if "over-tls" in x), ""), "it is logged")
    assert json.loads(line)["client"] == "127.0.0.1"


def test_the_deployed_file_is_as_nginx_wants_it(door: Door, tmp_path: Path) -> None:
    command = ["nginx", "-t", "-c", str(door.directory / "nginx.conf"), "-p", str(door.directory)]
    done = subprocess.run([*command, "-e", str(tmp_path / "log")], capture_output=True, text=True, timeout=20)

    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr
