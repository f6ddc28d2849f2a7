#!/usr/bin/python3
"""systemctl where no systemd runs, as in a container: starts what the units say, and knows the verbs of DEPLOYMENT.md.

Debian's own services are started by their own programs. Of the site's units it reads User, WorkingDirectory, the
environment, ExecStart, LimitNOFILE, UMask, the socket and the type; of the sandbox, NoNewPrivileges and
MemoryDenyWriteExecute. A service runs under a supervisor of its own, which holds its socket while it is restarted.
Debian's Python alone is needed.
"""

import ctypes
import glob
import os
import pwd
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUN = Path("/run/units")
SECONDS = 90.0
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65

Unit = dict[str, list[str]]


def main(arguments: list[str]) -> int:
    """One verb for some units; 0 if it was done."""
    options = [word for word in arguments if word.startswith("-")]
    verb, *names = [word for word in arguments if not word.startswith("-")]
    RUN.mkdir(exist_ok=True)
    if verb == "daemon-reload":
        return 0
    if verb in {"enable", "disable"}:
        for name in names:
            _refuse_unknown(name)
        if "--now" not in options:
            return 0
        verb = {"enable": "start", "disable": "stop"}[verb]
    if verb == "try-restart":
        verb, names = "restart", [name for name in names if _pid(name) is not None]
    if verb not in {"start", "stop", "restart", "reload"}:
        sys.exit(f"systemctl here does not know {verb}.")
    return max((_do(verb, name) for name in names), default=0)


def _refuse_unknown(name: str) -> None:
    if _debian(name) is None and not _file(name).exists():
        sys.exit(f"There is no unit {name}.")


def _do(verb: str, name: str) -> int:
    _refuse_unknown(name)
    debian = _debian(name)
    if debian is not None:
        return subprocess.call(debian.get(verb, ["true"]))
    if name.endswith((".timer", ".socket")):
        return _check_timer(name) if name.endswith(".timer") else 0  # a socket is its service's supervisor's
    name = name if name.endswith(".service") else f"{name}.service"
    unit = _read(name)
    if unit["Type"][-1] == "oneshot":
        return subprocess.call(_command(unit), **_process(unit))
    return {"start": _start, "stop": _stop, "restart": _restart}[verb](name, unit)


def _debian(name: str) -> dict[str, list[str]] | None:
    """How Debian's own services are started; None for others."""
    version = max((path.name for path in Path("/etc/postgresql").glob("*")), default="")
    redis = "runuser -u redis -- redis-server /etc/redis/redis.conf --daemonize yes --pidfile /run/redis/redis.pid"
    prepare = "mkdir -p /run/redis && chown redis /run/redis"
    blackbox = ". /etc/default/prometheus-blackbox-exporter; exec setsid -f prometheus-blackbox-exporter $ARGS"
    commands = {
        "postgresql": {"restart": ["pg_ctlcluster", "--skip-systemctl-redirect", version, "main", "restart"]},
        "redis-server": {
            "restart": ["sh", "-c", f"{prepare}; redis-cli shutdown nosave 2>/dev/null; {redis} >/dev/null"],
        },
        "nginx": {
            "restart": ["sh", "-c", "nginx -s stop 2>/dev/null; nginx"],
            "reload": ["nginx", "-s", "reload"],
        },
        "prometheus": {},
        "prometheus-alertmanager": {},
        "prometheus-node-exporter": {},
        "prometheus-blackbox-exporter": {"restart": ["sh", "-c", f"{blackbox} >/dev/null 2>&1"]},
    }
    return commands.get(name.removesuffix(".service"))


def _file(name: str) -> Path:
    return UNITS / re.sub(r"@[^.]+\.", "@.", name if "." in name else f"{name}.service")


def _read(name: str) -> Unit:
    """The unit with what is dropped into it, in systemd's order: a later word is after an earlier one."""
    template = _file(name).name
    places = [f"{UNITS}/{template}.d/*.conf", f"{UNITS}/{template.split('-')[0]}-.service.d/*.conf"]
    dropped = sorted((Path(path) for place in places for path in glob.glob(place)), key=lambda path: path.name)
    instance = name.partition("@")[2].rpartition(".")[0]
    unit: Unit = {"Type": ["simple"], "Environment": []}
    for path in [_file(name), *dropped]:
        for line in path.read_text().splitlines():
            key, separator, value = line.partition("=")
            if separator and not line.startswith(("#", "[")):
                unit.setdefault(key, []).append(value.replace("%i", instance))
    return unit


def _check_timer(name: str) -> int:
    service = name.replace(".timer", ".service")
    _refuse_unknown(service)
    if "OnCalendar=" not in _file(name).read_text():
        sys.exit(f"{name} says no time.")
    return 0


def _command(unit: Unit) -> list[str]:
    return shlex.split(unit["ExecStart"][-1])


def _process(unit: Unit) -> dict[str, object]:
    """How Popen starts it: environment, directory, and what it becomes before it is the program."""
    user = pwd.getpwnam(unit["User"][-1])
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": user.pw_dir}
    for words in unit["Environment"]:
        environment |= dict(word.split("=", 1) for word in shlex.split(words))
    for path in unit.get("EnvironmentFile", []):
        for line in Path(path).read_text().splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                key, _, value = line.partition("=")
                environment[key.strip()] = " ".join(shlex.split(value))
    limit = int(unit.get("LimitNOFILE", ["1024"])[-1])

    def become() -> None:
        os.umask(int(unit["UMask"][-1], 8))
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if unit["NoNewPrivileges"][-1] == "true":
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if unit["MemoryDenyWriteExecute"][-1] == "true":
            prctl(PR_SET_MDWE, 1, 0, 0, 0)  # a kernel before 6.3 does not know it

    return {"env": environment, "cwd": unit["WorkingDirectory"][-1], "preexec_fn": become}


def _pid(name: str) -> int | None:
    try:
        pid = int((RUN / f"{name}.pid").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def _start(name: str, unit: Unit) -> int:
    if _pid(name) is not None:
        return 0
    (RUN / f"{name}.starts").write_text("")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _supervise(name, unit)
        os._exit(0)
    return _wait_for_start(name, 1)


def _restart(name: str, unit: Unit) -> int:
    pid = _pid(name)
    if pid is None:
        return _start(name, unit)
    before = len((RUN / f"{name}.starts").read_text().splitlines())
    os.kill(pid, signal.SIGHUP)
    return _wait_for_start(name, before + 1)


def _stop(name: str, unit: Unit) -> int:
    pid = _pid(name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS
    while _pid(name) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    return 0 if _pid(name) is None else 1


def _wait_for_start(name: str, count: int) -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if len((RUN / f"{name}.starts").read_text().splitlines()) >= count:
            return 0
        time.sleep(0.1)
    sys.stderr.write(Path(f"/var/log/{name}.log").read_text()[-3000:])
    sys.stderr.write(f"\n{name} did not start.\n")
    return 1


def _supervise(name: str, unit: Unit) -> None:
    """Run the service until told to stop; it never returns."""
    log = os.open(f"/var/log/{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    null = os.open("/dev/null", os.O_RDONLY)
    for number, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(number, target)
    (RUN / f"{name}.pid").write_text(str(os.getpid()))
    listening = _listen(unit)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = f"\0bambisleep/{name}"
    notify.bind(address)
    asked: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: asked.append(number))
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    while True:
        child = _spawn(unit, listening, f"@{address[1:]}")
        for command in unit.get("ExecStartPost", []):
            subprocess.call(shlex.split(command), **_process(unit))
        if unit["Type"][-1] != "notify" or _is_ready(notify, child):
            with (RUN / f"{name}.starts").open("a") as starts:
                starts.write("started\n")
        while child.poll() is None and not asked:
            time.sleep(0.1)
        if child.poll() is None:
            child.terminate()
            child.wait()
        if asked and asked.pop(0) == signal.SIGTERM:
            os._exit(0)


def _listen(unit: Unit) -> socket.socket | None:
    required = [word for word in " ".join(unit.get("Requires", [])).split() if word.endswith(".socket")]
    if not required:
        return None
    host, _, port = _read(required[0])["ListenStream"][-1].rpartition(":")
    return socket.create_server((host, int(port)), backlog=2048)


def _spawn(unit: Unit, listening: socket.socket | None, address: str) -> "subprocess.Popen[bytes]":
    how = _process(unit)
    environment, become = dict(how["env"]), how["preexec_fn"]
    if unit["Type"][-1] == "notify":
        environment["NOTIFY_SOCKET"] = address
    descriptor = 3
    if listening is not None:
        # As sd_listen_fds(3) has it; the shell's pid stays the program's.
        os.dup2(listening.fileno(), descriptor, inheritable=True)
        command = ["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh", *_command(unit)]
        return subprocess.Popen(command, env=environment, cwd=how["cwd"], preexec_fn=become, pass_fds=[descriptor])
    return subprocess.Popen(_command(unit), env=environment, cwd=how["cwd"], preexec_fn=become)


def _is_ready(notify: socket.socket, child: "subprocess.Popen[bytes]") -> bool:
    notify.settimeout(0.2)
    while child.poll() is None:
        try:
            if b"READY=1" in notify.recv(4096):
                return True
        except TimeoutError:
            continue
    time.sleep(1)  # RestartSec
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
