"""DEPLOYMENT.md: what can run without a host of its own runs, and every name in the rest exists.

`make test-install` runs the blocks marked `host` (e2e/install)."""

import os
import re
import shlex
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import psycopg
import pytest

from e2e.install.guide import GUIDE, Block, blocks
from e2e.packaging import SYSTEMD, known_variables, refused, unit
from e2e.postgresql import postgresql
from e2e.servers import ROOT

pytestmark = pytest.mark.once

TEXT = GUIDE.read_text()
MADE_THERE = (
    "deploy/prometheus/targets/site.yml",
    "deploy/prometheus/certificates/site.yml",
    "deploy/kubernetes/overlays/example/secret.env",
)


def _named(block: Block) -> str:
    return f"line-{block.line}"


@pytest.mark.parametrize("block", blocks(), ids=_named)
def test_every_block_is_valid_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=20)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_blocks_that_run_on_a_host_are_marked() -> None:
    assert len([block for block in blocks() if block.runs_on_a_host]) >= 11
    assert {kind for block in blocks() for kind in block.kinds} == {"host", "network", "compose"}


@pytest.mark.parametrize("block", blocks(), ids=_named)
def test_every_command_of_the_site_exists_with_its_options(block: Block) -> None:
    joined = block.text.replace("\\\n", " ")
    for words in re.findall(r"^(?:bambisleep|docker compose run --rm(?: -T)? manage) (.+)$", joined, re.MULTILINE):
        assert refused(["python", "manage.py", *shlex.split(words.partition(" < ")[0])]) == "", words


def test_every_path_of_the_repository_exists() -> None:
    paths = set(re.findall(r"(?<![\w.-])(?:/opt/bambisleep/)?((?:deploy|docs|e2e)/[\w./*@-]*\w)", TEXT))

    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists() and path not in MADE_THERE] == []


def test_who_reads_of_manage_py_is_told_what_it_is_on_a_host() -> None:
    of_developers = {"change-a-table.md"}
    documents = [ROOT / "SECURITY.md", *(ROOT / "docs" / "how-to").glob("*.md")]
    naming = [path for path in documents if "manage.py " in path.read_text() and path.name not in of_developers]

    assert len(naming) >= 7
    assert [path.name for path in naming if not re.search(r"`bambisleep (…|\w+)[^`]*`", path.read_text())] == []


def test_every_unit_exists() -> None:
    units = set(re.findall(r"\bbambisleep[@-][\w-]*\.(?:service|timer|socket)", TEXT))

    assert len(units) >= 6
    assert [name for name in units if not (SYSTEMD / re.sub(r"@\w+", "@", name)).exists()] == []


def test_a_site_that_is_stopped_is_stopped_whole_and_started_again_as_it_was() -> None:
    commands = "\n".join(block.text for block in blocks())
    (stopped,) = re.findall(r"^systemctl stop (.*bambisleep.*)$", commands, re.MULTILINE)
    patterns = shlex.split(stopped)
    assert stopped in (ROOT / "docs/how-to/back-up.md").read_text()

    enabled = set(re.findall(r"[\w@-]+\.(?:service|timer)", _lines(commands, "systemctl enable --now bambisleep")))
    started = set(re.findall(r"[\w@-]+\.(?:service|timer)", _lines(commands, "systemctl start bambisleep")))
    assert started == enabled - {"bambisleep-monitoring.service"}
    needed = {word.replace("%i", "3001") for word in unit("bambisleep@.service")["Requires"]}
    for name in started | needed:
        assert any(fnmatch(name, pattern) for pattern in patterns), name


def _lines(commands: str, beginning: str) -> str:
    return "\n".join(line for line in commands.splitlines() if line.startswith(beginning))


@pytest.mark.needs("postgresql")
def test_the_database_holds_unicode_whatever_the_host_was_installed_with() -> None:
    commands = re.findall(r'^su postgres -c "(.+)"$', TEXT, re.MULTILINE)
    assert [shlex.split(command)[0] for command in commands] == ["createuser", "createdb"]
    with postgresql(encoding="SQL_ASCII") as server:
        told = {"PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "site"}
        for command in commands:
            subprocess.run(shlex.split(command), env=told, check=True, timeout=60)
        address = server.url.replace("/postgres", "/bambisleep")
        with psycopg.connect(address) as connection:
            found = connection.execute("SELECT current_setting('server_encoding'), length('é')").fetchone()

    assert found == ("UTF8", 1)


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z-]{3,})`", TEXT)) <= targets
    assert "test-install" in targets


def test_every_setting_exists() -> None:
    environment = next(block.text for block in blocks() if "cat > /etc/bambisleep/environment" in block.text)
    named = set(re.findall(r"^([A-Z_]+)=", environment, re.MULTILINE))

    assert {"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN", "TRUSTED_PROXIES"} <= named
    assert named <= known_variables()


def test_every_link_within_it_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^##+ (.+)$", TEXT, re.MULTILINE)
    }

    links = re.findall(r"\]\(#([\w-]+)\)", TEXT)
    assert len(links) > 8
    assert [link for link in links if link not in headings] == []


@pytest.mark.needs("openssl")
def test_what_containers_need_is_made_as_written(tmp_path: Path) -> None:
    (block,) = (block for block in blocks() if "compose" in block.kinds)
    environment = {"PATH": os.environ["PATH"], "DOMAIN": "members.example"}

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    compose = (ROOT / "docker-compose.yml").read_text()
    for path in re.findall(r"file: \./(secrets/\w+)", compose):
        assert (tmp_path / path).read_text().strip()
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o640
    password = (tmp_path / "secrets/database_password").read_text().strip()
    assert f"bambisleep:{password}@database:5432" in (tmp_path / "secrets/database_url").read_text()
    assert {"fullchain.pem", "privkey.pem"} == {path.name for path in (tmp_path / "secrets/tls").iterdir()}
    written = set(re.findall(r"^([A-Z_]+)=.", (tmp_path / ".env").read_text(), re.MULTILINE))
    assert written == {"DOMAIN", "METRICS_TOKEN", "ALERTS_TOKEN", "ALERTS_WEBHOOK_URL"}
    assert written <= known_variables()
