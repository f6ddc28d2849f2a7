"""`make test-install`: a fresh Debian, DEPLOYMENT.md's own commands, and at the end the site on TLS and watched.

The Debian is made by debootstrap in a folder below /var/tmp, with this host's mirrors. What asks for packages runs with
this host's network; everything else in a network of its own, in which every port is free and nothing outside can be
reached. No systemd runs there: systemctl.py starts what the units say. Needs root; takes about ten minutes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.install.guide import ROOT, Block, blocks

DOMAIN, CONTACT = "members.example", "you@members.example"
TRUST = dict.fromkeys(("CURL_CA_BUNDLE", "SSL_CERT_FILE"), "/etc/bambisleep/tls/fullchain.pem")
AUTHORITIES = "/root/authorities.pem"  # whom this host believes, in the fresh one
SUPERUSER = """
export DJANGO_SUPERUSER_PASSWORD="a long enough phrase, $(openssl rand -hex 8)"
bambisleep createsuperuser --noinput --username admin --email you@members.example
"""
CHECKS = """
test "$(curl -sS -o /dev/null -w '%{http_code} %{http_version}' https://members.example/accounts/login/)" = "200 2"
test "$(curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' http://members.example/x)" = "301 https://members.example/x"
test "$(curl -sS -o /dev/null -w '%{http_code}' --interface 127.0.0.77 https://members.example/metrics)" = 404
curl -sS -D - -o /dev/null https://members.example/ | grep -qi '^strict-transport-security: max-age=31536000'
for task in backup prune erase-accounts; do systemctl start bambisleep-$task.service; done
ls -l /var/lib/bambisleep/backups | grep -q bambisleep
test "$(runuser -u www-data -- cat /etc/bambisleep/environment 2>&1 | grep -c 'Permission denied')" = 1
"""
RENEWAL = """
mkdir -p /root/renewed && cd /root/renewed
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 90 -subj /CN=members.example \
  -addext subjectAltName=DNS:members.example -keyout privkey.pem -out fullchain.pem 2>/dev/null
RENEWED_LINEAGE=/root/renewed /opt/bambisleep/deploy/install/renewed
sleep 1
curl -sS --cacert fullchain.pem -o /dev/null https://members.example/health/ready
"""
UPGRADE = """
echo '/* another version */' >> /root/repository/bambisleep/static/site.css
git -C /root/repository -c user.name=test -c user.email=test@members.example commit -q -a -m "Another commit"
page=https://members.example/accounts/login/
( until test -e /tmp/enough; do
    curl -sS -o /dev/null -w '%{http_code}\\n' --max-time 20 https://members.example/dora; sleep 0.1
    style=$(curl -sS --max-time 20 $page | grep -o '/static/site[^"]*css') || style=/static/none.css
    curl -sS -o /dev/null -w '%{http_code}\\n' --max-time 20 "https://members.example$style"
  done > /tmp/codes 2>/tmp/errors ) &
/opt/bambisleep/deploy/install/upgrade main
touch /tmp/enough; wait
sort /tmp/codes | uniq -c
test "$(sort -u /tmp/codes)" = 200
test "$(git -C /opt/bambisleep rev-parse HEAD)" = "$(git -C /root/repository rev-parse HEAD)"
token=$(sed -n 's/^METRICS_TOKEN=//p' /etc/bambisleep/environment)
for port in 3001 3002 3003; do
  curl -sS -H "Authorization: Bearer $token" "http://127.0.0.1:$port/metrics" > /tmp/metrics
  grep '^bambisleep_build_info' /tmp/metrics | grep -q "$(git -C /opt/bambisleep rev-parse HEAD)"
done
/opt/bambisleep/deploy/install/upgrade main~1 | grep '(created)$'
test "$(git -C /opt/bambisleep rev-parse HEAD)" = "$(git -C /root/repository rev-parse main~1)"
bambisleep dora_report | grep '^deployment rework rate .*50.0%'
"""


@dataclass(slots=True)
class Host:
    """The fresh Debian, in `root`; `init` is the first process of its namespaces."""

    root: Path
    init: int
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, script: str, *, network: bool = False, seconds: float = 600) -> str:
        """Run `script` by bash, stopping at the first command that fails.

        Returns:
            what it printed.

        Raises:
            Failed: with what it printed last, where a command fails.
        """
        own_network = [] if network else ["--net"]
        enter = ["nsenter", "--target", str(self.init), "--mount", "--pid", "--uts", *own_network]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        environment |= {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root", "TERM": "dumb"}
        environment |= _told_to_pip() if network else TRUST
        command = [*enter, "chroot", str(self.root), "bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        if done.returncode:
            raise Failed(f"{script.strip()}\n\nended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout


class Failed(Exception):
    """A command of the guide, or a check, that did not do what it should."""


def main() -> int:
    """Follow the guide; 0 if all of it works."""
    parser = argparse.ArgumentParser(prog="make test-install", description=__doc__)
    parser.add_argument("--root", type=Path, help="a Debian that was made before, instead of a fresh one; it is kept")
    parser.add_argument("--suite", default="bookworm", help="Debian's release (default: %(default)s)")
    options = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        print("Needs root, and debootstrap: apt-get install debootstrap.", file=sys.stderr)
        return 1
    started = time.monotonic()
    root = options.root or Path(tempfile.mkdtemp(prefix="bambisleep-install-", dir="/var/tmp"))
    try:
        if not options.root:
            _say("debootstrap")
            root.chmod(0o755)  # it is `/` to users who are not root
            _debootstrap(root, options.suite)
        with _entered(root) as host:
            _prepare(host)
            _follow(host)
    except (Failed, subprocess.SubprocessError) as error:
        print(f"\n✗ {error}", file=sys.stderr)
        return 1
    finally:
        if not options.root:
            subprocess.run(["rm", "-rf", "--one-file-system", str(root)], check=True)
    print(f"\n✓ From nothing to the site on TLS, watched, in {(time.monotonic() - started) / 60:.1f} minutes.")
    return 0


def _follow(host: Host) -> None:
    """Every block of the guide that runs on a host, in order; then what a visitor would see."""
    first, *others = [block for block in blocks() if block.runs_on_a_host]
    told = re.sub(r"REPOSITORY=\S+", "REPOSITORY=/root/repository", first.text)
    assert f"DOMAIN={DOMAIN} CONTACT={CONTACT}" in told, "the guide says who it is for"
    for block in others:
        _say(f"DEPLOYMENT.md:{block.line}  {_summary(block)}")
        printed = host.run(f"{told}\n{block.text}", network=block.needs_network)
        if "adduser age" in block.text:
            # The package makes a cluster where it can start one, and gives it another port if this host's own
            # PostgreSQL has that one; neither is so on a host of its own.
            host.run(
                "test -e /etc/postgresql/*/main || pg_createcluster $(ls /usr/lib/postgresql) main\n"
                "sed -i 's/^port = .*/port = 5432/' /etc/postgresql/*/main/postgresql.conf"
            )
        if "make validate" in block.text:
            print(re.sub(r"^", "    ", printed.strip(), flags=re.MULTILINE))
            if "✗" in printed:
                raise Failed("make validate is not green")
        if "collectstatic" in block.text:
            host.run(SUPERUSER)
    for title, script in (
        ("what a visitor sees, and the tasks", CHECKS),
        ("an upgrade, while a visitor asks ten times a second", UPGRADE),
        ("a renewed certificate", RENEWAL),
    ):
        _say(title)
        host.run(f"set -x\n{script}")
    _say("doctor")
    print(re.sub(r"^", "    ", host.run("bambisleep doctor || true").strip(), flags=re.MULTILINE))


def _summary(block: Block) -> str:
    return block.text.strip().splitlines()[0][:80]


def _say(what: str) -> None:
    print(f"== {time.strftime('%H:%M:%S')} {what}", flush=True)


def _debootstrap(root: Path, suite: str) -> None:
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates,iproute2", suite, str(root)]
    with (root.with_suffix(".log")).open("wb") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=900)
    said = root.with_suffix(".log").read_text(errors="replace")
    root.with_suffix(".log").unlink()
    if done.returncode:
        raise Failed(f"debootstrap ended with {done.returncode}:\n{said[-2000:]}")


@contextmanager
def _entered(root: Path) -> Iterator[Host]:
    """Namespaces of its own, until the end of the block; with their first process, all that runs there ends."""
    local = " ".join(str(path) for path in _local_packages())
    script = f"""
    set -e
    mount --rbind /dev {root}/dev
    mount --rbind /sys {root}/sys
    for path in {local}; do mkdir -p {root}$path; mount --bind -o ro $path {root}$path; done
    mount -t proc proc {root}/proc
    mount -t tmpfs tmpfs {root}/run
    ip link set lo up
    echo ready
    exec sleep infinity
    """
    command = ["unshare", "--mount", "--pid", "--fork", "--net", "--uts", "--kill-child", "sh", "-c", script]
    outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert outer.stdout is not None
        if outer.stdout.readline().strip() != "ready":
            raise Failed("no namespaces can be had here")
        init = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
        yield Host(root, init)
    finally:
        outer.kill()
        outer.wait(30)


def _local_packages() -> Sequence[Path]:
    """The folders from which pip takes packages on this host, if any."""
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    said += "".join(f" {value}" for name, value in os.environ.items() if name.startswith("PIP_"))
    found = {Path(path) for path in re.findall(r"(?:file://)?(/[\w./-]+)", said)}
    # An index lies beside the files that it leads to.
    return sorted(path.parent if path.name == "simple" else path for path in found if path.is_dir())


def _told_to_pip() -> dict[str, str]:
    told = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {**told, "PIP_CERT": AUTHORITIES}


def _prepare(host: Host) -> None:
    """What a host has before anybody types: mirrors, a name, and here a systemctl and the code."""
    root = host.root
    for path in (
        "/etc/resolv.conf",
        "/etc/pip.conf",
        "/etc/apt/sources.list.d/debian.sources",
        "/etc/apt/sources.list",
    ):
        if Path(path).exists():
            shutil.copy(path, f"{root}{path}")
    user_conf = Path.home() / ".config/pip/pip.conf"
    if user_conf.exists():
        (root / "root/.config/pip").mkdir(parents=True, exist_ok=True)
        shutil.copy(user_conf, root / "root/.config/pip/pip.conf")
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", f"{root}{AUTHORITIES}")
    own = Path("/etc/hosts").read_text()
    (root / "etc/hosts").write_text(f"127.0.0.1 {DOMAIN}\n{own}")
    shutil.copy(Path(__file__).with_name("systemctl.py"), root / "usr/local/sbin/systemctl")
    (root / "usr/local/sbin/systemctl").chmod(0o755)
    # Packages' servers are started by the guide, not by their installation.
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    _copy_code(root / "root/repository")


def _copy_code(target: Path) -> None:
    """The working tree, as a repository with one commit."""
    shutil.rmtree(target, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name, follow_symlinks=False)
    git = ["git", "-C", str(target), "-c", "user.name=test", "-c", "user.email=test@members.example"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "The tree under test"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
