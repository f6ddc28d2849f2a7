"""Real processes for the end-to-end tests: the application and Prometheus, on free loopback ports, with their own data.

Nothing here sleeps for a guessed time: `wait_for` asks until something is so, or fails at a deadline and says what was
not. Every process is ended by its pid.
"""

import atexit
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent

# What a production start insists on, without TLS, which these tests do not have.
PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "a-key-for-tests-only-that-is-long-enough-to-be-accepted-0123456789",
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
    "HTTPS": "false",
}

# git as it is on a machine where nobody has set it up, with somebody who commits.
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_NAME": "Ada" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "ada@example.org" for role in ("AUTHOR", "COMMITTER")},
}


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], T], what: str, *, seconds: float = 20) -> T:
    """Ask until `condition` is true, and return its value; fail with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"Within {seconds} s it did not come true: {what}")
        time.sleep(0.05)


@dataclass(slots=True)
class Server:
    """A running process that speaks HTTP at `url`; what it prints goes into the file `log`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=20)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of `name` that carry `labels`; 0 where there is none."""
        return sum(value for sample, value in self.samples(name) if labels.items() <= sample.items())

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of `name`, from one scrape."""
        lines = self.http.get("/metrics").text.splitlines(keepends=True)
        found = (line for line in lines if line.startswith((f"{name}{{", f"{name} ")))  # to parse all takes its time
        families = text_string_to_metric_families("".join(found))
        return [(s.labels, s.value) for family in families for s in family.samples]

    def json(self, path: str, **query: str | float) -> dict[str, Any]:
        """What a GET answers, as JSON; anything but 2xx is an error."""
        answer: dict[str, Any] = self.http.get(path, params=query).raise_for_status().json()
        return answer

    def sign_in_to_admin(self, name: str, password: str) -> httpx.Response:
        """Sign in as a browser does, with form, CSRF token and cookies; the admin's home page, if all is well."""
        form = self.http.get("/admin/login/", params={"next": "/admin/"}, follow_redirects=True)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        assert token, form.text
        fields = {"csrfmiddlewaretoken": token[1], "login": name, "password": password, "next": "/admin/"}
        return self.http.post("/accounts/login/", data=fields, headers={"Referer": self.url}, follow_redirects=True)

    def raw(self, request: bytes, *, seconds: float = 20) -> bytes:
        """Send these very bytes, and return whatever comes back until the server closes; ask it to in `request`.

        It reads while it sends: a server that refuses in mid-body resets the connection, and a reset discards an answer
        that was not read yet.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            sender = threading.Thread(target=_send_all, args=(connection, request))
            sender.start()
            received = bytearray()
            try:
                while block := connection.recv(65_536):
                    received += block
            except ConnectionResetError:
                pass  # what it said before that is what counts
            finally:
                sender.join()
            return bytes(received)

    def interrupt(self, *, seconds: float) -> int:
        """Ctrl-C. The exit status, which must come in time."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)


def _send_all(connection: socket.socket, request: bytes) -> None:
    with suppress(ConnectionResetError, BrokenPipeError):  # the server would read no more
        connection.sendall(request)


@contextmanager
def running(
    command: list[str],
    *,
    environment: dict[str, str],
    port: int,
    log: Path,
    ready: str,
    directory: Path = ROOT,
    seconds: float = 120,
    descriptors: Sequence[int] = (),
) -> Iterator[Server]:
    """Run `command` until the end of the block; it begins when a GET of `ready` answers 200.

    Args:
        descriptors: what stays open in the child, under the same numbers.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=descriptors,
        )
    server = Server(process, port, log)

    def answers() -> bool:
        if process.poll() is not None:
            pytest.fail(f"{command} ended with {process.returncode}:\n{server.output[-3000:]}")
        try:
            return server.http.get(ready).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, f"{command} answers at {ready}", seconds=seconds)
        yield server
    finally:
        server.http.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@dataclass(frozen=True, slots=True)
class Installation:
    """A data directory and a database; the tests' own settings do not reach it."""

    data_dir: Path
    database_url: str | None  # None: SQLite in the data directory

    def environment(self, **settings: str) -> dict[str, str]:
        """All of a child's environment: development, unless `settings` say otherwise."""
        inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        home = {"HOME": str(self.data_dir), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        database = {"DATABASE_URL": self.database_url} if self.database_url else {}
        return {**inherited, **home, **database, "DATA_DIR": str(self.data_dir), **settings}

    def manage(self, *arguments: str, directory: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run manage.py from `directory`, to its end."""
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment(**settings),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def collect_static(self) -> None:
        """Have the static files, as pages in production need them: collected once, and lent to each who asks."""
        (self.data_dir / "static").symlink_to(_static_files())

    @contextmanager
    def serving(self, server: str = "daphne", **settings: str) -> Iterator[Server]:
        """Serve the site with "daphne", "uvicorn", "serve", "runserver" or "start" until the end of the block."""
        port = free_port()
        python, application = sys.executable, "bambisleep.asgi:application"
        command = {
            "daphne": [python, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", application],
            "uvicorn": [python, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), application],
            "serve": [python, str(ROOT / "manage.py"), "serve"],
            "runserver": [python, str(ROOT / "manage.py"), "runserver", "--noreload"],
            "start": [python, str(ROOT / "manage.py"), "start"],
        }[server]
        environment = self.environment(PORT=str(port), **settings)
        log = self.data_dir / f"{server}-{port}.log"
        with running(command, environment=environment, port=port, log=log, ready="/health") as process:
            yield process

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers, asked beside the application."""
        connection: Any = (
            psycopg.connect(self.database_url) if self.database_url else sqlite3.connect(self.data_dir / "db.sqlite3")
        )
        with closing(connection):
            return list(connection.execute(query).fetchall())


@contextmanager
def installed(data_dir: Path, *, migrated: bool = True) -> Iterator[Installation]:
    """An installation: on PostgreSQL with a database of its own where the tests run on PostgreSQL, else on SQLite."""
    outer = os.environ.get("DATABASE_URL", "")
    if not outer.startswith("postgres"):
        if migrated:
            shutil.copy(_migrated_file(), data_dir / "db.sqlite3")
        yield Installation(data_dir, None)
        return
    with _fresh_database(outer, template=_migrated_database(outer) if migrated else "template1") as name:
        yield Installation(data_dir, _at(outer, name))


@cache
def _static_files() -> Path:
    return _made_once("static", _collect_static) / "static"


def _collect_static(directory: Path) -> None:
    done = Installation(directory, None).manage("collectstatic", "-v0", "--noinput", **PRODUCTION)
    assert done.returncode == 0, done.stderr[-3000:]


@cache
def _migrated_file() -> Path:
    """A database that was migrated once, to be copied: it takes seconds, and dozens of tests start from one."""
    return _made_once("migrated", lambda directory: _migrate(Installation(directory, None))) / "db.sqlite3"


def _made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A directory that is made once: by each run of pytest for itself, or by one of those that share E2E_SHARED."""
    if shared := os.environ.get("E2E_SHARED"):
        directory = Path(shared) / name
        with (Path(shared) / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                unfinished = Path(tempfile.mkdtemp(dir=shared))
                make(unfinished)
                unfinished.rename(directory)
        return directory
    directory = Path(tempfile.mkdtemp(prefix=f"bambisleep-{name}-"))
    atexit.register(shutil.rmtree, directory)
    make(directory)
    return directory


@cache
def _migrated_database(outer: str) -> str:
    database = _fresh_database(outer, template="template1")
    name = database.__enter__()
    atexit.register(database.__exit__, None, None, None)
    with tempfile.TemporaryDirectory() as directory:
        _migrate(Installation(Path(directory), _at(outer, name)))
    return name


def _migrate(installation: Installation) -> None:
    done = installation.manage("migrate", "-v0")
    assert done.returncode == 0, done.stderr


@contextmanager
def _fresh_database(outer: str, *, template: str) -> Iterator[str]:
    name = f"bambisleep_e2e_{uuid.uuid4().hex}"
    _execute(outer, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield name
    finally:
        _execute(outer, "DROP DATABASE {} WITH (FORCE)", name)


def _at(outer: str, name: str) -> str:
    return urlsplit(outer)._replace(path=f"/{name}").geturl()


def _execute(url: str, statement: str, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


@contextmanager
def prometheus(directory: Path, *targets: Server, every: str = "1s") -> Iterator[Server]:
    """A real Prometheus that scrapes `targets` as the job `bambisleep`, each second unless `every` says otherwise."""
    port = free_port()
    addresses = json.dumps([f"127.0.0.1:{target.port}" for target in targets])
    configuration = directory / "prometheus.yml"
    configuration.write_text(
        f"""
global: {{scrape_interval: {every}, scrape_timeout: {every}}}
scrape_configs:
  - job_name: bambisleep
    static_configs: [{{targets: {addresses}}}]
"""
    )
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    log = directory / "prometheus.log"
    with running(command, environment=environment, port=port, log=log, ready="/-/ready") as server:
        yield server


def query(server: Server, promql: str) -> float | None:
    """The sum of an instant query's samples; None where it has none."""
    samples = server.json("/api/v1/query", query=promql)["data"]["result"]
    return sum(float(sample["value"][1]) for sample in samples) if samples else None
