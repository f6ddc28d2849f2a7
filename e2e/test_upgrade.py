"""deploy/install/upgrade: what each run is recorded as. git and record_deploy run; the host's programs are stand-ins.

`make test-install` runs it on a host (e2e/install)."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.servers import GIT, ROOT, Installation, installed

pytestmark = [pytest.mark.once, pytest.mark.needs("git")]


@dataclass(frozen=True, slots=True)
class Host:
    """A host on which v1.0 is installed in `root`/opt, and whose processes can be told not to come up again."""

    root: Path
    installation: Installation

    def upgrade(self, wanted: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(wanted),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def start(self, wanted: str, *, output: int) -> subprocess.Popen[bytes]:
        """The same, which goes on by itself and says what it says to the descriptor `output`."""
        return subprocess.Popen(
            self._command(wanted), env=self._environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

    def _command(self, wanted: str) -> list[str]:
        script = (ROOT / "deploy/install/upgrade").read_text()
        for path in ("/opt/", "/etc/"):
            assert f" {path}" in script
            script = script.replace(f" {path}", f" {self.root}{path}")
        return ["sh", "-c", script, "upgrade", wanted]

    def _environment(self) -> dict[str, str]:
        path = f"{self.root / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**self.installation.environment(), **GIT, "PATH": path, "USER": "root"}

    def breaks(self, *, at: str) -> None:
        (self.root / "broken").write_text(at)

    def calls(self) -> list[str]:
        """What was called, in order, without its folder."""
        return (self.root / "calls").read_text().splitlines()

    @property
    def commit(self) -> str:
        """The version whose code is there, and the one that is named in the settings."""
        said = dict(line.split("=") for line in (self.root / "etc/bambisleep/environment").read_text().splitlines())
        code = subprocess.run(
            [
                "git",
                "-C",
                str(self.root / "opt/bambisleep"),
                "describe",
                "--tags",
                "--always",
                "HEAD",
                said["REVISION"],
            ],
            env={**os.environ, **GIT},
            capture_output=True,
            text=True,
            check=True,
        )
        found = set(code.stdout.split())
        assert len(found) == 1, "code and settings are of one version"
        return found.pop()

    @property
    def nginx_conf(self) -> Path:
        """nginx' configuration."""
        return self.root / "etc/nginx/nginx.conf"

    def deployments(self) -> list[tuple[Any, ...]]:
        """Those recorded, in order: version, status, kind."""
        return self.installation.rows("SELECT version, status, kind FROM delivery_deployment ORDER BY id")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    root = tmp_path / "host"
    # Each stand-in fails where the test says so.
    notes = f'echo "${{0##*/}} $*" >> {root}/calls\n'
    fails = f'at=$(cat {root}/broken 2>/dev/null)\ncase "$0 $*" in *"${{at:-nowhere}}"*) exit 1;; esac\n'
    record = f'[ "$1" != record_deploy ] || exec {sys.executable} {ROOT}/manage.py "$@"\n'
    stand_ins = {
        "bin/bambisleep": f"cd {root}/opt/bambisleep\n{record}",
        "bin/systemctl": "",
        "bin/nginx": "",
        "repository/deploy/install/rolling-restart": "",
        "repository/.venv/bin/pip": f"cat requirements.txt >> {root}/calls\n",
    }
    for name, script in stand_ins.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"#!/bin/sh\n{notes}{fails}{script}")
        (root / name).chmod(0o755)
    folders = ("etc/bambisleep", "etc/systemd/system", "etc/nginx", "opt", "repository/deploy/systemd")
    for folder in (*folders, "repository/deploy/nginx"):
        (root / folder).mkdir(parents=True)
    (root / "repository/deploy/systemd/README").touch()
    git = ["git", "-C", str(root / "repository")]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-Af"]):
        subprocess.run([*git, *arguments], env={**os.environ, **GIT}, check=True)
    for version in ("v1.0", "v1.1", "v1.2"):
        (root / "repository/requirements.txt").write_text(f"packages of {version}\n")
        (root / "repository/deploy/nginx/nginx-tls.conf").write_text(f"server_name members.example; # {version}\n")
        for arguments in (["add", "-A"], ["commit", "-q", "-m", version], ["tag", version]):
            subprocess.run([*git, *arguments], env={**os.environ, **GIT}, check=True)
    clone = ["git", "clone", "-q", str(root / "repository"), str(root / "opt/bambisleep")]
    subprocess.run(clone, env={**os.environ, **GIT}, check=True)
    subprocess.run(["git", "-C", clone[-1], "checkout", "-q", "v1.0"], check=True)
    (root / "etc/bambisleep/environment").write_text("PUBLIC_URL=https://club.example\nREVISION=v1.0\n")
    (root / "etc/nginx/nginx.conf").write_text("server_name club.example; # v1.0\n")
    (tmp_path / "data").mkdir()
    with installed(tmp_path / "data") as installation:
        yield Host(root, installation)


def test_each_run_is_a_deployment_of_its_own_and_the_way_back_a_rollback(host: Host) -> None:
    for wanted in ("v1.0", "v1.1", "v1.0", "v1.1"):
        done = host.upgrade(wanted)
        assert done.returncode == 0, done.stderr

    assert host.deployments() == [
        ("v1.0", "succeeded", "planned"),
        ("v1.1", "succeeded", "planned"),
        ("v1.0", "succeeded", "rollback"),
        ("v1.1", "succeeded", "planned"),
    ]
    unknown = host.installation.rows("SELECT id FROM delivery_deployment WHERE started_at IS NULL")
    assert unknown == []


@pytest.mark.parametrize("step", ["bambisleep migrate", "rolling-restart"])
def test_a_run_that_ends_early_is_recorded_as_failed(host: Host, step: str) -> None:
    host.breaks(at=step)
    assert host.upgrade("v1.1").returncode == 1
    host.breaks(at="")
    done = host.upgrade("v1.0")

    assert done.returncode == 0, done.stderr
    way_back = "planned" if step == "bambisleep migrate" else "rollback"
    assert host.deployments() == [("v1.1", "failed", "planned"), ("v1.0", "succeeded", way_back)]


@pytest.mark.parametrize("step", ["nginx -t", "bambisleep check", "bambisleep migrate"])
def test_until_the_tables_are_changed_a_failure_leaves_nothing(host: Host, step: str) -> None:
    host.breaks(at=step)

    done = host.upgrade("v1.1")

    assert (done.returncode, "put back" in done.stderr) == (1, True), done.stderr
    assert host.commit == "v1.0"
    assert host.nginx_conf.read_text() == "server_name club.example; # v1.0\n"
    assert [call for call in host.calls() if call.startswith("packages")] == ["packages of v1.1", "packages of v1.0"]
    assert not [call for call in host.calls() if call.startswith(("systemctl", "rolling-restart"))]


@pytest.mark.parametrize("opened", [pty.openpty, os.pipe], ids=["terminal", "pipe"])
def test_neither_does_a_terminal_that_hangs_up(host: Host, opened: Callable[[], tuple[int, int]]) -> None:
    """Then nothing can be written any more, not even that it failed."""
    gate = host.root / "gate"
    os.mkfifo(gate)
    with (host.root / "opt/bambisleep/.venv/bin/pip").open("a") as pip:
        pip.write(f"! grep -q v1.1 requirements.txt || cat {gate}\n")
    read, write = opened()
    with host.start("v1.1", output=write) as process:
        try:
            os.close(write)
            with gate.open("w"):  # pip waits for its end
                os.close(read)
                process.send_signal(signal.SIGHUP)
            assert process.wait(60) == 1
        finally:
            process.kill()

    assert host.commit == "v1.0"
    assert [call for call in host.calls() if call.startswith("packages")] == ["packages of v1.1", "packages of v1.0"]
    assert host.deployments() == [("v1.1", "failed", "planned")]


def test_once_they_are_the_new_code_stays(host: Host) -> None:
    host.breaks(at="rolling-restart")

    done = host.upgrade("v1.1")

    assert done.returncode == 1
    assert (host.commit, host.nginx_conf.read_text()) == ("v1.1", "server_name club.example; # v1.1\n")


def test_nginx_is_asked_before_anything_serves_differently_and_the_monitoring_restarts(host: Host) -> None:
    assert host.upgrade("v1.1").returncode == 0

    steps = ["nginx -t -q", "bambisleep migrate --noinput", "systemctl reload nginx", "rolling-restart "]
    steps += ["systemctl try-restart bambisleep-monitoring.service"]
    assert [call for call in host.calls() if call in steps] == steps
    assert host.nginx_conf.read_text() == "server_name club.example; # v1.1\n"


def test_a_monitoring_that_does_not_come_back_is_told_and_fails_nothing(host: Host) -> None:
    host.breaks(at="try-restart")

    done = host.upgrade("v1.1")

    assert (done.returncode, "journalctl -u bambisleep-monitoring" in done.stderr) == (0, True)
    assert host.deployments() == [("v1.1", "succeeded", "planned")]


def test_what_was_changed_in_nginx_by_hand_stays(host: Host) -> None:
    host.nginx_conf.write_text("server_name club.example; # v1.0, and mine\n")

    done = host.upgrade("v1.1")

    assert (done.returncode, "has changes of yours" in done.stderr) == (0, True)
    assert host.nginx_conf.read_text() == "server_name club.example; # v1.0, and mine\n"


def test_an_unknown_version_is_no_deployment(host: Host) -> None:
    done = host.upgrade("v9.9")

    assert done.returncode == 1
    assert "There is no v9.9" in done.stderr
    assert host.deployments() == []
