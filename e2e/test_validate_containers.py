"""What `make validate` says of the containers: Grafana and `docker compose`, neither of which runs on Debian's packages
alone, are played by stand-ins that answer as they do."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from e2e.monitoring import DEPLOY, Monitoring, monitoring
from e2e.servers import Installation, Server, free_port
from e2e.validation import Validation, validate

PROGRAMS = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "promtool", "amtool", "busybox")
pytestmark = [pytest.mark.once, pytest.mark.needs(*PROGRAMS)]

DASHBOARDS = {
    d["uid"]: d for path in (DEPLOY / "grafana" / "dashboards").glob("*.json") if (d := json.loads(path.read_text()))
}
RUNNING = [{"Service": name, "State": "running", "Health": "healthy"} for name in ("prometheus", "grafana")]
MADE = {"Service": "alerts-token", "State": "exited", "Health": "", "ExitCode": 0}


@dataclass(slots=True)
class Grafana:
    """The part of Grafana's API that is asked for."""

    port: int
    password: str = "admin"
    source_is_well: bool = True
    missing: set[str] = field(default_factory=set)  # uids of dashboards

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        """Status and body."""
        if path == "/api/health":
            return 200, {"database": "ok"}
        if authorization != f"Basic {base64.b64encode(f'admin:{self.password}'.encode()).decode()}":
            return 401, {"message": "Invalid username or password"}
        if path == "/api/datasources":
            return 200, [{"uid": "prometheus", "type": "prometheus"}]
        if path == "/api/datasources/uid/prometheus/health":
            return (200, {"status": "OK"}) if self.source_is_well else (400, {"message": "dial tcp: no such host"})
        uid = path.removeprefix("/api/dashboards/uid/")
        if uid in DASHBOARDS and uid not in self.missing:
            return 200, {"dashboard": {"title": DASHBOARDS[uid]["title"]}}
        return 404, {"message": "Dashboard not found"}


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    found = Grafana(0)

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = found.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def stack(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Monitoring]]:
    directory = tmp_path_factory.mktemp("stack")
    with (
        installation.serving("daphne") as site,
        monitoring(directory, application=site.url, site_data=installation.data_dir, source=DEPLOY) as watch,
    ):
        yield site, watch


def test_it_finds_the_six_dashboards_in_grafana(stack: tuple[Server, Monitoring], grafana: Grafana) -> None:
    grafana.password = "a new password"

    found = _validate(stack, grafana, GRAFANA_ADMIN_PASSWORD="a new password")

    assert f"✓ Grafana is ready ({grafana.url}/api/health)" in found.step(1)
    for uid, dashboard in DASHBOARDS.items():
        assert f"✓ Grafana has {dashboard['title']} ({grafana.url}/d/{uid})" in found.step(4)
    assert "✓ Grafana reaches Prometheus" in found.step(4)
    assert "✓ DORA Metrics: Prometheus takes its " in found.step(4)
    assert "✗" not in found.step(4)
    assert "✓ Grafana is healthy" in found.step(7)


def test_a_password_that_is_not_grafanas_is_told_how_to_mend(
    stack: tuple[Server, Monitoring], grafana: Grafana
) -> None:
    grafana.password = "of the first start"

    found = _validate(stack, grafana)

    assert found.status == 1
    assert "✗ Grafana does not let admin in" in found.step(4)
    assert "→ Set GRAFANA_ADMIN_PASSWORD in .env" in found.step(4)


def test_what_grafana_lacks_is_named(stack: tuple[Server, Monitoring], grafana: Grafana) -> None:
    grafana.missing, grafana.source_is_well = {"bambisleep-dora"}, False

    found = _validate(stack, grafana)

    assert found.status == 1
    assert "✗ Grafana does not have DORA Metrics (dora-metrics.json): 404" in found.step(4)
    assert "✗ Grafana does not reach Prometheus: " in found.step(4)
    assert "→ See Grafana's log, and deploy/grafana/provisioning." in found.step(4)


@pytest.mark.parametrize("form", ["an array", "an object a line"])
def test_healthy_containers_pass(stack: tuple[Server, Monitoring], grafana: Grafana, tmp_path: Path, form: str) -> None:
    containers = [*RUNNING, MADE]
    told = json.dumps(containers) if form == "an array" else "\n".join(map(json.dumps, containers))

    found = _validate(stack, grafana, PATH=_docker(tmp_path, told))

    assert "✓ container prometheus is healthy" in found.step(1)
    assert "✓ container grafana is healthy" in found.step(1)
    assert "✓ container alerts-token has done its work" in found.step(1)
    assert "✗" not in found.step(1)


@pytest.mark.parametrize(
    ("container", "word"),
    [
        ({"Service": "grafana", "State": "running", "Health": "unhealthy"}, "unhealthy"),
        ({"Service": "grafana", "State": "restarting", "Health": ""}, "restarting"),
        ({"Service": "grafana", "State": "exited", "Health": "", "ExitCode": 0}, "exited"),
        ({**MADE, "Service": "grafana", "ExitCode": 1}, "exited"),
    ],
)
def test_a_container_that_is_not_well_fails_the_first_step(
    stack: tuple[Server, Monitoring], grafana: Grafana, tmp_path: Path, container: dict[str, Any], word: str
) -> None:
    found = _validate(stack, grafana, PATH=_docker(tmp_path, json.dumps([RUNNING[0], container])))

    assert found.status == 1
    assert f"✗ container grafana is {word}" in found.step(1)
    assert "→ See `docker compose -f docker-compose.monitoring.yml logs grafana`." in found.step(1)


def test_where_there_are_no_containers_that_is_said_and_no_failure(
    stack: tuple[Server, Monitoring], grafana: Grafana, tmp_path: Path
) -> None:
    found = _validate(stack, grafana, PATH=_docker(tmp_path, ""))

    assert "– containers were not looked at: docker-compose.monitoring.yml has none here" in found.step(1)
    assert "✗" not in found.step(1)


def _validate(stack: tuple[Server, Monitoring], grafana: Grafana, **settings: str) -> Validation:
    """Validate as if the stack were containers; nobody's Alertmanager, so that no alert is waited for."""
    site, watch = stack
    addresses = {
        "PROMETHEUS_URL": watch.prometheus.url,
        "NODE_EXPORTER_URL": watch.node_exporter,
        "ALERTMANAGER_URL": watch.alertmanager,
        "GRAFANA_URL": grafana.url,
    }
    nowhere = f"http://127.0.0.1:{free_port()}"
    options = ("--native", str(watch.directory / "none.json"), "--skip-load", "--app", nowhere)
    return validate(site, watch, *options, **{**addresses, **settings})


def _docker(directory: Path, containers: str) -> str:
    """A PATH on which `docker compose` tells of these containers."""
    (directory / "containers").write_text(containers)
    docker = directory / "docker"
    docker.write_text(
        f"""#!/bin/sh
case "$*" in
  "compose version") echo "Docker Compose version v2.40.0" ;;
  "compose -f "*"docker-compose.monitoring.yml ps --all --format json") cat {directory}/containers ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
"""
    )
    docker.chmod(0o755)
    return f"{directory}:/usr/bin:/bin"
