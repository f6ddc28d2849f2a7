"""Stripe: the key, the webhook endpoint, the events that wait, and its clock."""

from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime

import requests
from django.conf import settings
from django.utils import timezone

from payments import diagnosis, setup, stripe_api
from payments.models import WebhookEvent

from .clocks import compared
from .findings import Finding, check, error, note, ok, warning

TIMEOUT_SECONDS = 5.0
SETUP = "Run manage.py setup_stripe."


@check("stripe", seconds=30)
def stripe_is_set_up() -> Iterator[Finding]:
    """Calls that only read."""
    if not stripe_api.is_configured():
        yield note(
            "STRIPE_SECRET_KEY is not set: plans are shown, and nothing can be bought.", "See docs/how-to/stripe.md."
        )
        return
    mode = "live" if settings.STRIPE_LIVE_MODE else "test"
    try:
        account = diagnosis.whose_key()
        yield ok(f"The key is good: {mode} mode, {account or 'a restricted key'}.")
        yield from _endpoints()
    except stripe_api.Unavailable as problem:
        yield error(setup.explained(problem), "Correct STRIPE_SECRET_KEY; or see status.stripe.com, and try again.")
    if settings.STRIPE_LIVE_MODE and settings.DEBUG:
        yield error("The key is a live one, and DEBUG is on.", "Use a test key for development.")
    if not settings.DEBUG and not settings.STRIPE_LIVE_MODE:
        yield note("The key is a test key: nobody really pays.", "Use the live key once members are to pay.")
    if not diagnosis.has_secret():
        yield error("There is no webhook secret: whoever pays is not let in.", f"{SETUP} Or set STRIPE_WEBHOOK_SECRETS")
    yield from _events()
    yield from _clock()


def _endpoints() -> Iterator[Finding]:
    url, found = setup.webhook_url(), list(diagnosis.endpoints())
    if not found:
        yield error(f"No webhook endpoint at Stripe sends events to {url}: whoever pays is not let in.", SETUP)
    for endpoint in found:
        if not endpoint.is_readable:
            yield warning(
                f"{endpoint.endpoint_id} sends events of version {endpoint.api_version}, which this code may misread.",
                SETUP,
            )
        if endpoint.missing_types:
            yield warning(
                f"{endpoint.endpoint_id} leaves out {len(endpoint.missing_types)} types of events, such as "
                f"{endpoint.missing_types[0]}.",
                SETUP,
            )
        if endpoint.is_readable and not endpoint.missing_types:
            yield ok(f"{endpoint.endpoint_id} sends its events to {url}.")


def _events() -> Iterator[Finding]:
    waiting = WebhookEvent.objects.waiting().count()
    if waiting:
        yield warning(
            f"{waiting} events could not be processed.",
            "Admin, Payments, Webhook events: see why, mend it, then process them again.",
        )
    last = WebhookEvent.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    if last is None or timezone.now() - last > timedelta(days=7):
        since = f"since {last:%Y-%m-%d}" if last else "so far"
        yield note(f"No event has come {since}.", "Where people pay, look at the deliveries in Stripe's dashboard.")


def _clock() -> Iterator[Finding]:
    asked_at = timezone.now()
    try:
        told = requests.head(settings.STRIPE_API_BASE, timeout=TIMEOUT_SECONDS).headers.get("Date", "")
        theirs = parsedate_to_datetime(told)
    except (requests.RequestException, ValueError, TypeError):
        yield note("Stripe's clock could not be asked.")
        return
    yield compared("Stripe's", theirs, asked_at=asked_at, exact_to_seconds=1)
