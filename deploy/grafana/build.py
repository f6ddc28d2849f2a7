"""Writes the six dashboards: `python deploy/grafana/build.py`; `--check` only says which are stale, and ends with 1.

The output is committed, since Grafana reads it from `dashboards/`; change the modules in `boards/`, never the JSON.
"""

import argparse
import json
import sys
from pathlib import Path

from boards import auth, business, dora, http_red, payments, websocket

DIRECTORY = Path(__file__).resolve().parent / "dashboards"
BOARDS = {
    "http-red-metrics.json": http_red.build,
    "dora-metrics.json": dora.build,
    "auth-security.json": auth.build,
    "stripe-payments.json": payments.build,
    "websocket-metrics.json": websocket.build,
    "business-metrics.json": business.build,
}


def main(arguments: list[str]) -> int:
    """Write, or check, and return the exit status."""
    parser = argparse.ArgumentParser(description="Write the dashboards.")
    parser.add_argument("--check", action="store_true", help="only say which are not as they would be written")
    check = parser.parse_args(arguments).check
    stale = []
    for name, build in BOARDS.items():
        text = json.dumps(build(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        path = DIRECTORY / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    stale += [f"{path.name} (no source)" for path in sorted(DIRECTORY.glob("*.json")) if path.name not in BOARDS]
    for name in stale:
        print(f"{'stale' if check else 'written'}: {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
