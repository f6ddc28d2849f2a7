"""What can be said of the site without running it: its code, its packages, its settings, and no secret in any of it."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.security.findings import Finding, Outcome

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("bambisleep", "observability", "accounts", "payments", "content", "realtime")
CODE = (*ROOMS, "deploy", "manage.py")
SCANNER = ROOT / ".venv-security" / "bin"
# Importing subprocess, calling it by a list, by a name on the PATH: what the linter leaves out too (pyproject.toml).
NO_FINDINGS = "B404,B603,B607"
# Random-looking words are everywhere in tests and locks; what is left knows keys by their form, and by their names.
LEFT_OUT = ("HexHighEntropyString", "Base64HighEntropyString")
BLOB_BYTES = 1_000_000
PLANTED = "planted.txt"  # holds what must be found, so that a scan that saw nothing is told from a clean one
VULNERABILITIES = "PyPI's list of vulnerabilities"


def bandit() -> Outcome:
    """The code, but for tests."""
    command = [_beside_python("bandit"), "-q", "-r", "-f", "json", "-s", NO_FINDINGS, "-x", "*/tests/*", *CODE]
    done = _run(command)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return Outcome("bandit", not_run=_last_line(done))
    findings = [
        Finding("bandit", found["test_id"], f"{found['filename']}:{found['line_number']}", found["issue_text"])
        for found in report["results"]
    ]
    errors = [f"{error['filename']}: {error['reason']}" for error in report["errors"]]
    lines = sum(file["loc"] for name, file in report["metrics"].items() if name != "_totals")
    return Outcome("bandit", f"{lines} lines", findings, not_run="; ".join(errors))


def audit(file: str) -> Outcome:
    """The packages of a list of pins, by PyPI's list of known vulnerabilities; it may be out of reach."""
    name = f"pip-audit {'packages' if file == 'requirements.txt' else file.split('-')[1].split('.')[0]}"
    program = SCANNER / "pip-audit"
    if not program.exists():
        return Outcome(name, not_run="pip-audit is not installed: `make .venv-security/made`.")
    done = _run([str(program), "-r", file, "-f", "json", "--progress-spinner", "off", "--no-deps", "--timeout", "15"])
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return Outcome(name, not_run=f"{VULNERABILITIES} was not reached: {_last_line(done)}", may_be_away=True)
    findings = [
        Finding(name, vulnerability["id"], f"{package['name']} {package['version']}", _remedy(vulnerability))
        for package in packages
        for vulnerability in package.get("vulns", [])
    ]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        some = ", ".join(skipped[:3]) + (" …" if len(skipped) > 3 else "")
        said = f"{VULNERABILITIES} says nothing of {len(skipped)} of {len(packages)} packages ({some}): is it in reach?"
        return Outcome(name, "", findings, said, may_be_away=True)
    return Outcome(name, f"{len(packages)} packages", findings)


def _remedy(vulnerability: dict[str, list[str]]) -> str:
    versions = vulnerability.get("fix_versions")
    return f"mended in {', '.join(versions)}" if versions else "no version mends it yet"


def secrets_in_tree() -> Outcome:
    """Every file that git has or would take."""
    listed = _run(["git", "ls-files", "-co", "--exclude-standard", "-z"]).stdout.split("\0")
    files = sorted(name for name in listed if name and (ROOT / name).is_file())
    return _secrets("secrets in the tree", ROOT, files)


def secrets_in_history() -> Outcome:
    """Every version of every file that any commit ever had, each once."""
    with tempfile.TemporaryDirectory(prefix="bambisleep-history-") as directory:
        number = sum(1 for _ in _write_history(Path(directory)))
        if not number:
            return Outcome("secrets in history", not_run="git shows no history here: run it in a clone.")
        (Path(directory) / PLANTED).write_text("key = " + "AKIA" + "Q" * 16)
        files = sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*") if path.is_file())
        outcome = _secrets("secrets in history", Path(directory), files)
    found = [finding for finding in outcome.findings if not finding.where.startswith(PLANTED)]
    if len(found) == len(outcome.findings) and not outcome.not_run:
        outcome.not_run = "it did not even find the key that was planted for it"
    outcome.findings = found
    return outcome


def _write_history(directory: Path) -> Iterator[str]:
    """Write each version below the path that it had, as a file named for its contents."""
    listed = _run(["git", "rev-list", "--objects", "--all"]).stdout
    names = dict(line.split(" ", 1) for line in listed.splitlines() if " " in line)
    asked = "\n".join(names)
    kinds = _run(["git", "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)"], asked).stdout
    for line in kinds.splitlines():
        number, kind, size = line.split()
        if kind != "blob" or int(size) > BLOB_BYTES:
            continue
        path = directory / names[number] / f"{number[:12]}{Path(names[number]).suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(subprocess.run(["git", "cat-file", "blob", number], cwd=ROOT, capture_output=True).stdout)
        yield number


def _secrets(check: str, directory: Path, files: list[str]) -> Outcome:
    leave_out = [word for plugin in LEFT_OUT for word in ("--disable-plugin", plugin)]
    # No secret that it finds is tried out.
    command = [_beside_python("detect-secrets"), "-C", str(directory), "scan", "--no-verify", "--all-files", *leave_out]
    done = _run([*command, *files], directory=directory)
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError):
        return Outcome(check, not_run=_last_line(done))
    findings = [
        Finding(check, found["type"], f"{name}:{found['line_number']}", "looks like a secret")
        for name, all_found in results.items()
        for found in all_found
    ]
    return Outcome(check, f"{len(files)} files", findings)


def deployment() -> Outcome:
    """Django's own checks, by settings as production has them."""
    check = "check --deploy"
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    with tempfile.TemporaryDirectory(prefix="bambisleep-check-") as directory:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
            "DATA_DIR": directory,
            "DEBUG": "false",
            "SECRET_KEY": secrets.token_urlsafe(60),
            "ALLOWED_HOSTS": "members.example",
            "METRICS_TOKEN": secrets.token_urlsafe(30),
            "PUBLIC_URL": "https://members.example",
            "EMAIL_URL": "smtp://mail.example",
        }
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode == 0:
        return Outcome(check, _last_line(done))
    lines = [line for line in done.stderr.splitlines() if line.startswith("?:") or ": (" in line]
    if not lines:
        return Outcome(check, not_run=_last_line(done))
    return Outcome(check, "", [Finding(check, "check", "settings", line) for line in lines])


def _beside_python(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


def _run(command: list[str], given: str | None = None, *, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, input=given, capture_output=True, text=True, errors="replace", timeout=1800
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1][:160] if lines else f"it ended with {done.returncode} and said nothing"
