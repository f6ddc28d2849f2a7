"""The runbooks under deploy/runbooks: one for each alert, short, and with commands that run as they stand."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands
from django.urls import resolve

from e2e import promql, rules
from e2e.monitoring import Monitoring, hurried, monitoring
from e2e.opt_in import is_opt_in
from e2e.servers import ROOT, Installation, Server, query, wait_for

SECTIONS = ["Meaning", "Impact", "First three commands", "Fix", "Silence"]
BOOKS = sorted(rules.RUNBOOKS.glob("*.md"))
EACH_BOOK = pytest.mark.parametrize("book", BOOKS, ids=lambda path: path.stem)
MANAGE = ".venv/bin/python manage.py"
COMPOSE = "docker compose -f docker-compose.monitoring.yml"

pytestmark = pytest.mark.once


def sections(book: Path) -> dict[str, str]:
    """The text of each section, by its heading."""
    parts = re.split(r"^## (.+)\n", book.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(text: str) -> list[str]:
    """The commands in the blocks of a section, those over several lines in one piece."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, flags=re.M | re.S)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [line for line in lines if not line.startswith("#")]


def first_commands(book: Path) -> list[str]:
    return commands(sections(book)["First three commands"])


def queries(book: Path) -> list[str]:
    """The PromQL that its commands ask."""
    return re.findall(r"--data-urlencode 'query=([^']+)'", book.read_text())


def test_there_is_one_for_each_alert_and_none_besides() -> None:
    assert {book.stem for book in BOOKS} == {alert.name for alert in rules.alerts()}


@EACH_BOOK
def test_it_has_its_sections_and_is_short(book: Path) -> None:
    text = book.read_text()

    assert text.startswith(f"# {book.stem}\n")  # by which Prometheus knows it for text
    assert list(sections(book)) == SECTIONS
    assert all(part.strip() for part in sections(book).values())
    assert len(text.splitlines()) <= 40
    assert "{{" not in text  # Prometheus would take it for a template


@EACH_BOOK
def test_it_has_three_commands_and_says_what_each_is_for(book: Path) -> None:
    lines = re.findall(r"```bash\n(.*?)```", sections(book)["First three commands"], flags=re.S)[0].splitlines()

    assert len(lines) == 6
    assert all(line.startswith("# ") for line in lines[0::2])
    assert not any(line.startswith("#") for line in lines[1::2])


@EACH_BOOK
def test_its_silence_is_of_its_own_alert_and_ends(book: Path) -> None:
    (command,) = commands(sections(book)["Silence"])

    assert command.startswith(f"{COMPOSE} exec alertmanager amtool --alertmanager.url=http://localhost:9093 ")
    assert re.search(r"silence add --duration=\d+h ", command)
    assert command.endswith(f" alertname={book.stem}")


@EACH_BOOK
def test_what_it_names_exists(book: Path) -> None:
    text = book.read_text()
    services = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["services"]
    settings = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.M))

    assert set(re.findall(r"manage\.py (\w+)", text)) <= get_commands().keys()
    assert set(re.findall(rf"{COMPOSE} (?:exec|up -d|logs) (?:--\S+ \S+ )*([a-z-]+)", text)) <= services.keys()
    assert set(re.findall(r"(?<![\w/-])(\w+)\.md\b", text)) <= {other.stem for other in BOOKS} | {"DEPLOYMENT"}
    assert set(re.findall(r"\b(?:[A-Z]+_)+[A-Z]+\b", text)) <= settings
    for address in re.findall(r"/admin/[a-z/]*", text):
        assert resolve(address)


@pytest.fixture(scope="module")
def site(installation: Installation) -> Iterator[Server]:
    assert installation.manage("load_demo").returncode == 0
    assert installation.manage("open_incident", "Something is wrong").returncode == 0
    assert installation.manage("backup").returncode == 0
    with installation.serving("daphne") as found:
        assert found.http.get("/").status_code == 200  # a request, to be counted
        yield found


@pytest.fixture(scope="module")
def watch(installation: Installation, site: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """The whole stack about the site, in a hurry."""
    source = hurried(tmp_path_factory.mktemp("source"))
    directory = tmp_path_factory.mktemp("monitoring")
    with monitoring(directory, application=site.url, site_data=installation.data_dir, source=source) as found:
        wait_for(lambda: (query(found.prometheus, "count(up == 1)") or 0) >= 4, "all targets are scraped", seconds=40)
        yield found


STACK = pytest.mark.needs("curl", "bash", "prometheus", "prometheus-alertmanager", "prometheus-node-exporter")


@STACK
@EACH_BOOK
def test_prometheus_serves_it_as_text(watch: Monitoring, book: Path) -> None:
    answer = watch.prometheus.http.get(f"/consoles/{book.name}")

    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text == book.read_text()


@STACK
@EACH_BOOK
def test_its_commands_run(installation: Installation, site: Server, watch: Monitoring, book: Path) -> None:
    """Those that need neither docker nor the host that has the trouble."""
    addresses = {
        "http://localhost:3000": site.url,
        "http://localhost:9090": watch.prometheus.url,
        "http://localhost:9093": watch.alertmanager,
        MANAGE: f"{sys.executable} {ROOT / 'manage.py'}",
    }
    for command in [each for each in first_commands(book) if each.startswith(("curl ", MANAGE))]:
        for told, here in addresses.items():
            command = command.replace(told, here)
        done = subprocess.run(
            ["bash", "-c", command],
            env=installation.environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or "> /dev/null" in command
        if "/api/v1/" in command:
            assert done.stdout.startswith('{"status":"success"'), f"{command}\n{done.stdout}"


@STACK
def test_every_metric_they_ask_for_is_there(watch: Monitoring) -> None:
    named = {use.metric for book in BOOKS for text in queries(book) for use in promql.uses(text) if use.metric}
    wanted = {name for name in named if not is_opt_in(name)}
    assert len(wanted) > 15

    missing = {name for name in wanted if query(watch.prometheus, f"count({name})") is None}

    # What Prometheus has not recorded yet is there by its rule.
    assert missing - {recording.name for recording in rules.recordings()} == set()
