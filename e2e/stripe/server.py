"""The stand-in over HTTP: the API under /v1, the controls under /_standin, the pages, and faults on demand."""

import base64
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from e2e.stripe import pages
from e2e.stripe.delivery import Deliverer
from e2e.stripe.engine import Stripe
from e2e.stripe.wire import VERSION, Object, Refused, parse_form

FAULTS = ("down", "lost", "slow", "nonsense", "drip", "error_500", "error_500_kept", "rate_limited")
NO_KEY = "You did not provide an API key. Use 'Authorization: Bearer YOUR_SECRET_KEY'."


class StandIn(ThreadingHTTPServer):
    """Listens on the loopback interface alone. `serve_forever` runs it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, *, public_url: str | None = None, seed: int | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.stripe = Stripe(seed=seed, public_url=public_url or self.url)
        self.deliverer = Deliverer(lambda: self.stripe.now)
        self.stripe.listener = self.deliverer.take
        self.calls: list[Object] = []
        self.fault: Object = {}
        self.other_fault = threading.Event()  # set as soon as another one, or none, is asked for
        self._under_way: set[str] = set()  # idempotency keys
        self._lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours; anything else goes to the log."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Send nothing more, either."""
        self.deliverer.close()
        super().server_close()

    def misbehave(self, asked: Object) -> None:
        """From now on, calls of the API whose path matches `paths`, and method `methods`, fail in this `mode`."""
        if asked.get("mode") not in {None, *FAULTS}:
            raise Refused(f"{asked['mode']} is none of {', '.join(FAULTS)}.")
        self.other_fault.set()  # nobody is slow any more, nor holds an idempotency key
        self.other_fault = threading.Event()
        self.fault = {"seconds": 30, "paths": ".*", "methods": ".*", "times": None} | asked if asked.get("mode") else {}

    def fault_for(self, method: str, path: str) -> Object:
        """The fault that meets this call, if one does; `times` counts down."""
        with self._lock:
            fault = self.fault
            if not fault or not re.search(fault["paths"], path) or not re.search(fault["methods"], method):
                return {}
            if fault["times"] == 0:
                return {}
            if fault["times"]:
                fault["times"] -= 1
            return fault

    @contextmanager
    def alone(self, key: str) -> Iterator[bool]:
        """Whether no other call with that idempotency key is under way while this one is."""
        with self._lock:
            is_alone = key not in self._under_way
            self._under_way.add(key)
        try:
            yield is_alone or not key
        finally:
            with self._lock:
                self._under_way -= {key} if is_alone else set()

    def reset(self) -> None:
        """As just started, with no endpoint."""
        self.deliverer.clear()
        self.fault = {}
        self.calls.clear()
        self.stripe.reset()

    def control(self, method: str, name: str, asked: Object) -> Any:
        """What stands under /_standin/."""
        stripe, deliverer = self.stripe, self.deliverer
        first, _, rest = name.partition("/")
        key, _, verb = rest.partition("/")
        if method == "GET":
            answers: dict[str, Callable[[], Any]] = {
                "health": lambda: {"now": stripe.now},
                "deliveries": deliverer.log,
                "calls": lambda: list(self.calls),
                "events": stripe.events,
            }
            return answers[first]()
        acts: dict[str, Callable[[], Any]] = {
            "clock": lambda: {"now": stripe.advance(seconds=asked["advance"])},
            "delivery": lambda: deliverer.set(asked),
            "release": lambda: {"released": deliverer.release(asked)},
            "redeliver": lambda: {"redelivered": deliverer.redeliver(asked.get("event"))},
            "wait": lambda: deliverer.wait(float(asked.get("seconds", 20))),
            "fail": lambda: self.misbehave(asked),
            "forget_calls": self.calls.clear,
            "reset": self.reset,
            "settings": lambda: stripe.configure(**asked),
            "plans": lambda: asdict(stripe.plans()),
            "endpoint": lambda: stripe.add_endpoint(asked["url"], asked["secret"]),
            "card": lambda: stripe.card(asked["customer"], asked["behaviour"]),
            "portal": lambda: stripe.portal(key, **asked),
            "checkout": lambda: stripe.complete_checkout(key, **asked),
            "refunds": lambda: stripe.fail_refund(key),
            "dispute": lambda: (
                stripe.close_dispute(key, won=bool(asked["won"]))
                if verb == "close"
                else stripe.dispute(asked["charge"])
            ),
        }
        return acts[first]()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: StandIn
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a whole answer in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Whatever is asked for."""
        self._answer()

    def do_POST(self) -> None:
        """The same."""
        self._answer()

    def do_DELETE(self) -> None:
        """The same."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: `calls` is the log."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if url.path.startswith("/v1/"):
            self._api(url.path, "&".join(filter(None, (url.query, raw))))
        elif url.path.startswith("/_standin/"):
            self._control(url.path.removeprefix("/_standin/"), raw)
        else:
            found = pages.answer(self.server.stripe, self.command, url.path, dict(parse_qsl(raw)))
            self._send(found.status, found.html.encode(), "text/html; charset=utf-8", location=found.location)

    def _api(self, path: str, form: str) -> None:
        fault = self.server.fault_for(self.command, path)
        mode = fault.get("mode")
        call: Object = {"method": self.command, "path": path, "status": None}
        self.server.calls.append(call)
        if mode == "down":
            self._hang_up()
            return
        key = self.headers.get("Idempotency-Key", "") if self.command == "POST" else ""
        with self.server.alone(key) as is_alone:
            if mode == "slow" and is_alone:
                self.server.other_fault.wait(fault["seconds"])
            replayed = self.server.stripe.knows(key)
            status, body = self._outcome(mode, path, form, key) if is_alone else (409, _in_use())
        call["status"] = status
        if mode == "lost":  # it was carried out, and nobody hears of it
            self._hang_up()
            return
        if mode == "nonsense":
            self._send(200, b"<html><body>Service temporarily rearranged</body></html>", "text/html")
            return
        answer, drip = json.dumps(body, indent=2).encode(), fault["seconds"] if mode == "drip" else 0
        self._send(status, answer, "application/json", drip=drip, replayed=replayed and is_alone)

    def _outcome(self, mode: str | None, path: str, form: str, key: str) -> tuple[int, Object]:
        if mode == "error_500":
            return 500, _api_error()
        if mode == "rate_limited":
            return 429, _limit()
        if mode == "error_500_kept":
            self.server.stripe.fail(path, parse_form(form), idempotency_key=key)
        return self._call(path, form)

    def _call(self, path: str, form: str) -> tuple[int, Object]:
        try:
            self._check_key()
            version = self.headers.get("Stripe-Version", VERSION)
            if not version.endswith(".dahlia"):
                raise Refused(f"The stand-in speaks {VERSION}, not {version}.")
            key = self.headers.get("Idempotency-Key")
            return 200, self.server.stripe.request(self.command, path, parse_form(form), idempotency_key=key)
        except Refused as refused:
            return refused.status, refused.body

    def _check_key(self) -> None:
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            key = base64.b64decode(key).decode().partition(":")[0]
        if not key:
            raise Refused(NO_KEY, status=401)
        if not re.fullmatch(r"[sr]k_test_\w+", key) or "_refused" in key:
            raise Refused(f"Invalid API Key provided: {key[:8]}****{key[-4:]}", status=401)

    def _control(self, name: str, raw: str) -> None:
        try:
            answer = self.server.control(self.command, name, json.loads(raw or "{}"))
            self._send(200, json.dumps(answer).encode(), "application/json")
        except Refused as refused:
            self._send(refused.status, json.dumps(refused.body).encode(), "application/json")
        except (KeyError, TypeError, ValueError) as error:
            self._send(400, json.dumps({"error": {"message": f"{name}: {error!r}"}}).encode(), "application/json")

    def _send(
        self, status: int, body: bytes, type: str, *, drip: float = 0, location: str = "", replayed: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", "req_standin")
        if replayed:
            self.send_header("Idempotent-Replayed", "true")
        if location:
            self.send_header("Location", location)
        self.end_headers()
        for byte in body if drip else b"":  # each in time for a limit on a single read, the whole in no time at all
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(drip / len(body))
        if not drip:
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


def _api_error() -> Object:
    return {"error": {"type": "api_error", "message": "An unknown error occurred."}}


def _in_use() -> Object:
    message = "There is currently another in-progress request using this Idempotent Key."
    return {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": message}}


def _limit() -> Object:
    message = "Request rate limit exceeded."
    return {"error": {"type": "invalid_request_error", "code": "rate_limit", "message": message}}
