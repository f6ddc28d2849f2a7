"""Security events: what looks like an attack, counted at once and stored after the response.

Stored apart from the request's transaction, so that no rollback takes the evidence along; bounded in rate and in rows,
so that an attacker cannot fill the disk. What is counted but not stored is counted as dropped.

    security.record(type="invalid_token")
"""

import atexit
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from .http.exchange import Exchange, current
from .logs import redacted
from .metrics import counter
from .models import SecurityEvent
from .retention import KEPT, Outdated, Rows, keeps
from .threads import has_ended

TYPES = (
    "bad_host",
    "bad_origin",
    "bad_signature",
    "csrf_failure",
    "directory_traversal",
    "invalid_token",
    "lockout",
    "oversized_body",
    "rate_limited",
    "token_reuse",
)

EVENTS = counter("security_events_total", "Events that look like an attack.", type=TYPES)
DROPPED = counter("security_events_dropped_total", "Security events that were counted but not stored.")

# Stored a minute by one process: of one address and type, and of one type. A burst shows; a flood is only counted.
PER_ADDRESS, PER_TYPE = 20, 200
QUEUE_LENGTH = 1000
HOUSEKEEPING_SECONDS = 600.0

log = structlog.get_logger("bambisleep.security")


def record(*, type: str, exchange: Exchange | None = None, detail: str = "") -> None:
    """Count an event, and have it stored once the response is out.

    Args:
        type: one of `TYPES`.
        exchange: the request it belongs to; by default the one being answered.
        detail: what was noticed, without secrets; the first 200 characters are kept.

    Raises:
        ValueError: where the type is not declared.
    """
    if type not in TYPES:
        raise ValueError(f"{type} is no declared type of security event.")
    EVENTS.labels(type).inc()
    exchange = exchange or current.get()
    event = SecurityEvent(
        at=timezone.now(),
        type=type,
        address=exchange.client.partition("%")[0] if exchange and exchange.client else None,
        path=_printable(exchange.path) if exchange else "",
        user_id=exchange.user_id if exchange else None,
        request_id=exchange.request_id if exchange else "",
        detail=_printable(detail),
    )
    if exchange is None:
        writer.put([event])
    else:
        exchange.security_events.append(event)


def _printable(text: str) -> str:
    """The first 200 characters, without secrets, and without what a database refuses or a terminal obeys."""
    return "".join(character if character.isprintable() else "\ufffd" for character in redacted(text)[:200])


class Writer:
    """Stores events in batches, in a thread of a serving process; elsewhere at exit or by `flush`."""

    def __init__(self) -> None:
        self._queue: queue.Queue[SecurityEvent] = queue.Queue(QUEUE_LENGTH)
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._minute = 0
        self._stored: dict[tuple[str, str | None], int] = defaultdict(int)

    def put(self, events: Iterable[SecurityEvent]) -> None:
        """Take events in, as far as the rate allows; drop and count the rest. Never waits."""
        for event in events:
            if not self._within_rate(event):
                DROPPED.inc()
                continue
            try:
                self._queue.put_nowait(event)
            except queue.Full:
                DROPPED.inc()

    def start(self) -> None:
        """Start the thread, once."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="security", daemon=True)
                self._thread.start()
                atexit.register(self.flush)

    def stop(self, deadline: float) -> bool:
        """End the thread, once it has stored what waits.

        Args:
            deadline: how long to wait for that, by time.monotonic.

        Returns:
            Whether it has ended.
        """
        self._stopped.set()
        return has_ended(self._thread, deadline)

    def flush(self) -> int:
        """Store what waits.

        Returns:
            How many events were stored.
        """
        waiting: list[SecurityEvent] = []
        while len(waiting) < QUEUE_LENGTH:
            try:
                waiting.append(self._queue.get_nowait())
            except queue.Empty:
                break
        if not waiting:
            return 0
        try:
            SecurityEvent.objects.bulk_create(waiting)
        except DatabaseError as error:
            DROPPED.inc(len(waiting))
            log.warning("security_events_lost", number=len(waiting), error=str(error).strip()[:300])
            return 0
        return len(waiting)

    def _within_rate(self, event: SecurityEvent) -> bool:
        minute = int(time.monotonic() // 60)
        with self._lock:
            if minute != self._minute:
                self._minute = minute
                self._stored.clear()
            for key, limit in (((event.type, None), PER_TYPE), ((event.type, event.address), PER_ADDRESS)):
                if self._stored.get(key, 0) >= limit:
                    return False
            self._stored[event.type, event.address] += 1
            self._stored[event.type, None] += event.address is not None
            return True

    def _run(self) -> None:
        swept = time.monotonic() - HOUSEKEEPING_SECONDS + 30
        while not self._stopped.is_set():
            self._stopped.wait(0.5)
            try:
                self.flush()
                if time.monotonic() - swept > HOUSEKEEPING_SECONDS:
                    swept = time.monotonic()
                    sweep()
            except DatabaseError as error:
                log.warning("security_events_not_swept", error=str(error).strip()[:300])
            finally:
                close_old_connections()


@keeps("security-events", "Security events, and at most SECURITY_EVENTS_MAX_ROWS of them.", days="SECURITY_EVENTS_DAYS")
def outdated(before: datetime) -> Iterator[Outdated]:
    """Events past their retention, and the oldest of each type past its share of the table.

    A flood of one type evicts that type's own oldest rows, never another's evidence.
    """
    yield Rows(SecurityEvent.objects.filter(at__lt=before))
    share = settings.SECURITY_EVENTS_MAX_ROWS // len(TYPES)
    for name in TYPES:
        of_type = SecurityEvent.objects.filter(type=name).order_by("-pk")
        newest_beyond = of_type.values_list("pk", flat=True)[share : share + 1].first()
        if newest_beyond is not None:
            yield Rows(of_type.filter(pk__lte=newest_beyond, at__gte=before))


def sweep() -> int:
    """Delete them; a serving process does so every ten minutes, since a flood may come at any time.

    Returns:
        How many rows were deleted.
    """
    return sum(number for rows in KEPT["security-events"].at(timezone.now()) for number in rows.clear())


writer = Writer()
