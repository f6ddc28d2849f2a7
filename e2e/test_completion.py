"""Completion of manage.py: a real bash, and a real Tab."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.servers import ROOT, Installation

pytestmark = pytest.mark.once

SCRIPT = "deploy/completion/manage.bash"
# What bash does at a Tab, without a terminal.
ASK = """
source deploy/completion/manage.bash
compopt() { :; }
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$(complete -p "$(basename "$1")" | sed -E 's/.*-F ([^ ]+) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""
SECONDS = 120.0


def complete(installation: Installation, *words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", *words],
        cwd=ROOT,
        env=installation.environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_it_completes_commands_by_either_way_of_calling_them(blank_installation: Installation) -> None:
    assert complete(blank_installation, "./manage.py", "pru") == ["prune"]
    assert complete(blank_installation, sys.executable, "manage.py", "createt") == ["createtoken"]


def test_it_completes_what_an_installation_calls_it(blank_installation: Installation, tmp_path: Path) -> None:
    installed = tmp_path / "bambisleep"
    installed.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/manage.py "$@"\n')
    installed.chmod(0o755)
    assert complete(blank_installation, str(installed), "doct") == ["doctor"]


def test_it_completes_options_and_leaves_other_programs_alone(blank_installation: Installation) -> None:
    assert {"--dry-run", "--list", "--only="} <= set(
        complete(blank_installation, str(ROOT / "manage.py"), "prune", "--")
    )
    assert complete(blank_installation, "python", "-m", "pyt") == []
    assert complete(blank_installation, "python", "manage") == []


def test_a_tab_in_a_terminal(blank_installation: Installation, tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # the child: bash at a terminal of its own
        environment = {**blank_installation.environment(), "TERM": "dumb", "HISTFILE": "", "PS1": "$ "}
        try:
            os.chdir(ROOT)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
        finally:
            os._exit(127)
    try:
        os.write(terminal, f"source {SCRIPT}; echo rea''dy\n".encode())
        _shows(terminal, "ready")
        os.write(terminal, b"./manage.py createt\t")
        _shows(terminal, "createtoken ")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(pid, 0)


def _shows(terminal: int, text: str) -> None:
    shown, deadline = b"", time.monotonic() + SECONDS
    while text.encode() not in shown:
        left = deadline - time.monotonic()
        assert left > 0, shown
        if select.select([terminal], [], [], left)[0]:
            shown += os.read(terminal, 65_536)
