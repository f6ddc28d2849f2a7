"""The environment of the tests, set before the settings are read (`-p` in pyproject.toml loads this first).

Tests run as production does, but for TLS.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DEFAULTS = {
    "DEBUG": "false",
    "SECRET_KEY": "a-key-for-tests-only-that-is-long-enough-to-be-accepted-0123456789",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "HTTPS": "false",
    "PUBLIC_URL": "http://localhost:3000",
    "LOG_FORMAT": "json",
    "DATA_DIR": str(ROOT / "var" / "test"),
}
for name, value in DEFAULTS.items():
    os.environ.setdefault(name, value)
(Path(os.environ["DATA_DIR"]) / "static").mkdir(parents=True, exist_ok=True)
