"""The stand-in for tests: `with standin(tmp_path) as stripe:` starts it; `stripe` moves its clock, holds its events,
makes it misbehave, and tells what it saw."""

import json
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.stripe.delivery import sign
from e2e.stripe.engine import Plans
from e2e.stripe.server import StandIn
from e2e.stripe.state import DAY, HOUR
from e2e.stripe.wire import VERSION, Object

if TYPE_CHECKING:
    from stripe import StripeClient

KEY = "sk_test_" + "standin0" * 3
SECRET = "whsec_standin0standin0standin0standin0"


@dataclass(frozen=True, slots=True)
class Handle:
    """A running stand-in at `url`."""

    url: str

    def api(self, key: str = KEY, *, seconds: float = 20) -> "StripeClient":
        """Stripe's own client for it, which repeats nothing by itself."""
        import stripe  # which the stand-in itself does without

        return stripe.StripeClient(
            key,
            base_addresses={"api": self.url},
            http_client=stripe.RequestsClient(timeout=seconds),
            max_network_retries=0,
            stripe_version=VERSION,
        )

    def control(self, path: str, /, **asked: Any) -> Any:
        """POST to /_standin/…; an error of the stand-in is an AssertionError that says it."""
        return _json(f"{self.url}/_standin/{path}", asked)

    def seen(self, path: str) -> Any:
        """GET from /_standin/…."""
        return _json(f"{self.url}/_standin/{path}", None)

    def plans(self) -> Plans:
        """A product with a monthly and a yearly price in EUR, one in JPY, one in KWD, each with 7 days' trial."""
        return Plans(**self.control("plans"))

    def send_events_to(self, url: str, *, secret: str = SECRET) -> str:
        """Add a webhook endpoint; its id."""
        return str(self.control("endpoint", url=url, secret=secret)["id"])

    def advance(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> int:
        """Move the clock, and do what falls due on the way."""
        return int(self.control("clock", advance=int(days * DAY + hours * HOUR + seconds))["now"])

    def complete_checkout(self, session: str, card: str = "good", promotion_code: str = "") -> Object:
        """Pay at Checkout without the page."""
        return dict(self.control(f"checkout/{session}/complete", card=card, promotion_code=promotion_code))

    def portal(self, session: str, **action: str) -> None:
        """Press a button of the portal: action="cancel" with subscription=…, and so on (`checkout.act`)."""
        self.control(f"portal/{session}", **action)

    def card(self, customer: str, behaviour: str) -> None:
        """Have a customer's cards behave so from now on: good, declined, authentication (`money.CARDS`)."""
        self.control("card", customer=customer, behaviour=behaviour)

    def dispute(self, charge: str) -> Object:
        """The payer's bank takes a charge back."""
        return dict(self.control("dispute", charge=charge))

    def close_dispute(self, dispute: str, *, won: bool) -> Object:
        """The bank decides."""
        return dict(self.control(f"dispute/{dispute}/close", won=won))

    def fail_refund(self, refund: str) -> Object:
        """A refund comes back."""
        return dict(self.control(f"refunds/{refund}/fail"))

    def configure(self, **settings: Any) -> None:
        """retry_days, dunning_end, draft_seconds."""
        self.control("settings", **settings)

    def deliver(self, **asked: Any) -> None:
        """Set mode, order, repeat, delay_seconds, seed, workers of the deliveries."""
        self.control("delivery", **asked)

    def hold(self) -> None:
        """Keep events back until `release`."""
        self.deliver(mode="hold")

    def release(self, **asked: Any) -> int:
        """Let them go; order, seed, workers, only."""
        return int(self.control("release", **asked)["released"])

    def redeliver(self, event: str | None = None) -> int:
        """Send again what was not taken, or one event."""
        return int(self.control("redeliver", event=event)["redelivered"])

    def wait(self, *, seconds: float = 20) -> Object:
        """Until no delivery is due or on its way; AssertionError where that does not come true in time."""
        left = dict(self.control("wait", seconds=seconds))
        assert left["idle"], f"Events were still on their way after {seconds} s: {left}"
        return left

    def misbehave(
        self,
        mode: str | None,
        *,
        seconds: float = 30,
        paths: str = ".*",
        methods: str = ".*",
        times: int | None = None,
    ) -> None:
        """Have calls of the API fail: down, lost, slow, nonsense, drip, error_500, error_500_kept (and told again for
        the same key), rate_limited; None: no more."""
        self.control("fail", mode=mode, seconds=seconds, paths=paths, methods=methods, times=times)

    def calls(self, pattern: str = "") -> list[tuple[str, str]]:
        """Method and path of each call of the API so far whose "METHOD /path" matches."""
        found = [(call["method"], call["path"]) for call in self.seen("calls")]
        return [call for call in found if re.search(pattern, " ".join(call))]

    def forget_calls(self) -> None:
        """Begin that list anew."""
        self.control("forget_calls")

    def deliveries(self) -> list[Object]:
        """Every delivery, with each attempt."""
        return list(self.seen("deliveries"))

    def events(self) -> list[Object]:
        """Every event, the oldest first."""
        return list(self.seen("events"))

    def reset(self) -> None:
        """As just started."""
        self.control("reset")

    @staticmethod
    def sign(payload: bytes, secret: str = SECRET, *, at: int | None = None) -> str:
        """The header that Stripe would send with `payload`."""
        return sign(payload, secret, at=at)


@contextmanager
def standin(directory: Path, *, webhook: str | None = None, secret: str = SECRET) -> Iterator[Handle]:
    """Run it as a process of its own until the end of the block."""
    from e2e.servers import free_port, running  # with pytest and httpx, which the stand-in itself does without

    port = free_port()
    command = [sys.executable, "-m", "e2e.stripe", "--port", str(port)]
    command += ["--webhook", webhook, "--secret", secret] if webhook else []
    log = directory / f"stripe-{port}.log"
    with running(
        command, environment={"PATH": "/usr/bin:/bin"}, port=port, log=log, ready="/_standin/health"
    ) as server:
        yield Handle(server.url)


@contextmanager
def standin_in_thread() -> Iterator[Handle]:
    """Run it in a thread of this process: it starts in no time."""
    server = StandIn(0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Handle(server.url)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _json(url: str, body: Object | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=90) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from None
