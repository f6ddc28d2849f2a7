"""The commands of DEPLOYMENT.md: its blocks of shell, in order, and what is said of each on its fence.

```bash           typed by hand, or where somebody answers; its words are checked, and it does not run here
```bash host      runs on a fresh host, after those before it
```bash host network   the same, and needs the packages' mirrors
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "DEPLOYMENT.md"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of commands."""

    line: int
    kinds: frozenset[str]
    text: str

    @property
    def runs_on_a_host(self) -> bool:
        """Whether `make test-install` runs it."""
        return "host" in self.kinds

    @property
    def needs_network(self) -> bool:
        """Whether it asks the packages' mirrors."""
        return "network" in self.kinds


def blocks(path: Path = GUIDE) -> list[Block]:
    """All blocks of shell, in order."""
    text = path.read_text()
    found = re.finditer(r"^ *```bash([a-z ]*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, match.start()) + 1, frozenset(match[1].split()), match[2]) for match in found]
