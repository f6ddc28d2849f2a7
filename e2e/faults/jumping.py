"""The application, whose clock goes wrong by so many seconds as a file says whenever SIGUSR1 comes.

Only the time of day: `time.monotonic` and what waits by it go on, as when an administrator, or NTP, sets the clock.
"""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import time_machine

_machine: time_machine.travel | None = None


def _set(number: int, frame: FrameType | None) -> None:
    global _machine
    if _machine is not None:
        _machine.stop()
    wrong_by = timedelta(seconds=float(Path(os.environ["CLOCK_FILE"]).read_text()))
    _machine = time_machine.travel(datetime.now(UTC) + wrong_by, tick=True)
    _machine.start()


signal.signal(signal.SIGUSR1, _set)

from bambisleep.asgi import application  # noqa: E402, F401
