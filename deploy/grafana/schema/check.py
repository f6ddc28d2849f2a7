"""Holds dashboards against Grafana's own schema: `python deploy/grafana/schema/check.py [FILE...]`; all six by default.

Each file becomes TypeScript that must satisfy the types in `dashboard.ts`, of the schema package of the very version of
Grafana that docker-compose.monitoring.yml runs. Needs npm, and its registry the first time; the packages are kept in
var/grafana-schema. Ends with 1, and says what the compiler says, where a file does not satisfy them.
"""

import argparse
import fcntl
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DASHBOARDS = HERE.parent / "dashboards"
CACHE = HERE.parents[2] / "var" / "grafana-schema"
OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "preserve"]


def check(files: list[Path], cache: Path = CACHE) -> str:
    """What the compiler finds wrong with the files; empty where they satisfy the schema."""
    install(cache)
    with tempfile.TemporaryDirectory(dir=cache) as name:  # below the packages, where the compiler looks for them
        directory = Path(name)
        shutil.copy(HERE / "dashboard.ts", directory / "dashboard.ts")
        sources = []
        for file in files:
            source = directory / f"{file.stem}.json.ts"
            text = file.read_text(encoding="utf-8").rstrip()
            source.write_text(
                f'import type {{ Dashboard }} from "./dashboard";\nexport default {text} satisfies Dashboard;\n',
                encoding="utf-8",
            )
            sources.append(source.name)
        compiler = cache / "node_modules" / "typescript" / "bin" / "tsc"
        done = subprocess.run(
            ["node", str(compiler), *OPTIONS, *sources],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=300,
        )
    if done.returncode and not done.stdout:
        raise RuntimeError(done.stderr)
    return done.stdout


def install(cache: Path) -> None:
    """Bring the packages of the lock file into `cache`, unless they are there; several at once wait for each other."""
    cache.mkdir(parents=True, exist_ok=True)
    wanted, installed = HERE / "package-lock.json", cache / "installed-lock.json"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and installed.read_bytes() == wanted.read_bytes():
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, cache / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        subprocess.run(command, cwd=cache, check=True, capture_output=True, text=True, timeout=300)
        shutil.copy(wanted, installed)


def main(arguments: list[str]) -> int:
    """Check, print what is wrong, and return the exit status."""
    parser = argparse.ArgumentParser(description="Hold dashboards against Grafana's own schema.")
    parser.add_argument("files", nargs="*", type=Path, help="default: all in deploy/grafana/dashboards")
    found = check(parser.parse_args(arguments).files or sorted(DASHBOARDS.glob("*.json")))
    print(found or "All satisfy Grafana's schema.", end="\n" if not found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
