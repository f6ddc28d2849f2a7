"""deploy/monitoring/validate.py for tests: run without the virtual environment's packages, and taken apart by steps."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from e2e.monitoring import Monitoring
from e2e.servers import ROOT, Server, wait_for


@dataclass(frozen=True, slots=True)
class Validation:
    """How it ended, and what it said."""

    status: int
    output: str

    def step(self, number: int) -> str:
        """All that was said of one step, heading included."""
        found = re.search(rf"^{number}\. .*?(?=\n\n|\Z)", self.output, re.MULTILINE | re.DOTALL)
        assert found, self.output
        return found[0]

    @property
    def summary(self) -> str:
        """The last line."""
        return self.output.rstrip().splitlines()[-1]


@dataclass(frozen=True, slots=True)
class RunningValidation:
    """One that has not ended yet."""

    process: subprocess.Popen[str]

    def finish(self, seconds: float = 240) -> Validation:
        """Wait for its end. Whatever happens, nobody is shown a traceback."""
        try:
            output, _ = self.process.communicate(timeout=seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
        assert "Traceback" not in output, output
        return Validation(self.process.returncode, output)


def start_validation(
    site: Server | str, stack: Monitoring, *options: str, root: Path = ROOT, **settings: str
) -> RunningValidation:
    """Start it for `site` and `stack`, whose addresses it finds as it finds those of `make monitoring-native`."""
    script = root / "deploy" / "monitoring" / "validate.py"
    native = stack.directory / "native.json"
    wait_for(native.exists, "all of the stack is ready")
    address = site if isinstance(site, str) else site.url
    environment = {"PATH": os.environ["PATH"], "HOME": str(stack.directory), "LANG": "C", "APP_URL": address}
    # -S: none of the packages that are installed can be imported.
    process = subprocess.Popen(
        [sys.executable, "-S", str(script), "--native", str(native), *options],
        env={**environment, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    return RunningValidation(process)


def validate(site: Server | str, stack: Monitoring, *options: str, root: Path = ROOT, **settings: str) -> Validation:
    """Run it to its end."""
    return start_validation(site, stack, *options, root=root, **settings).finish()
