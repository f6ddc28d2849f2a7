"""The systemd units and the scripts beside them: by systemd's own tools, and against the tree."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.packaging import SYSTEMD, environment_of, known_variables, refused, stopping_seconds, unit
from e2e.servers import ROOT

pytestmark = pytest.mark.once

PREFIX = "/opt/bambisleep/"
TASKS = ("backup", "prune", "reconcile-stripe", "erase-accounts")
SERVICES = ["bambisleep@.service", "bambisleep-monitoring.service", *(f"bambisleep-{task}.service" for task in TASKS)]
SCRIPTS = sorted((ROOT / "deploy" / "install").iterdir())
# Of the monitoring's own scripts, and Python's.
OTHERS = {"PYTHONUNBUFFERED", "MONITORING_DATA_DIR", "APP_URL"}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_unit_starts_exists(name: str) -> None:
    words = unit(name)

    program, *arguments = shlex.split(words["ExecStart"][-1])
    assert words["WorkingDirectory"] == ["/opt/bambisleep"]
    if program == f"{PREFIX}.venv/bin/python":
        assert refused(["python", *(word.replace("%i", "3001") for word in arguments)]) == ""
    else:
        assert (program, (ROOT / arguments[0]).is_file()) == ("/usr/bin/python3", True)


@pytest.mark.parametrize("name", SERVICES)
def test_its_user_settings_and_variables_are_the_guide_s(name: str) -> None:
    words = unit(name)

    assert (words["User"], words["EnvironmentFile"]) == (["bambisleep"], ["/etc/bambisleep/environment"])
    assert environment_of(words) - known_variables() <= OTHERS
    assert "DEBUG=false" in " ".join(words["Environment"])


def test_a_process_has_time_to_end_and_its_socket_is_its_own() -> None:
    words = unit("bambisleep@.service")

    assert int(words["TimeoutStopSec"][-1]) > stopping_seconds()
    assert words["Requires"] == ["bambisleep@%i.socket"]
    assert words["Type"] == ["notify"]
    assert unit("bambisleep@.socket")["ListenStream"] == ["127.0.0.1:%i"]
    upstream = (ROOT / "deploy" / "nginx" / "upstream.conf").read_text()
    assert set(re.findall(r"server 127\.0\.0\.1:(\d+)", upstream)) == {"3001", "3002", "3003"}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_has_a_timer_that_makes_up_for_what_was_missed(task: str) -> None:
    timer = unit(f"bambisleep-{task}.timer")

    assert timer["Persistent"] == ["true"]
    assert timer["RandomizedDelaySec"]
    assert unit(f"bambisleep-{task}.service")["Type"] == ["oneshot"]


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_no_fault_with_them(tmp_path: Path) -> None:
    """With the programs that they start put where they will be."""
    root = _laid_out(tmp_path)
    units = sorted(root.glob("etc/systemd/system/bambisleep*.*"))
    files = [str(path) for path in units if path.is_file() and "@." not in path.name]
    command = ["systemd-analyze", "verify", "--man=no", *files]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    ours = [line for line in done.stderr.splitlines() if "bambisleep" in line and "is not executable" not in line]
    assert len(files) >= 11
    assert ours == []


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", ["bambisleep@3001.service", *SERVICES[1:]])
def test_systemd_finds_them_well_shut_in(name: str, tmp_path: Path) -> None:
    root = _laid_out(tmp_path)
    command = ["systemd-analyze", "security", "--no-pager", "--offline=yes", f"--root={root}", name]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    exposure = re.search(r"Overall exposure level for \S+ (\d+\.\d) ", done.stdout)
    assert exposure, done.stdout + done.stderr
    assert float(exposure[1]) <= 2.0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_a_valid_one_and_names_what_exists(script: Path) -> None:
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, timeout=20)

    text = script.read_text()
    assert (done.returncode, done.stderr) == (0, "")
    assert script.stat().st_mode & 0o111
    for path in re.findall(r"(?<![\w/])deploy/[\w./-]*\w", text):
        assert (ROOT / path).exists(), path
    for words in re.findall(r"^bambisleep (.+)$", text, re.MULTILINE):
        assert refused(["python", "manage.py", *shlex.split(words)]) == ""


def _laid_out(directory: Path) -> Path:
    """The units as on a host, one instance of the template among them."""
    target = directory / "etc" / "systemd" / "system"
    shutil.copytree(SYSTEMD, target, symlinks=True)
    shutil.copy(target / "bambisleep@.service", target / "bambisleep@3001.service")
    shutil.copy(target / "bambisleep@.socket", target / "bambisleep@3001.socket")
    return directory
