"""Events on their way to webhook endpoints: signed, repeated until taken, and held, shuffled or doubled on demand.

Stripe promises neither order nor a single delivery (docs.stripe.com/webhooks), so both can be had here without.
"""

import hmac
import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from e2e.stripe.state import DAY, HOUR, State
from e2e.stripe.wire import Object, Refused

RETRIES = (300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR)  # after each failed attempt, then every 12 h
GIVEN_UP_AFTER = 3 * DAY
PATIENCE_SECONDS = 30
ORDERS = ("as_is", "reversed", "shuffled")


def sign(payload: bytes, secret: str, *, at: int | None = None) -> str:
    """The header `Stripe-Signature` (docs.stripe.com/webhooks/signature)."""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{at}.".encode() + payload, "sha256").hexdigest()
    return f"t={at},v1={digest}"


@dataclass(slots=True, eq=False)
class Delivery:
    """One event for one endpoint. `state` is held, waiting, sending, delivered, or given_up."""

    event: str
    type: str
    endpoint: str
    url: str
    body: bytes
    state: str
    first: int  # by the movable clock
    due: int
    not_before: float  # by the real one
    attempts: list[Object] = field(default_factory=list)


class Deliverer:
    """Sends from `workers` threads; with one, an event is taken or refused before the next is sent."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.clear()

    def close(self) -> None:
        """Send nothing more; its threads end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget every delivery, and behave well again."""
        with self._changed:
            self._log: list[Delivery] = []
            self._open: list[Delivery] = []  # of the log: those that are not done
            self._secrets: dict[str, str] = {}
            self._wanted = 1
            self._mode, self._order, self._repeat, self._delay = "at_once", "as_is", 1, 0.0
            self._random = random.Random()

    def take(self, state: State, event: Object) -> None:
        """An event has happened: queue it for each endpoint that wants it."""
        endpoints = [
            endpoint
            for endpoint in state.find("webhook_endpoint", status="enabled")
            if "*" in endpoint["enabled_events"] or event["type"] in endpoint["enabled_events"]
        ]
        event["pending_webhooks"] = len(endpoints)
        with self._changed:
            self._secrets |= state.secrets
            for endpoint in endpoints:
                body, standing = json.dumps(event, indent=2).encode(), "held" if self._mode == "hold" else "waiting"
                for _ in range(self._repeat):
                    delivery = Delivery(
                        event=event["id"],
                        type=event["type"],
                        endpoint=endpoint["id"],
                        url=endpoint["url"],
                        body=body,
                        state=standing,
                        first=event["created"],
                        due=event["created"],
                        not_before=time.monotonic() + self._delay,
                    )
                    self._log.append(delivery)
                    self._open.append(delivery)
            self._start_workers()
            self._changed.notify_all()

    def set(self, asked: Object) -> None:
        """Change how it delivers: mode (at_once, hold), order, repeat, delay_seconds, seed, workers."""
        with self._changed:
            self._mode = _one_of(asked.get("mode", self._mode), ("at_once", "hold"))
            self._order = _one_of(asked.get("order", self._order), ORDERS)
            self._repeat = int(asked.get("repeat", self._repeat))
            self._delay = float(asked.get("delay_seconds", self._delay))
            self._wanted = int(asked.get("workers", self._wanted))
            if "seed" in asked:
                self._random = random.Random(asked["seed"])

    def release(self, asked: Object) -> int:
        """Send what is held, and whatever comes, in the order that `asked` may name; how many were held.

        With `only` (the beginning of a type), the rest stays held, and so does what comes.
        """
        self.set({key: asked[key] for key in asked.keys() & {"order", "seed", "workers"}})
        with self._changed:
            only = str(asked.get("only", ""))
            held = [entry for entry in self._open if entry.state == "held" and entry.type.startswith(only)]
            for entry in held:
                entry.state = "waiting"
            if not only:
                self._mode = "at_once"
            self._start_workers()
            self._changed.notify_all()
            return len(held)

    def redeliver(self, event: str | None = None) -> int:
        """Send again, now: all that was not taken, or one event whether it was or not; how many."""
        with self._changed:
            again = [e for e in self._log if (e.event == event if event else e.state in {"waiting", "given_up"})]
            for entry in again:
                entry.state, entry.due, entry.not_before = "waiting", 0, 0.0
            self._open = [entry for entry in self._log if entry.state in {"held", "waiting", "sending"}]
            self._start_workers()
            self._changed.notify_all()
            return len(again)

    def wait(self, seconds: float) -> Object:
        """Until nothing is due or on its way, or the time is up; what is left then."""
        with self._changed:
            idle = self._changed.wait_for(lambda: not any(map(self._is_busy, self._open)), seconds)
            states = [entry.state for entry in self._open]
            return {"idle": idle, "held": states.count("held"), "waiting": states.count("waiting")}

    def log(self) -> list[Object]:
        """Every delivery so far, with the outcome of each attempt."""
        with self._changed:
            return [{key: value for key, value in asdict(entry).items() if key != "body"} for entry in self._log]

    def _is_busy(self, entry: Delivery) -> bool:
        return entry.state == "sending" or (entry.state == "waiting" and entry.due <= self._now())

    def _start_workers(self) -> None:
        while len(self._threads) < self._wanted:
            thread = threading.Thread(target=self._work, args=(len(self._threads),), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, number: int) -> None:
        while True:
            with self._changed:
                while self._closed or number >= self._wanted or (entry := self._pick()) is None:
                    if self._closed:
                        return
                    self._changed.wait(0.05)  # the clock may have moved
                entry.state = "sending"
                secret = self._secrets[entry.endpoint]
            attempt = _send(entry, secret)
            with self._changed:
                self._settle(entry, attempt)
                self._changed.notify_all()

    def _pick(self) -> Delivery | None:
        now, moment = self._now(), time.monotonic()
        ready = (e for e in self._open if e.state == "waiting" and e.due <= now and e.not_before <= moment)
        if self._order == "as_is":
            return next(ready, None)
        found = list(ready)
        if not found:
            return None
        return found[-1] if self._order == "reversed" else self._random.choice(found)

    def _settle(self, entry: Delivery, attempt: Object) -> None:
        entry.attempts.append(attempt | {"at": self._now()})
        if 200 <= (attempt["status"] or 0) < 300:
            entry.state = "delivered"
        else:
            tries = len(entry.attempts)
            entry.due = self._now() + (RETRIES[tries - 1] if tries <= len(RETRIES) else 12 * HOUR)
            entry.state = "waiting" if entry.due <= entry.first + GIVEN_UP_AFTER else "given_up"
        if entry.state in {"delivered", "given_up"} and entry in self._open:
            self._open.remove(entry)


def _send(entry: Delivery, secret: str) -> Object:
    """One attempt: the status that came, or None and the reason why none did."""
    url = urlsplit(entry.url)
    connect: Any = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Stripe-Signature": sign(entry.body, secret),
        "Connection": "close",
    }
    begun = time.monotonic()
    connection = connect(url.hostname, url.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", url.path + (f"?{url.query}" if url.query else ""), entry.body, headers)
        status, error = connection.getresponse().status, None
    except (OSError, http.client.HTTPException) as failure:
        status, error = None, str(failure) or type(failure).__name__
    finally:
        connection.close()
    return {"status": status, "error": error, "seconds": round(time.monotonic() - begun, 3)}


def _one_of(value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise Refused(f"{value} is none of {', '.join(allowed)}.")
    return value
