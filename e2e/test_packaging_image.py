"""Dockerfile and docker-compose.yml. No engine runs here: linters, schemas, and every word that names something of the
tree held against the tree."""

import ipaddress
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.nginx import DEPLOYED
from e2e.packaging import PORT, known_variables, refused, stopping_seconds
from e2e.servers import ROOT

pytestmark = pytest.mark.once

DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    (line.split(None, 1)[0], line.split(None, 1)[1])
    for line in re.sub(r"\\\n|^ *#.*\n", "", DOCKERFILE, flags=re.MULTILINE).splitlines()
    if line.strip()
]
COMPOSE = ROOT / "docker-compose.yml"
# Names that belong to others: Python, pip, PostgreSQL's and nginx's images.
OTHERS = {
    *("PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK"),
    *("POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE"),
}
# What the image says, and what has its place in the containers whatever .env says.
OF_THE_IMAGE = {"DEBUG", "DATA_DIR", "STATIC_DIR", "PORT", "REVISION", "LIBRARY_DIR", "BACKUP_DIR", "HTTPS"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, with every variable at its default."""
    text = re.sub(r"\$\{[A-Z_]+:?-([^}]*)\}", r"\1", COMPOSE.read_text())
    assert "${" not in text, "each variable has a default, so that an empty .env works"
    return dict(yaml.safe_load(text))


def _values(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def _last_stage() -> list[tuple[str, str]]:
    begins = max(number for number, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM")
    return INSTRUCTIONS[begins:]


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("hadolint"))
    broken = tmp_path / "Dockerfile"
    broken.write_text(f"{DOCKERFILE}RUN cd /app && sudo true\n")

    assert subprocess.run([program, str(broken)], capture_output=True, timeout=60).returncode == 1
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned_to_a_patch_and_known_to_work() -> None:
    base = re.search(r"^ARG PYTHON=python:(3\.\d+)\.\d+-slim-bookworm$", DOCKERFILE, re.MULTILINE)

    assert base, "its clients of PostgreSQL are Debian's, of the same version as the compose file's database"
    assert set(_values("FROM")) == {"${PYTHON} AS packages", "${PYTHON} AS site"}


def test_it_runs_as_nobody_that_the_host_knows() -> None:
    user = [rest for name, rest in _last_stage() if name == "USER"]

    assert user == ["10001:10001"]
    assert "--uid 10001" in DOCKERFILE
    assert not re.search(r"chmod .*777|sudo", DOCKERFILE)


def test_what_is_copied_is_there_and_no_secret_can_be() -> None:
    assert [rest for rest in _values("COPY") if "--from" not in rest] == ["requirements.txt ./", ". ."]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".env", "secrets/", "var/", ".git/", ".venv/", "docker-compose*.yml"} <= set(ignored)
    runtime = {"manage.py", "bambisleep", "observability", "accounts", "payments", "content", "realtime"}
    assert not runtime & {name.rstrip("/") for name in ignored}


def test_what_it_starts_can_be_started() -> None:
    (command,) = _values("CMD")

    words = json.loads(command)
    assert refused(words) == ""
    assert words[2:] == ["serve", "--host", "0.0.0.0", "--port", str(PORT)]
    assert _values("EXPOSE") == [str(PORT)]
    assert "python manage.py collectstatic --noinput" in DOCKERFILE


def test_its_variables_are_the_settings_own() -> None:
    named = {word.partition("=")[0] for rest in _values("ENV") for word in shlex.split(rest)}

    assert {"DATA_DIR", "STATIC_DIR", "REVISION", "DEBUG"} <= named
    assert named - known_variables() <= OTHERS


@pytest.mark.parametrize("where", ["image", "compose"])
def test_its_health_is_asked_without_curl(where: str, compose: dict[str, Any]) -> None:
    if where == "image":
        (check,) = _values("HEALTHCHECK")
        words = json.loads(check.partition("CMD ")[2])
    else:
        words = compose["services"]["site-1"]["healthcheck"]["test"][1:]

    done = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, timeout=20, env={"PATH": os.environ["PATH"]}
    )
    assert words[0] == "python"
    assert f"http://127.0.0.1:{PORT}/health/live" in words[2]
    assert done.returncode in (0, 1), "it is valid Python: nothing listens, or something does"
    assert "SyntaxError" not in done.stderr


def test_it_carries_labels_and_a_bill_of_materials() -> None:
    for label in ("revision", "version", "licenses", "title"):
        assert f"org.opencontainers.image.{label}=" in DOCKERFILE
    assert "cyclonedx-py environment" in DOCKERFILE
    assert "COPY --from=packages /sbom /usr/share/sbom" in DOCKERFILE


def test_compose_is_valid_by_the_specification() -> None:
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [program, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_two_processes_are_found_as_two_targets(compose: dict[str, Any]) -> None:
    monitoring = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["networks"]["monitoring"]
    (found,) = (
        job["dns_sd_configs"][0]
        for job in yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
        if job["job_name"] == "bambisleep"
    )
    assert (found["names"], found["port"]) == (["bambisleep"], PORT)
    assert compose["networks"]["monitoring"]["name"] == monitoring["name"] == "bambisleep-monitoring"
    named = [
        name
        for name, service in compose["services"].items()
        if isinstance(service["networks"], dict) and service["networks"]["monitoring"]["aliases"] == ["bambisleep"]
    ]
    assert named == ["site-1", "site-2"]


def test_nothing_in_compose_has_more_rights_than_it_needs(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert not service.get("privileged"), name
        if name != "database":
            assert "cap_add" not in service, name


def test_nginx_alone_can_be_reached(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}

    assert published == {"nginx": ["80:80", "443:443"]}
    outside = compose["networks"]["outside"]
    assert outside["enable_ipv6"] is True, "else all who come by IPv6 have the bridge's address"
    (pool,) = outside["ipam"]["config"]
    assert ipaddress.ip_network(pool["subnet"]).is_private
    assert compose["networks"]["inside"]["internal"] is True
    for name in ("database", "redis", "migrate"):
        assert compose["services"][name]["networks"] == ["inside"]


def test_images_are_pinned_and_the_database_is_what_the_image_s_pg_dump_can_read(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}

    for name in ("database", "redis", "nginx"):
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-bookworm", images[name]), images[name]
    assert images["database"].startswith("postgres:15."), "Debian 12 has PostgreSQL 15's client"
    nginx = tuple(map(int, re.findall(r"\d+", images["nginx"])))
    assert nginx >= (1, 27, 3), "`resolve` in an upstream"


def test_tables_come_first_and_processes_have_time_to_end(compose: dict[str, Any]) -> None:
    for name in ("site-1", "site-2"):
        service = compose["services"][name]
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert int(service["stop_grace_period"].removesuffix("s")) > stopping_seconds()
        assert service["restart"] == "unless-stopped"
    assert compose["services"]["migrate"]["restart"] == "no"
    assert refused(compose["services"]["migrate"]["command"]) == ""


def test_every_variable_secret_and_file_of_compose_exists(compose: dict[str, Any]) -> None:
    used: set[str] = set()
    for service in compose["services"].values():
        used |= set(service.get("environment", {}))
        for secret in service.get("secrets", ()):
            assert secret in compose["secrets"]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert source.startswith("./secrets/") or (ROOT / source).exists(), source
            else:
                assert source in compose["volumes"], source
    assert "DATABASE_URL_FILE" in used
    assert used - known_variables() <= OTHERS
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "/secrets/" in (ROOT / ".gitignore").read_text().split()


def test_whatever_env_may_say_reaches_the_site(compose: dict[str, Any]) -> None:
    of_the_site = (ROOT / ".env.example").read_text().partition("# --- Containers")[0]
    listed = set(re.findall(r"^([A-Z_]+)=", of_the_site, re.MULTILINE))
    for name in ("site-1", "site-2", "migrate", "manage"):
        told = {variable.removesuffix("_FILE") for variable in compose["services"][name]["environment"]}
        assert told == listed - OF_THE_IMAGE, name
    (block,) = re.findall(r"^  environment: &environment\n((?:    .*\n)+)", COMPOSE.read_text(), re.MULTILINE)
    told = re.findall(r"^ +([A-Z_]+): \$\{([A-Z_]+)", block, re.MULTILINE)
    mixed_up = [pair for pair in told if len(set(pair)) == 2 and pair != ("ALLOWED_HOSTS", "DOMAIN")]
    assert mixed_up == []


def test_no_secret_stands_in_it() -> None:
    assert not re.search(
        r"(sk|whsec|bsd)_\w{8}|password: *\S+[^d]$|postgres://\w+:\w+@", COMPOSE.read_text(), re.MULTILINE
    )


@pytest.mark.needs("nginx")
def test_nginx_in_its_container_is_configured_as_on_a_host(tmp_path: Path) -> None:
    """Its start script runs with a program in nginx' place, and Debian's own nginx reads what came of it."""
    stand_in = tmp_path / "stand-in"
    stand_in.write_text('#!/bin/sh\necho "$@"\n')
    stand_in.chmod(0o755)
    environment = {
        "PATH": os.environ["PATH"],
        "DOMAIN": "club.example",
        "RUN_DIR": str(tmp_path),
        "NGINX": str(stand_in),
    }

    def called(*words: str) -> list[str]:
        command = ["sh", str(DEPLOYED / "container.sh"), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20).stdout.split()

    common = ["-c", f"{tmp_path}/nginx.conf", "-e", "/dev/stderr"]
    assert called() == [*common, "-g", "daemon", "off;"]
    (tmp_path / "nginx.conf").write_text("of the version before")
    assert called("reload") == [*common, "-s", "reload"]
    text = (tmp_path / "nginx.conf").read_text()
    assert "server_name club.example;" in text
    assert "members.example" not in re.sub(r"#.*", "", text)
    assert "user www-data" not in text
    upstream = (tmp_path / "bambisleep" / "upstream.conf").read_text()
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert set(re.findall(r"server ([\w-]+):(\d+)", upstream)) == {("site-1", "3000"), ("site-2", "3000")}
    assert {"site-1", "site-2"} <= services.keys()
    blocks = set(re.findall(r"^upstream (\w+)", (DEPLOYED / "upstream.conf").read_text(), re.MULTILINE))
    assert set(re.findall(r"^upstream (\w+)", upstream, re.MULTILINE)) == blocks
