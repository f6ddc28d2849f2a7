"""A PostgreSQL of a test's own, to be stopped, hung and killed."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from e2e.servers import free_port, wait_for


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL of the test's own, in `directory`, on loopback."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        """How to reach it."""
        return f"postgres://site@127.0.0.1:{self.port}/postgres"

    @property
    def processes(self) -> list[int]:
        """The pids of the postmaster and of all that it started."""
        postmaster = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, which refuse to be run by root."""
        newest = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run(
            [*as_postgres, str(newest / program), "-D", str(self.directory / "data"), *arguments],
            check=True,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c unix_socket_directories= -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run("pg_ctl", "-s", "-w", "-l", str(self.directory / "log"), "-o", options, "start")

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stopped, as by a crash, until the end of the block."""
        self.run("pg_ctl", "-s", "-m", "immediate", "stop")
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Accepting, as the kernel does for it, and never answering, until the end of the block."""
        stopped = self.processes
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the postmaster and to all that it started, as the kernel does when memory runs out."""
        killed = self.processes
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(_runs, killed)), "PostgreSQL is gone")
        (self.directory / "data" / "postmaster.pid").unlink()  # where nobody has buried it, its pid still answers


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@contextmanager
def postgresql(*, encoding: str = "UTF8") -> Iterator[Database]:
    """A database of the test's own, started, until the end of the block."""
    # Not under pytest's own directory, which no other user may enter.
    directory = Path(tempfile.mkdtemp(prefix="bambisleep-"))
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres")
    found = Database(directory, free_port())
    try:
        found.run("initdb", "-U", "site", "-A", "trust", "-N", "-E", encoding)
        found.start()
        try:
            yield found
        finally:
            found.run("pg_ctl", "-s", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory)
