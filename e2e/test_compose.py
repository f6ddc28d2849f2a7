"""docker-compose.monitoring.yml: no engine runs here, so it is held by the specification's schema and by its promises,
and node exporter's mounts by making them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.servers import ROOT, free_port

COMPOSE = ROOT / "docker-compose.monitoring.yml"
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, with every variable at its default."""
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    assert "${" not in text, "each variable has a default, so that an empty .env works"
    return dict(yaml.safe_load(text))


def test_it_is_valid_by_the_compose_specification() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]

    done = _in_venv(command)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_that_is_not_valid_is_found(tmp_path: Path) -> None:
    broken = tmp_path / "compose.yml"
    broken.write_text(COMPOSE.read_text().replace("read_only: true", "read_only: 3", 1))

    assert _in_venv(["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(broken)]).returncode != 0


def test_every_mounted_file_is_there(compose: dict[str, Any]) -> None:
    sources = [volume.split(":")[0] for service in _services(compose) for volume in service.get("volumes", ())]
    local = [source for source in sources if source.startswith("./")]

    assert len(local) >= 6
    assert [source for source in local if not (ROOT / source).exists()] == []
    assert [source for source in sources if source.startswith("/proc/") and not Path(source).exists()] == []
    named = {source for source in sources if not source.startswith((".", "/"))}
    assert named == set(compose["volumes"])


def test_the_four_listen_on_the_seed_s_ports_and_on_loopback_alone(compose: dict[str, Any]) -> None:
    published = {name: service.get("ports") for name, service in compose["services"].items() if "ports" in service}

    assert published == {
        "prometheus": ["127.0.0.1:9090:9090"],
        "alertmanager": ["127.0.0.1:9093:9093"],
        "node-exporter": ["127.0.0.1:9100:9100"],
        "grafana": ["127.0.0.1:3001:3000"],
    }


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    for service in _services(compose):
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])


def test_what_runs_on_has_a_restart_policy_a_health_check_and_limits(compose: dict[str, Any]) -> None:
    for name in ("prometheus", "alertmanager", "node-exporter", "grafana"):
        service = compose["services"][name]
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["mem_limit"], name


def test_nothing_runs_with_more_rights_than_it_needs(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
    assert compose["services"]["alerts-token"]["cap_add"] == ["CHOWN", "DAC_OVERRIDE"]


def test_configuration_is_mounted_to_be_read_only(compose: dict[str, Any]) -> None:
    for service in _services(compose):
        for volume in service.get("volumes", ()):
            if volume.startswith(("./deploy", "/")):
                assert volume.endswith(":ro"), volume


def test_prometheus_keeps_ninety_days(compose: dict[str, Any]) -> None:
    flags = compose["services"]["prometheus"]["command"]

    assert "--storage.tsdb.retention.time=90d" in flags
    assert any(flag.startswith("--storage.tsdb.retention.size=") for flag in flags)


def test_grafana_opens_with_the_seed_s_password(compose: dict[str, Any]) -> None:
    assert compose["services"]["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "admin"


def test_no_secret_stands_in_it() -> None:
    assert not re.search(r"hooks\.slack\.com/services/T\w+/B\w+/\w+|bsd_\w{8}", COMPOSE.read_text())


@pytest.mark.needs("prometheus-node-exporter", "unshare")
def test_node_exporter_in_a_container_shows_the_host_s_network_and_disks(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    """The container's mounts, made by hand in namespaces of their own, where no interface but a silent one exists."""
    port = free_port()
    service = compose["services"]["node-exporter"]
    flags = [flag.replace("$$", "$").replace("/host/", f"{tmp_path}/host/") for flag in service["command"]]
    script = ["set -e", "ip link set lo up"]
    for volume in service["volumes"]:
        outside, inside = volume.removesuffix(":ro").split(":")
        target = f"{tmp_path}{inside}"
        make = f"mkdir -p {target}" if Path(outside).is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
        script.append(f"{make}; mount --bind {outside} {target}")
    script.append('exec "$@"')
    (tmp_path / "enter.sh").write_text("\n".join(script))
    namespaces = ["unshare", "--mount", "--net", "sh", str(tmp_path / "enter.sh")]
    scrape = ["curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
    exporter = f"prometheus-node-exporter {' '.join(map(_quoted, flags))} --web.listen-address=127.0.0.1:{port}"
    inner = f"{exporter} 2>{tmp_path}/log & {' '.join(scrape)} http://127.0.0.1:{port}/metrics; kill $!"

    done = subprocess.run([*namespaces, "sh", "-c", inner], capture_output=True, text=True, timeout=60)

    host = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    host = {name for name in host if not re.match(r"lo$|veth|br-|docker", name)}
    shown = set(re.findall(r'^node_network_receive_bytes_total\{device="([^"]+)"\}', done.stdout, re.MULTILINE))
    assert host, "this machine has a network"
    assert shown == host, (tmp_path / "log").read_text()
    assert re.search(r'^node_filesystem_avail_bytes\{.*mountpoint="/"\} [1-9]', done.stdout, re.MULTILINE)
    memory = re.search(r"^node_memory_MemTotal_bytes (\S+)", done.stdout, re.MULTILINE)
    total = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    assert memory
    assert total
    assert float(memory[1]) == int(total[1]) * 1024
    assert re.search(r'^node_cpu_seconds_total\{cpu="0",mode="idle"\} [1-9]', done.stdout, re.MULTILINE)


def _services(compose: dict[str, Any]) -> list[dict[str, Any]]:
    return list(compose["services"].values())


def _in_venv(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment."""
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(program), *command[1:]], capture_output=True, text=True, timeout=60)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
