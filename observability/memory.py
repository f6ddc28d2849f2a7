"""Giving memory back to the system: what a crowd needed is not kept when it has left.

glibc keeps what was freed in between, for each thread that there was, and asks nobody whether it is wanted again: two
hundred readers at once leave a hundred megabytes behind. It gives them back when it is told to (malloc_trim(3)).
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from .refresh import at_each_tick

MUCH_BYTES = 32 * 2**20  # above the least that this process has had; below that nothing is done
_STATM = Path("/proc/self/statm")
_least: int | None = None


def resident_bytes() -> int | None:
    """How much memory this process has; None where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


@at_each_tick
def give_back() -> None:
    """Have the C library give back what it does not need, where that may be much."""
    global _least
    resident = resident_bytes()
    if resident is None:
        return
    if _least is None or resident < _least:
        _least = resident
    if resident - _least > MUCH_BYTES:
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)
