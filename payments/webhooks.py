"""Stripe's webhooks: what is let in. What an event means is `payments.processing`'s.

Only what Stripe signed within the last minutes, for this site and this mode, is looked at or stored. Everything else is
refused with 4xx and counted; of its body nothing is kept.
"""

import hmac
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from djstripe.models import WebhookEndpoint

from observability import security
from observability.problems import Problem

from . import metrics, processing
from .models import WebhookEvent
from .shapes import id_of

LARGEST_BODY_BYTES = 512 * 1024  # Stripe's events are a few kilobytes
LONGEST_SIGNATURE = 4096
TOLERANCE_SECONDS = 300

EVENT_ID = re.compile(r"evt_[A-Za-z0-9_]{1,200}")
TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
OBJECT_ID = re.compile(r"[A-Za-z0-9_.-]{0,255}")
VERSION = re.compile(r"[A-Za-z0-9_.-]{0,40}")
SIGNATURE = re.compile(r"[0-9a-f]{64}")

Outcome = Literal["processed", "duplicate"]

log = structlog.get_logger("bambisleep.payments")


class Refused(Problem):
    """It is not an event that Stripe sent to this site (400)."""

    code = "webhook_refused"


class TooLarge(Refused):
    """No event of Stripe's is as large as that (413)."""

    status = 413


class Failed(Problem):
    """It could not be processed; Stripe will send it again (500)."""

    status = 500
    code = "webhook_failed"


@dataclass(frozen=True, slots=True)
class Sent:
    """What an event says that is kept of it."""

    event_id: str
    type: str
    object_id: str
    customer_id: str
    livemode: bool
    api_version: str
    created_at: datetime


def receive(*, body: bytes, signature: str) -> Outcome:
    """Take in what was posted to the endpoint, and count it.

    Args:
        signature: the header Stripe-Signature, "" where there is none.

    Raises:
        Refused: 4xx; nothing is stored.
        Failed, Unavailable: 5xx; what went wrong stands in the event's row, and Stripe will send it again.
    """
    started = time.perf_counter()
    about, counted = "other", "failed"
    try:
        sent = verify(body=body, signature=signature)
        about = sent.type
        outcome = _take_in(sent)
        counted = outcome
    except Refused as refused:
        counted = "rejected"
        security.record(type="bad_signature", detail=refused.detail)
        raise
    finally:
        metrics.event(about, counted, seconds=time.perf_counter() - started)
    return outcome


def verify(*, body: bytes, signature: str) -> Sent:
    """What Stripe says, once it is sure that it is Stripe who says it.

    Raises:
        Refused: in every other case.
    """
    if len(body) > LARGEST_BODY_BYTES:
        raise TooLarge("The body is larger than any event.")
    _check_signature(body, signature)
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise Refused("The body is no JSON.") from None
    sent = _read(found)
    if sent is None:
        raise Refused("The body is no event.")
    if sent.livemode != settings.STRIPE_LIVE_MODE:
        raise Refused("The event is of the other mode, test or live.")
    if found.get("account"):
        raise Refused("The event is of another account.")
    return sent


def secrets() -> Iterator[str]:
    """What Stripe may have signed with: the secrets in the settings, then those of our own enabled endpoints."""
    yield from settings.STRIPE_WEBHOOK_SECRETS
    ours = WebhookEndpoint.objects.filter(livemode=settings.STRIPE_LIVE_MODE, status="enabled").exclude(secret="")
    yield from ours.values_list("secret", flat=True)


def _check_signature(body: bytes, header: str) -> None:
    """Stripe's scheme v1 (docs.stripe.com/webhooks#verify-manually); a time from the future is refused as well."""
    if not header:
        raise Refused("There is no signature.")
    parts = [part.partition("=") for part in header[:LONGEST_SIGNATURE].split(",")]
    times = [value for name, _, value in parts if name.strip() == "t"]
    signatures = [value for name, _, value in parts if name.strip() == "v1" and SIGNATURE.fullmatch(value)]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,12}", times[0]) or not signatures:
        raise Refused("The signature is not of Stripe's form.")
    if abs(time.time() - int(times[0])) > TOLERANCE_SECONDS:
        raise Refused("The signature is too old, or from the future.")
    signed = times[0].encode() + b"." + body
    for secret in secrets():
        expected = hmac.new(secret.encode(), signed, sha256).hexdigest()
        if any(hmac.compare_digest(expected, given) for given in signatures):
            return
    raise Refused("The signature is not good.")


def _read(found: Any) -> Sent | None:
    """What is kept of an event; None where it has not the form of one."""
    if not isinstance(found, dict):
        return None
    data = found.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    created = found.get("created")
    if not isinstance(about, dict) or not isinstance(found.get("livemode"), bool) or type(created) is not int:
        return None
    object_id = id_of(about)
    customer_id = object_id if about.get("object") == "customer" else id_of(about.get("customer"))
    texts = (
        (EVENT_ID, found.get("id")),
        (TYPE, found.get("type")),
        (OBJECT_ID, object_id),
        (OBJECT_ID, customer_id),
        (VERSION, found.get("api_version") or ""),
    )
    if not all(isinstance(text, str) and form.fullmatch(text) for form, text in texts):
        return None
    if not 0 <= created < 2**40 // 8 or len(found["type"]) > 100:
        return None
    return Sent(
        event_id=found["id"],
        type=found["type"],
        object_id=object_id,
        customer_id=customer_id,
        livemode=found["livemode"],
        api_version=found.get("api_version") or "",
        created_at=datetime.fromtimestamp(created, UTC),
    )


def _take_in(sent: Sent) -> Outcome:
    event = WebhookEvent.objects.filter(event_id=sent.event_id).first() or _row(sent)
    if event.processed_at is not None:
        return "duplicate"
    if sent.type not in metrics.HANDLED or not sent.object_id:
        _note(sent)
        return "processed"
    try:
        return "processed" if processing.process(event) else "duplicate"
    except (Problem, DatabaseError):
        raise
    except Exception as error:
        log.exception("webhook_failed", event_id=sent.event_id, event_type=sent.type)
        raise Failed("The event could not be processed. It is recorded, and may be sent again.") from error


def _note(sent: Sent) -> None:
    """Keep that it came; it means nothing here."""
    event = _row(sent)
    event.processed_at, event.attempts = timezone.now(), 1
    WebhookEvent.objects.bulk_create([event], ignore_conflicts=True)


def _row(sent: Sent) -> WebhookEvent:
    return WebhookEvent(
        event_id=sent.event_id,
        type=sent.type,
        object_id=sent.object_id,
        customer_id=sent.customer_id,
        livemode=sent.livemode,
        api_version=sent.api_version,
        created_at=sent.created_at,
    )
