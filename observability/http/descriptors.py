"""File descriptors: what each connection costs, and what nobody can be answered without.

A process without any accepts nobody, opens no page's template, and reaches no database. WebSockets are what may take
them all, for hours: they are refused before it comes to that, so that pages go on.
"""

import os
import resource

WANTED = 16_384
KEPT_FREE = 0.25  # of the limit: for requests, the database, Redis, files

REFUSED_DETAIL = "This process has as many connections as it can hold. Try again in a moment."


def raise_limit() -> None:
    """Let this process open as many as the system allows it, up to `WANTED`: the usual 1024 are a default of old."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def are_scarce() -> bool:
    """Whether what is left is to be kept for others than those who stay for long."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return False
    try:
        return len(os.listdir("/proc/self/fd")) > limit * (1 - KEPT_FREE)
    except FileNotFoundError:
        return False  # not on Linux
    except OSError:
        return True  # there is none left to look with
