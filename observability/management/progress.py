"""How far a long command is, on standard error."""

import time

from django.core.management.base import OutputWrapper

REDRAW_SECONDS = 0.1
SAY_SECONDS = 10.0  # where there is no terminal, such as in a timer's log


class Progress:
    """How far it is: one line that is drawn anew on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._at, self._drawn = time.monotonic(), False

    def draw(self, text: str) -> None:
        """Bring it up to date."""
        now = time.monotonic()
        if now - self._at < (REDRAW_SECONDS if self._is_terminal else SAY_SECONDS):
            return
        self._at = now
        self._drawn = self._is_terminal
        self._stream.write(f"\r\x1b[K{text}" if self._is_terminal else text, ending="" if self._is_terminal else "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take it away, before something else is written."""
        if self._drawn:
            self._stream.write("\r\x1b[K", ending="")
            self._stream.flush()
            self._drawn = False
