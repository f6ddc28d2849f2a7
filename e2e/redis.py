"""A Redis of a test's own, to be stopped, hung and started again."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.servers import free_port, wait_for


@dataclass(slots=True)
class Redis:
    """A Redis on loopback."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """How to reach it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen([*command, "--dir", str(self.directory)], stdout=subprocess.DEVNULL)
        wait_for(self._listens, "redis-server listens")

    def stop(self) -> None:
        """Stop it, even where it hangs."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stopped until the end of the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Accepting, as the kernel does for it, and never answering, until the end of the block."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def redis(directory: Path) -> Iterator[Redis]:
    """A Redis, started, until the end of the block."""
    found = Redis(directory, free_port())
    found.start()
    try:
        yield found
    finally:
        found.stop()
