"""What the stand-in knows: its objects, its clock, what is due when, and the events that it emits.

Objects are plain dicts in the shape that goes over the wire, and name one another by id. `change` is the one way to
alter one: it emits the events. What Stripe would not show (how a card behaves, say) stands beside the objects.
"""

import random
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from heapq import heappop, heappush
from typing import Any

from e2e.stripe.shapes import SHAPES
from e2e.stripe.wire import VERSION, Object, difference, missing

HOUR, DAY = 3_600, 86_400
ACCOUNT = "acct_1StandIn000000000"

WITHOUT_MODE = {"balance_transaction", "discount", "refund", "subscription_item"}  # no `livemode` among their keys

Action = Callable[["State", str, int], None]


class State:
    """All of it. Not safe among threads: `Stripe` holds a lock around it."""

    def __init__(self, *, now: Callable[[], float], seed: int | None = None, public_url: str) -> None:
        self.public_url = public_url
        self.objects: dict[str, dict[str, Object]] = {}  # by kind and id, the oldest first
        self.by_id: dict[str, Object] = {}
        self.behaviours: dict[str, str] = {}  # of a payment method: how its charges end
        self.pending_lines: dict[str, list[Object]] = {}  # of a subscription: what its next invoice bills besides
        self.secrets: dict[str, str] = {}  # of a webhook endpoint
        self.line_items: dict[str, list[Object]] = {}  # of a Checkout session
        self.asked: dict[str, Object] = {}  # of a Checkout session: what its subscription is to be like
        self.settings: Object = {"retry_days": [3, 5, 7], "dunning_end": "cancel", "draft_seconds": 0}
        self.request: Object = {"id": None, "idempotency_key": None}  # what an event names as its cause
        self.on_event: Callable[[Object], None] = lambda event: None
        self._random = random.Random(seed)
        self._real_now, self._offset_seconds, self._moment = now, 0, 0
        self._agenda: list[tuple[int, int, str, str]] = []
        self._entries = 0

    @property
    def now(self) -> int:
        """The time by the movable clock, in seconds since 1970."""
        return self._moment or int(self._real_now()) + self._offset_seconds

    def remembered(self) -> Object:
        """All that outlives the process."""
        return {key: value for key, value in vars(self).items() if key not in {"on_event", "_real_now", "public_url"}}

    def remember(self, remembered: Object) -> None:
        """The other way round."""
        vars(self).update(remembered)

    def schedule(self, at: int, action: str, id: str) -> None:
        """Have `action` run on the object `id` once the clock reads `at`; it checks itself whether it is due still."""
        self._entries += 1
        heappush(self._agenda, (at, self._entries, action, id))

    def advance(self, seconds: int, actions: dict[str, Action]) -> None:
        """Move the clock, and do everything that falls due on the way at its own moment, in order."""
        until = self.now + seconds
        self.request = {"id": None, "idempotency_key": None}
        try:
            while self._agenda and self._agenda[0][0] <= until:
                at, _, action, due = heappop(self._agenda)
                self._moment = max(at, self._moment)
                actions[action](self, due, at)
        finally:
            self._moment = 0
            self._offset_seconds += seconds

    def new_id(self, prefix: str, length: int = 24) -> str:
        """A fresh id."""
        return prefix + "".join(self._random.choices(string.ascii_letters + string.digits, k=length))

    def add(self, kind: str, prefix: str, *events: str, **fields: Any) -> Object:
        """A new object, with the events of its making."""
        key = fields.pop("id", None) or self.new_id(prefix)
        shape = deepcopy(SHAPES.get(kind, {}))
        found = {"id": key, "object": kind, "created": self.now, "livemode": False, **shape, **fields}
        if kind in WITHOUT_MODE:
            del found["livemode"]
        self.objects.setdefault(kind, {})[key] = self.by_id[key] = found
        for event in events:
            self.emit(event, found)
        return found

    def get(self, kind: str, id: str, *, param: str | None = None) -> Object:
        """The object, or an error in Stripe's form; `param` is the parameter that named it."""
        found = self.objects.get(kind, {}).get(id)
        if found is None or (param and found.get("deleted")):
            raise missing(kind, id, param=param)
        return found

    def find(self, kind: str, **equal: Any) -> list[Object]:
        """The objects of a kind that have these values, the oldest first."""
        return [
            found
            for found in self.objects.get(kind, {}).values()
            if all(found.get(key) == value for key, value in equal.items())
        ]

    def remove(self, kind: str, id: str) -> Object:
        """Take an object away; what Stripe answers then."""
        del self.objects[kind][id], self.by_id[id]
        return {"id": id, "object": kind, "deleted": True}

    @contextmanager
    def change(self, found: Object, *events: str) -> Iterator[Object]:
        """Alter an object within the block, then emit `events`; an "updated" only if something is different."""
        before = deepcopy(found)
        yield found
        previous = difference(before, found)
        for event in events:
            tells = event.endswith(".updated") or event == "charge.refunded"
            if previous or not tells:
                self.emit(event, found, previous if tells else None)

    def emit(self, type: str, found: Object, previous: Object | None = None) -> None:
        """Record an event about an object as it is now, and hand it to who listens."""
        data = {"object": deepcopy(found)} | ({} if previous is None else {"previous_attributes": deepcopy(previous)})
        event = self.add(
            "event", "evt_", api_version=VERSION, data=data, pending_webhooks=0, request=dict(self.request), type=type
        )
        self.on_event(event)
