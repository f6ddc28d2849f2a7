"""Calls to Stripe: one client with a limit on the whole of a call, and never one inside a transaction unnoticed.

`client()` is Stripe's own, for the key in the settings. What dj-stripe's mirror asks for goes through the same door; in
an `answering(…)` block it is answered from what was fetched before, and what was not raises `NotFetched`, so that no
transaction waits for the network (`payments.processing`).
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from time import monotonic, sleep
from typing import Any

import stripe
from django.conf import settings
from requests.structures import CaseInsensitiveDict

from observability.problems import Problem

Answer = tuple[bytes, int, Mapping[str, str]]
Ask = Callable[[str, Mapping[str, Any]], dict[str, Any]]  # path and parameters to the answer
PAGE = 100  # as many of a list as Stripe gives at once
CALLS_AT_ONCE = 16  # of one process; more wait, within their own limit
CONFLICT = 409  # another call with the same idempotency key is under way; what comes of it comes to this one too
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0

_answers: ContextVar[dict[str, Answer] | None] = ContextVar("stripe_answers", default=None)
_deadline: ContextVar[float | None] = ContextVar("stripe_deadline", default=None)


class NotConfigured(Problem):
    """No key is set (503)."""

    status = 503
    code = "payments_not_configured"


class Unavailable(Problem):
    """Stripe does not answer, or not in time, or makes no sense (503)."""

    status = 503
    code = "stripe_unavailable"
    headers = {"Retry-After": "30"}


class NotFetched(BaseException):
    """The mirror needs the answer at this address, which has to be fetched outside the transaction.

    No `Exception`, because dj-stripe swallows those in places, and would go on without the answer.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__(url)
        self.url = url
        self.headers = headers


class Transport(stripe.RequestsClient):
    """Stripe's client over requests, with a limit on the whole call, however slowly its bytes drip in."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__(timeout=(min(3.0, seconds), seconds))
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="stripe")

    def request(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> Answer:
        """Answer from what was fetched where a transaction is open, else ask Stripe."""
        fetched = _answers.get()
        if fetched is not None:
            if method.lower() == "get" and url in fetched:
                return fetched[url]
            raise NotFetched(url, headers or {})
        return self.call(method, url, headers, post_data)

    def call(self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None) -> Answer:
        """Ask Stripe, and again while it says that the same call is under way, as at a double click.

        Raises:
            stripe.APIConnectionError: where no whole answer comes in time.
        """
        deadline = _deadline.get()
        seconds = self._seconds if deadline is None else min(self._seconds, deadline - monotonic())
        if seconds <= 0:
            raise _late("There was no time left to ask Stripe.")
        ends_at, pause = monotonic() + seconds, FIRST_PAUSE_SECONDS
        while True:
            future: Future[Answer] = self._threads.submit(super().request, method, url, headers, post_data)
            try:
                answer = future.result(max(ends_at - monotonic(), 0))
            except NoAnswer:
                future.cancel()
                raise _late(f"Stripe did not answer within {seconds:.1f} s.") from None
            if answer[1] != CONFLICT or monotonic() + pause >= ends_at:
                return answer
            sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _late(what: str) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(what, should_retry=False)  # type: ignore[no-untyped-call]


def install() -> None:
    """Have every call of the Stripe library, dj-stripe's too, go through `Transport` to the API in the settings."""
    stripe.api_base = settings.STRIPE_API_BASE
    stripe.api_version = settings.STRIPE_API_VERSION
    stripe.max_network_retries = 0
    stripe.enable_telemetry = False
    stripe.default_http_client = Transport(seconds=settings.STRIPE_TIMEOUT_SECONDS)


def transport() -> Transport:
    """The installed one."""
    installed = stripe.default_http_client
    if not isinstance(installed, Transport):
        raise RuntimeError("stripe_api.install() has not run.")
    return installed


def is_configured() -> bool:
    """Whether there is a key; without one the site is in demo mode."""
    return bool(settings.STRIPE_SECRET_KEY)


def client() -> stripe.StripeClient:
    """Stripe's client for the key in the settings; calls raise stripe.StripeError.

    Raises:
        NotConfigured: where there is none.
    """
    if not is_configured():
        raise NotConfigured("Payments are not set up here: no Stripe key is configured.")
    return _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE, id(transport()))


@lru_cache(maxsize=4)
def _client(key: str, base: str, _transport: int) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base},
        http_client=transport(),
        max_network_retries=0,
        stripe_version=settings.STRIPE_API_VERSION,
    )


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let all the calls of the block take so long together, besides each one's own limit; inner blocks only shorten."""
    ends_at, outer = monotonic() + seconds, _deadline.get()
    token = _deadline.set(ends_at if outer is None else min(ends_at, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def reaching() -> Iterator[None]:
    """Turn what Stripe's failing raises inside the block into `Unavailable`; what is the caller's fault passes through.

    Raises:
        Unavailable: at a connection error, a timeout, a 5xx, a limit, a refused key, or an answer that is none.
    """
    try:
        yield
    except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError):
        raise
    except stripe.StripeError as error:
        raise Unavailable("Stripe does not answer as it should. Nothing was charged; try again in a moment.") from error


def is_replayed(error: stripe.StripeError) -> bool:
    """Whether Stripe failed an earlier time, and tells of it again while it keeps the idempotency key: for a day."""
    headers = CaseInsensitiveDict(error.headers or {})
    return (error.http_status or 0) >= 500 and headers.get("Idempotent-Replayed") == "true"


def get(path: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """What Stripe answers at `path`, as plain JSON.

    Raises:
        Unavailable: where it does not answer, or what it answers is nonsense.
    """
    with reaching():
        try:
            found = client().raw_request("get", path, **params).data
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unavailable("Stripe's answer makes no sense.") from error
    if not isinstance(found, dict):
        raise Unavailable("Stripe's answer makes no sense.")
    return found


def pages(name: str, params: Mapping[str, Any], *, ask: Ask = get) -> Iterator[list[Any]]:
    """The pages of a list, such as pages("charges", {"customer": "cus_123"}); the newest first.

    Args:
        ask: how, where it is not enough just to `get`.

    Raises:
        Unavailable: likewise.
    """
    after: dict[str, Any] = {}
    while True:
        found = ask(f"/v1/{name}", {**params, **after, "limit": PAGE})
        data = found.get("data")
        if found.get("object") != "list" or not isinstance(data, list):
            raise Unavailable(f"Stripe answered something else than a list of {name}.")
        yield data
        if not data or not found.get("has_more"):
            return
        after = {"starting_after": data[-1]["id"]}


@contextmanager
def answering(answers: dict[str, Answer]) -> Iterator[None]:
    """Answer every GET of the block out of `answers`, by its whole URL.

    Raises:
        NotFetched: at whatever is not in there.
    """
    token = _answers.set(answers)
    try:
        yield
    finally:
        _answers.reset(token)


def as_dict(found: Any) -> dict[str, Any]:
    """A StripeObject as plain JSON; it is no dict itself."""
    plain: dict[str, Any] = found.to_dict(for_json=True) if hasattr(found, "to_dict") else dict(found)
    return plain
