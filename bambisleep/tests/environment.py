"""The environment of the tests, set before the settings are read (`-p` in pyproject.toml loads this first).

Tests run as production does, but for TLS.
"""

import os
import signal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONG = bool(os.environ.get("BAMBISLEEP_LONG"))  # `make test-long`: more of everything
FEWER = 1 if LONG else 3  # a property has so many times fewer examples

DEFAULTS = {
    "DEBUG": "false",
    "SECRET_KEY": "a-key-for-tests-only-that-is-long-enough-to-be-accepted-0123456789",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "HTTPS": "false",
    "PUBLIC_URL": "http://localhost:3000",
    "LOG_FORMAT": "json",
    "DATA_DIR": str(ROOT / "var" / "test"),
}
if LONG:
    DEFAULTS["PYTEST_TIMEOUT"] = "7200"  # instead of pyproject.toml's, however the tests are started

# Started from a background job, this process ignores Ctrl-C, and whatever the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for name, value in DEFAULTS.items():
    os.environ.setdefault(name, value)
(Path(os.environ["DATA_DIR"]) / "static").mkdir(parents=True, exist_ok=True)
