"""One uvicorn process that stops without anybody noticing: what `manage.py serve` runs.

Told to stop (SIGTERM, or SIGINT), it drains for DRAIN_SECONDS (observability/http/draining.py), takes no more
connections, waits up to SHUTDOWN_SECONDS for what is under way, and stores what waits in the background. A second
signal ends it at once. systemd may hand it the listening socket, which then outlives it: whoever connects between two
processes waits for the next one (docs/decisions/rolling-restart.md).
"""

import asyncio
import math
import os
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import structlog
import uvicorn
from django.conf import settings

from bambisleep import systemd
from bambisleep.listening import BACKLOG, Socket
from observability.http import draining
from observability.http.sockets import MOST_MESSAGE_BYTES

TURN_SECONDS = 0.02
FIRST_WORD_TURNS = 50  # of the event loop, for the request of whoever was accepted just before the end
BACKGROUND_SECONDS = 10.0  # for what waits in the background, once the last request is answered
LAST_RESORT_SECONDS = 5.0  # for the interpreter's own end
ENDED_AT_ONCE = 1

log = structlog.get_logger("bambisleep.serving")


class Server(uvicorn.Server):
    """uvicorn, which drains before it stops."""

    def __init__(self, application: Any, *, drain_seconds: float, shutdown_seconds: int) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                lifespan="on",
                log_config=None,  # the settings have configured it
                access_log=False,  # the edge writes one line a request
                proxy_headers=False,  # the edge knows whom to believe
                server_header=False,
                ws_max_size=MOST_MESSAGE_BYTES,
                backlog=BACKLOG,
                timeout_keep_alive=settings.KEEP_ALIVE_SECONDS,
            )
        )
        self._drain_seconds = drain_seconds
        self._shutdown_seconds = shutdown_seconds
        self._stops_at: float | None = None  # seconds of time.monotonic
        self._asked_to_stop = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note that a signal has come. It is not raised again: to stop in good order is a success."""
        if self._asked_to_stop:
            self.should_exit = self.force_exit = True
            asyncio.get_running_loop().call_soon_threadsafe(self._cut_off)
        self._asked_to_stop = True

    async def startup(self, sockets: list[Socket] | None = None) -> None:
        """Listen, and say so to systemd."""
        await super().startup(sockets=sockets)
        systemd.notify("READY=1")

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to stop listening."""
        is_due = await super().on_tick(counter)
        if counter % 10 == 0 and systemd.is_watching():
            systemd.notify("WATCHDOG=1")
        if self._asked_to_stop and self._stops_at is None:
            self._stops_at = time.monotonic() + self._drain_seconds
            log.info("draining", seconds=self._drain_seconds)
            systemd.notify("STOPPING=1")
            draining.begin(self._drain_seconds)
        return is_due or (self._stops_at is not None and time.monotonic() >= self._stops_at)

    async def shutdown(self, sockets: list[Socket] | None = None) -> None:
        """Accept nobody more; answer whoever was accepted, and close no connection that a proxy may still send into."""
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + self._shutdown_seconds
        turns = 0
        while not self.force_exit and any(self._is_needed(one, turns) for one in self.server_state.connections):
            if turns >= FIRST_WORD_TURNS and time.monotonic() >= deadline:
                break
            await asyncio.sleep(TURN_SECONDS)
            turns += 1
        left = 0.0 if self.force_exit else deadline - time.monotonic()
        self.config.timeout_graceful_shutdown = math.ceil(max(0.0, left))
        await super().shutdown(sockets=sockets)

    def _is_needed(self, connection: Any, turns: int) -> bool:
        """Whether an answer is under way on a connection, or a request may still come.

        An answer that began before the draining has told nobody to close the connection. Its proxy keeps it, and closes
        it by itself once it was idle for less than KEEP_ALIVE_SECONDS, and for less than a drain takes.
        """
        if not hasattr(connection, "timeout_keep_alive_task"):
            return False  # a WebSocket, which draining has sent away
        closes = connection.timeout_keep_alive_task
        if closes is None:
            is_answering = connection.cycle is not None and not connection.cycle.response_complete
            return is_answering or turns < FIRST_WORD_TURNS
        idle_seconds = settings.KEEP_ALIVE_SECONDS - (closes.when() - asyncio.get_running_loop().time())
        return bool(idle_seconds < min(self._drain_seconds, settings.KEEP_ALIVE_SECONDS))

    def _cut_off(self) -> None:
        self.config.timeout_graceful_shutdown = 0
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def serve(sockets: Sequence[Socket]) -> int:
    """Serve the site until a signal comes.

    Returns:
        The exit status: 0 after an end in good order, 1 where it was cut short.
    """
    from bambisleep.asgi import application, stop_background  # starts the background's threads

    server = Server(application, drain_seconds=settings.DRAIN_SECONDS, shutdown_seconds=settings.SHUTDOWN_SECONDS)
    server.run(sockets=list(sockets))
    is_whole = stop_background(BACKGROUND_SECONDS) and not server.force_exit
    log.info("stopped", in_good_order=is_whole)
    # A thread that still waits for somebody would hold up the interpreter's end.
    last_resort = threading.Timer(LAST_RESORT_SECONDS, os._exit, [ENDED_AT_ONCE])
    last_resort.daemon = True
    last_resort.start()
    return 0 if is_whole else ENDED_AT_ONCE
