"""The whole stand-in without a network: `Stripe()` takes calls of the API, and the controls that Stripe does not have.

    stripe = Stripe(seed=1)
    customer = stripe.request("POST", "/v1/customers", {"email": "ann@example.org"})
    stripe.advance(days=31)

Errors are raised as `Refused`. Every method may be called from any thread.
"""

import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.stripe import checkout, money, routes, subscriptions
from e2e.stripe.catalogue import new_webhook_endpoint
from e2e.stripe.state import DAY, HOUR, State
from e2e.stripe.wire import Object, Refused, as_text, expand, known

DEFAULT_PORTAL = {
    "customer_update": {"enabled": False},
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True},
    "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
    "subscription_update": {"enabled": True, "products": []},
}
ACTIONS = subscriptions.actions() | {"expire_session": checkout.expire_session}


@dataclass(frozen=True, slots=True)
class Plans:
    """The ids of what `plans()` makes."""

    product: str
    monthly: str
    yearly: str
    yen: str
    dinar: str


class Stripe:
    """An account with a clock that moves: by itself from `now`, and by `advance`."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        seed: int | None = None,
        public_url: str = "https://checkout.standin.test",
    ) -> None:
        self._lock = threading.RLock()
        self._make: Callable[[], State] = lambda: State(now=now, seed=seed, public_url=public_url)
        self._answers: dict[str, tuple[str, Object | Refused]] = {}
        self.listener: Callable[[State, Object], None] = lambda state, event: None
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self.state = self._make()
            self.state.on_event = lambda event: self.listener(self.state, event)
            self._answers.clear()
            checkout.new_configuration(self.state, {"features": DEFAULT_PORTAL}, default=True)

    def keep(self, path: Path) -> None:
        """Write everything that it knows to a file."""
        with self._lock:
            path.write_bytes(pickle.dumps(self.state.remembered()))

    def recall(self, path: Path) -> None:
        """Take up what `keep` wrote. Only for files of one's own: a pickle runs code."""
        with self._lock:
            self.state.remember(pickle.loads(path.read_bytes()))

    def request(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Object:
        """A call of the API, and what it answers.

        Args:
            params: nested, as in `{"items": [{"price": "price_…"}]}`.
            idempotency_key: the same one again gets the same answer again, if it is the same call.

        Raises:
            Refused: an error of Stripe's.
        """
        texts: Object = as_text(params or {})
        with self._lock:
            self.state.advance(0, ACTIONS)
            if not idempotency_key or method != "POST":
                return self._run(method, path, texts, idempotency_key)
            call = json.dumps([path, texts], sort_keys=True)
            earlier = self._answers.get(idempotency_key)
            if earlier and earlier[0] != call:
                raise Refused(
                    "Keys for idempotent requests can only be used with the same parameters they were first used with.",
                    type="idempotency_error",
                )
            if earlier and isinstance(earlier[1], Refused):
                raise earlier[1]
            if earlier and isinstance(earlier[1], dict):
                return deepcopy(earlier[1])
            try:
                answer = self._run(method, path, texts, idempotency_key)
            except Refused as refused:
                if refused.status == 402:  # it was carried out, and failed; what was refused before that is not kept
                    self._answers[idempotency_key] = (call, refused)
                raise
            self._answers[idempotency_key] = (call, deepcopy(answer))
            return answer

    def knows(self, idempotency_key: str) -> bool:
        """Whether an answer is kept under that key, to be given again."""
        with self._lock:
            return idempotency_key in self._answers

    def fail(self, path: str, params: Mapping[str, Any], *, idempotency_key: str) -> None:
        """Keep, under that key, that a call failed by the fault of Stripe's."""
        call = json.dumps([path, as_text(params)], sort_keys=True)
        with self._lock:
            refused = Refused("An unknown error occurred.", status=500, type="api_error")
            self._answers.setdefault(idempotency_key, (call, refused))

    def _run(self, method: str, path: str, params: Object, idempotency_key: str | None) -> Object:
        state = self.state
        state.request = {"id": state.new_id("req_", 14), "idempotency_key": idempotency_key}
        paths = params.get("expand") or []
        found = routes.answer_get(state, path, params) if method == "GET" else self._write(method, path, params)
        body = deepcopy(found)
        expand(body, paths, lambda node, key: deepcopy(routes.resolve(state, node, key)))
        state.advance(0, ACTIONS)  # what the call made due at once
        return body

    def _write(self, method: str, path: str, params: Object) -> Object:
        for route in routes.ROUTES:
            match = route.path.fullmatch(path)
            if match and route.method == method:
                known(params, f"{route.takes} expand")
                given = {key: value for key, value in params.items() if key != "expand"}
                return route.run(self.state, self._named(route.kind, match.groupdict()), given)
        raise Refused(f"Unrecognized request URL ({method}: {path}).", status=404)

    def _named(self, kind: str, ids: dict[str, str]) -> Object:
        """What the path of a write names. Stripe's own test cards become cards of their own when they are attached."""
        if not kind:
            return {}
        if ids["id"] in money.TEST_CARDS:
            return money.new_card(self.state, money.TEST_CARDS[ids["id"]])
        found = self.state.get(kind, ids["id"])
        if found.get("deleted"):
            raise Refused(f"No such {kind}: '{ids['id']}'", status=404, code="resource_missing", param="id")
        return found

    # What Stripe does not have.

    @property
    def now(self) -> int:
        """The time by its clock."""
        return self.state.now

    def advance(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> int:
        """Move the clock forward, and do what falls due on the way; the time it is then."""
        with self._lock:
            self.state.advance(int(days * DAY + hours * HOUR + seconds), ACTIONS)
            return self.state.now

    def complete_checkout(self, session: str, card: str = "good", promotion_code: str = "") -> Object:
        """Pay at Checkout, with one of `money.CARDS`; a declined card is `Refused`, and the session stays open."""
        with self.exclusively() as state:
            return deepcopy(checkout.complete(state, session, card=card, promotion_code=promotion_code))

    @contextmanager
    def exclusively(self) -> Iterator[State]:
        """The state, for the pages: up to date, and nobody else's within the block."""
        with self._lock:
            self.state.advance(0, ACTIONS)
            yield self.state

    def portal(self, session: str, **action: str) -> None:
        """Press a button of the portal.

        Args:
            action: `action` is cancel, resume or change (with `subscription`, and `price`), card (`card`: which of
                `money.CARDS`), or pay (`invoice`).
        """
        with self.exclusively() as state:
            checkout.act(state, state.get("billing_portal.session", session), action)

    def card(self, customer: str, behaviour: str) -> None:
        """Have every card of a customer behave so from now on."""
        with self._lock:
            if behaviour not in money.CARDS:
                raise Refused(f"No such behaviour: {behaviour}")
            for card in self.state.find("payment_method", customer=customer):
                self.state.behaviours[card["id"]] = behaviour

    def dispute(self, charge: str) -> Object:
        """The payer's bank takes a charge back."""
        with self._lock:
            return deepcopy(money.dispute(self.state, charge))

    def close_dispute(self, dispute: str, *, won: bool) -> Object:
        """The bank decides."""
        with self._lock:
            return deepcopy(money.close_dispute(self.state, dispute, won=won))

    def fail_refund(self, refund: str) -> Object:
        """A refund comes back."""
        with self._lock:
            return deepcopy(money.fail_refund(self.state, refund))

    def configure(self, **settings: Any) -> Object:
        """Change the rules: `retry_days` after a failed payment, `dunning_end` (cancel, unpaid, past_due), and
        `draft_seconds` from a renewal to its charge, which is about an hour at Stripe and nothing here."""
        with self._lock:
            self.state.settings |= settings
            return dict(self.state.settings)

    def add_endpoint(self, url: str, secret: str) -> Object:
        """A webhook endpoint with a secret that is known beforehand, in the place of one with the same address."""
        with self._lock:
            for endpoint in self.state.find("webhook_endpoint", url=url):
                self.state.remove("webhook_endpoint", endpoint["id"])
            return new_webhook_endpoint(self.state, {"url": url, "enabled_events": ["*"]}, secret=secret)

    def events(self) -> list[Object]:
        """All of them, the oldest first."""
        with self._lock:
            return deepcopy(self.state.find("event"))

    def plans(self) -> Plans:
        """A product with a monthly and a yearly price in EUR, one in JPY and one in KWD."""
        product = self.request(
            "POST", "/v1/products", {"name": "Membership", "description": "Everything, every night."}
        )
        metadata = {"trial_days": "7"}

        def price(currency: str, amount: int, interval: str, key: str) -> str:
            asked = {"product": product["id"], "currency": currency, "unit_amount": amount, "lookup_key": key}
            asked |= {"recurring": {"interval": interval}, "metadata": metadata}
            return str(self.request("POST", "/v1/prices", asked)["id"])

        return Plans(
            product=product["id"],
            monthly=price("eur", 900, "month", "monthly"),
            yearly=price("eur", 9_000, "year", "yearly"),
            yen=price("jpy", 1_200, "month", "monthly_jpy"),
            dinar=price("kwd", 3_500, "month", "monthly_kwd"),
        )
