"""manage.py start: what `make run` does once the packages are installed."""

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.servers import PRODUCTION, Installation, Server, installed
from observability.http.docker import bridge_address


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One on which nothing had run, for those tests that leave it as it is."""
    with installed(tmp_path_factory.mktemp("data"), migrated=False) as found:
        yield found


@pytest.fixture(scope="module")
def _started(first: Installation) -> Iterator[Server]:
    with first.serving("start") as found:
        yield found


@pytest.fixture
def server(_started: Server) -> Server:
    """The site after its first start; nobody is signed in."""
    _started.http.cookies.clear()
    return _started


def test_it_serves_the_operator_s_three_addresses(server: Server) -> None:
    assert "http_requests_total" in server.http.get("/metrics").text
    assert server.json("/health")["status"] == "ok"
    assert server.json("/dora")["service"] == "bambisleep"


def test_it_prints_where_things_are(server: Server) -> None:
    base = f"http://localhost:{server.port}"
    for path in ("/", "/admin/", "/metrics", "/health", "/dora", "/api/docs", "/chat/"):
        assert f"{base}{path}" in server.output


def test_it_makes_a_superuser_whose_password_only_the_owner_can_read(server: Server, first: Installation) -> None:
    file = first.data_dir / "admin-password"
    home = server.sign_in_to_admin("admin", file.read_text().strip())

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert home.status_code == 200
    assert home.url.path == "/admin/"
    assert "Deployments" in home.text


def test_it_shows_no_password(server: Server, first: Installation) -> None:
    assert (first.data_dir / "admin-password").read_text().strip() not in server.output


def test_it_refuses_another_password(server: Server) -> None:
    assert server.sign_in_to_admin("admin", "not the password").url.path == "/accounts/login/"


def test_it_listens_on_loopback_and_the_docker_bridge_alone(server: Server) -> None:
    assert _listening_on(server.port) == {"127.0.0.1", *bridge_address()}


def test_a_second_start_prepares_nothing_and_keeps_the_password(blank_installation: Installation) -> None:
    with blank_installation.serving("start") as server:
        assert "Preparing the database" in server.output
    password = (blank_installation.data_dir / "admin-password").read_text()

    with blank_installation.serving("start") as server:
        assert "Preparing the database" not in server.output
        assert "Demo data:" not in server.output
        assert (blank_installation.data_dir / "admin-password").read_text() == password
        assert server.sign_in_to_admin("admin", password.strip()).url.path == "/admin/"


def test_ctrl_c_ends_it_at_once(own_installation: Installation) -> None:
    with own_installation.serving("start") as server:
        server.http.get("/")  # leaves a connection open, as a browser does

        assert server.interrupt(seconds=2) == 0

        assert "Traceback" not in server.output


def test_its_demo_data_is_labelled(server: Server) -> None:
    assert server.metric("deployment_frequency_total", service="demo") == 7
    assert server.metric("deployment_frequency_total", service="bambisleep") == 0
    assert server.json("/dora", service="demo")["measures"]["deployment_frequency"]["samples"] == 7
    assert server.json("/dora")["measures"]["deployment_frequency"]["value"] is None


def test_removed_demo_data_stays_away(own_installation: Installation) -> None:
    with own_installation.serving("start"):
        pass

    assert own_installation.manage("remove_demo").returncode == 0

    with own_installation.serving("start") as server:
        assert not [labels for labels, _ in server.samples("deployment_frequency_total") if labels["service"] == "demo"]
        assert server.json("/dora")["services"] == []
    assert own_installation.count("delivery_deployment") == 0


def test_it_says_so_where_the_port_is_taken(server: Server, first: Installation) -> None:
    second = first.manage("start", PORT=str(server.port))

    assert second.returncode != 0
    said = second.stdout + second.stderr
    assert f"{server.port}" in said
    assert "already in use" in said
    assert "Traceback" not in said
    assert server.json("/health")["status"] == "ok"


def test_it_refuses_to_serve_production(blank_installation: Installation) -> None:
    refused = blank_installation.manage("start", **PRODUCTION)

    assert refused.returncode != 0
    assert "DEPLOYMENT.md" in refused.stderr


def _listening_on(port: int) -> set[str]:
    """The addresses on which this machine listens at `port`; an IPv6 address in the kernel's own spelling."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            local, state = line.split()[1], line.split()[3]
            address, hexadecimal = local.split(":")
            if state == "0A" and int(hexadecimal, 16) == port:  # 0A: LISTEN
                octets = bytes.fromhex(address)[:: -1 if sys.byteorder == "little" else 1]
                found.add(".".join(map(str, octets)) if len(octets) == 4 else address)
    return found
