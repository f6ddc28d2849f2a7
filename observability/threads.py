"""The background's threads: how a process that stops waits for them."""

import threading
import time


def has_ended(thread: threading.Thread | None, deadline: float) -> bool:
    """Wait for a thread that was told to end.

    Args:
        thread: None where it was never started.
        deadline: how long to wait, by time.monotonic.

    Returns:
        Whether it has ended.
    """
    if thread is None:
        return True
    thread.join(max(deadline - time.monotonic(), 0))
    return not thread.is_alive()
