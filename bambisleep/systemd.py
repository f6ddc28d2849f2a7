"""What systemd hands to a process, and what it wants to hear: sockets (sd_listen_fds(3)), states (sd_notify(3)).

manage.py imports this before the apps: Twisted, which comes with daphne, takes the variables of the sockets out of
the environment as soon as it is imported.
"""

import os
import socket
from contextlib import suppress

FIRST_DESCRIPTOR = 3


def _descriptors() -> list[int]:
    number, pid = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_PID", "")
    if pid != str(os.getpid()) or not number.isdigit():
        return []
    return list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(number)))


descriptors = _descriptors()  # of the sockets that were passed to this very process


def notify(state: str) -> None:
    """Tell systemd, where it started this process and asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):  # it is not there: nobody asks
        sender.connect("\0" + address[1:] if address[0] == "@" else address)
        sender.sendall(state.encode())


def is_watching() -> bool:
    """Whether systemd wants a sign of life again and again (WatchdogSec)."""
    pid = str(os.getpid())
    return "WATCHDOG_USEC" in os.environ and os.environ.get("WATCHDOG_PID", pid) == pid
