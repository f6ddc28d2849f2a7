"""Who may try a password, or a second factor, and when again: axes, counting in exact windows.

axes refuses before a password is looked at, and its table holds a row for each failure. What it sums up by itself is
how many there were "since the last quiet period"; here they are counted in the windows below, which also say when the
next attempt is possible (Retry-After).

A row is written before the password is checked and taken away when it was right, so that attempts made at the same
moment cannot slip through together. The address joins the row only when the attempt has failed: people who sign in
at the same moment from one office do not stand in each other's way.
"""

import ipaddress
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessFailureLog
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from observability import security
from observability.problems import Problem, error_response

from .models import User

TOO_MANY = "Too many attempts have failed. Wait a while, or sign in by a code that we send to your e-mail address."
SECOND_FACTOR = "second factor"  # stands in the row's path
MAX_ROWS = 100_000
KEPT = timedelta(days=2)
SWEEP_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than `failures` within `seconds`, by account ("username") or by network ("ip_address")."""

    by: str
    failures: int
    seconds: int


PASSWORD_LIMITS = (
    Limit("username", 10, 5 * 60),
    Limit("username", 20, 24 * 3600),
    Limit("ip_address", 10, 5 * 60),
)
SECOND_FACTOR_LIMITS = (Limit("username", 5, 5 * 60), Limit("username", 20, 3600))


class TooManyAttempts(Problem):
    """Refused without being looked at; `Retry-After` says for how long (429)."""

    status = 429

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(TOO_MANY)
        self.headers = {"Retry-After": str(wait_seconds)}


class Handler(AxesDatabaseHandler):
    """AXES_HANDLER."""

    def is_allowed(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        """Whether the attempt may be made; if so, it is on record from now on."""
        state: Any = request
        reserved = reserve(request, key=account_key(request, credentials), limits=PASSWORD_LIMITS)
        if isinstance(reserved, int):
            state.axes_locked_out, state.axes_wait_seconds = True, reserved
            return False
        state.axes_reserved = reserved
        return True

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
    ) -> None:
        """Keep the attempt on record, as one that failed."""
        state: Any = request
        if request is None or getattr(state, "axes_locked_out", False):
            return
        reserved: AccessFailureLog | None = state.__dict__.pop("axes_reserved", None)
        if reserved is not None:
            failed(request, reserved, limits=PASSWORD_LIMITS)

    def user_logged_in(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: who is signed in is kept by the sessions themselves."""

    def user_logged_out(self, *args: Any, **kwargs: Any) -> None:
        """Nothing, likewise."""


def passed(request: HttpRequest) -> None:
    """The password was right: take the attempt off the record."""
    reserved: AccessFailureLog | None = request.__dict__.pop("axes_reserved", None)
    if reserved is not None:
        reserved.delete()


def reserve(request: HttpRequest, *, key: str, limits: tuple[Limit, ...], path: str = "") -> AccessFailureLog | int:
    """Put an attempt on record before it is made.

    Returns:
        Its row; or the seconds to wait, where it may not be made now.
    """
    row = AccessFailureLog.objects.create(
        username=key,
        ip_address=None,
        user_agent=request.META.get("HTTP_USER_AGENT", "")[:255].replace("\0", ""),
        http_accept="",
        path_info=path or request.path_info[:255].replace("\0", ""),
    )
    wait = _wait_seconds(row, network(request), limits)
    if wait:
        row.delete()
        security.record(type="rate_limited", detail=f"sign-in of {key}")
        return wait
    return row


def failed(request: HttpRequest, row: AccessFailureLog, *, limits: tuple[Limit, ...]) -> None:
    """The attempt has failed: its network is told by the row from now on."""
    row.ip_address = network(request)
    row.save(update_fields=["ip_address"])
    if _wait_seconds(row, row.ip_address, limits, itself=True):
        security.record(type="lockout", detail=f"sign-in of {row.username}")
    _sweep_now_and_then()


def unlock(*, key: str, second_factor: bool = True) -> int:
    """Forget an account's failures, by default those of its second factor too; returns how many there were."""
    rows = AccessFailureLog.objects.filter(username=key)
    return (rows if second_factor else rows.exclude(path_info=SECOND_FACTOR)).delete()[0]


def account_key(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """What the attempts of one account are counted under, by whatever name or address they are made."""
    identifier = str((credentials or {}).get("username") or "").strip()
    user = account_of(request, identifier)
    return key_of(user) if user else User.normalize_username(identifier).lower()[:255].replace("\0", "")


def account_of(request: HttpRequest | None, identifier: str) -> User | None:
    """The account of that name or address, looked up once a request: for its lock first, for its password then."""
    if request is None:
        return User.objects.by_name_or_email(identifier)
    known: dict[str, User | None] = request.__dict__.setdefault("_accounts_by_identifier", {})
    if identifier not in known:
        known[identifier] = User.objects.by_name_or_email(identifier)
    return known[identifier]


def key_of(user: User) -> str:
    """What that user's attempts are counted under."""
    return user.username.lower()[:255]


def network(request: HttpRequest) -> str | None:
    """The client's IPv4 address, or the first address of its IPv6 network (/64), which one household has to itself."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "").partition("%")[0])
    except ValueError:
        return None  # a Unix socket
    if address.version == 6:
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
    return str(address)


def response(
    request: HttpRequest, original: HttpResponseBase | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponseBase:
    """AXES_LOCKOUT_CALLABLE: what a page that was refused answers; the API has answered already."""
    if original is not None and original.status_code == 429:
        return original
    return refusal(request, getattr(request, "axes_wait_seconds", 300))


def refusal(request: HttpRequest, wait_seconds: int) -> HttpResponse:
    """429 with Retry-After."""
    return error_response(request, 429, TOO_MANY, {"Retry-After": str(wait_seconds)})


def sweep(*, now: datetime | None = None) -> int:
    """Delete failures that no limit looks at any more, and the oldest beyond `MAX_ROWS`.

    Returns:
        How many rows were deleted.
    """
    deleted, _ = AccessFailureLog.objects.filter(attempt_time__lt=(now or timezone.now()) - KEPT).delete()
    beyond = AccessFailureLog.objects.order_by("-pk").values_list("pk", flat=True)[MAX_ROWS : MAX_ROWS + 1].first()
    if beyond is not None:
        deleted += AccessFailureLog.objects.filter(pk__lte=beyond).delete()[0]
    return deleted


def _wait_seconds(
    row: AccessFailureLog, address: str | None, limits: tuple[Limit, ...], *, itself: bool = False
) -> int:
    """Seconds until every limit allows another attempt; 0 where all do now. `itself`: the row counts as a failure."""
    now = timezone.now()
    others = _of_kind(row)
    if not itself:
        others = others.exclude(pk=row.pk)
    waits = [0.0]
    for by in {limit.by for limit in limits}:
        value = row.username if by == "username" else address
        if value is None:
            continue
        own = [limit for limit in limits if limit.by == by]
        since = now - timedelta(seconds=max(limit.seconds for limit in own))
        newest = others.filter(**{by: value}, attempt_time__gt=since).order_by("-attempt_time")
        times = list(newest.values_list("attempt_time", flat=True)[: max(limit.failures for limit in own)])
        for limit in own:
            if len(times) >= limit.failures:
                free_at = times[limit.failures - 1] + timedelta(seconds=limit.seconds)
                waits.append((free_at - now).total_seconds())
    return max(0, ceil(max(waits)))


def _of_kind(row: AccessFailureLog) -> QuerySet[AccessFailureLog]:
    if row.path_info == SECOND_FACTOR:
        return AccessFailureLog.objects.filter(path_info=SECOND_FACTOR)
    return AccessFailureLog.objects.exclude(path_info=SECOND_FACTOR)


_swept_at = 0.0  # seconds of time.monotonic


def _sweep_now_and_then() -> None:
    global _swept_at
    if time.monotonic() - _swept_at > SWEEP_SECONDS:
        _swept_at = time.monotonic()
        sweep()
