"""Setting Stripe up for this site: whose key it is, and the one webhook endpoint that brings Stripe's events here.

Everything here may be done again: what is as it should be stays, and what an interrupted run left is put right.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import stripe
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from djstripe.models import Account, WebhookEndpoint

from observability.logs import redacted
from observability.problems import Problem

from . import listing, metrics, mirror, processing, stripe_api
from .models import Interval
from .money import decimals
from .shapes import Object, moment

PRODUCT = "bambisleep_membership"  # the id of the product that `make_plans` makes; Stripe lets us choose it
PRODUCT_NAME = "Membership"
FORWARD = (
    "A private address it cannot reach: for one, run `stripe listen --forward-to localhost:3000/stripe/webhook/`, and "
    "put the secret that it shows into STRIPE_WEBHOOK_SECRETS."
)


class NotSetUp(Problem):
    """Stripe cannot be set up so; the detail says what to do."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose key it is. Restricted keys may not ask: their `account_id` and `name` are empty."""

    account_id: str
    name: str
    livemode: bool
    others: list[str] = field(default_factory=list)  # accounts whose objects are in this database as well


def whose_key() -> Owner:
    """Ask Stripe whose the key in the settings is, and note it where dj-stripe looks for it.

    Raises:
        NotConfigured: where there is no key.
        NotSetUp: where Stripe refuses it, or does not answer.
    """
    client = stripe_api.client()
    account: Object = {}
    with _explaining():
        try:
            account = stripe_api.as_dict(client.v1.accounts.retrieve_current())
        except stripe.PermissionError:
            if not settings.STRIPE_SECRET_KEY.startswith("rk_"):
                raise
        mirror.prepare()
    profile, shown = account.get("business_profile") or {}, (account.get("settings") or {}).get("dashboard") or {}
    account_id = account.get("id", "")
    known = Account.objects.exclude(id__in=[account_id or mirror.UNKNOWN_ACCOUNT, mirror.UNKNOWN_ACCOUNT])
    return Owner(
        account_id=account_id,
        name=shown.get("display_name") or profile.get("name") or account.get("email") or "",
        livemode=settings.STRIPE_LIVE_MODE,
        others=sorted(known.values_list("id", flat=True)) if account_id else [],
    )


def webhook_url() -> str:
    """Where Stripe is to send its events."""
    return f"{settings.PUBLIC_URL}{reverse('stripe_webhook')}"


def ensure_webhook(*, rotate: bool = False) -> Iterator[str]:
    """Have exactly one enabled endpoint at Stripe for this site, for our types and our version of the API, and its
    secret in the database. The new one is made, and its secret kept, before an old one is disabled.

    Args:
        rotate: replace it, so that events are signed with another secret.

    Yields:
        What was done, a sentence each.

    Raises:
        NotSetUp: where Stripe does not take the address, or the key lacks the right.
    """
    url = webhook_url()
    if settings.STRIPE_LIVE_MODE and not url.startswith("https://"):
        raise NotSetUp(f"With a live key PUBLIC_URL has to be https, not {settings.PUBLIC_URL}.")
    with _explaining():
        ours = [row for page in listing.pages("webhook_endpoints") for row in page if row["url"] == url]
        enabled = [row for row in ours if row["status"] == "enabled"]
        known = _with_secret(ours)
        kept = None if rotate else _to_keep(enabled, known)
        if kept is None:
            yield from _dispose([row for row in ours if row not in enabled])
            kept = _make(url)
            yield f"Made the webhook endpoint {kept['id']} for {url}."
        elif set(kept["enabled_events"]) != set(metrics.HANDLED):
            events: Any = {"enabled_events": list(metrics.HANDLED)}
            updated = stripe_api.client().v1.webhook_endpoints.update(kept["id"], events)
            _remember(stripe_api.as_dict(updated))
            yield f"The webhook endpoint {kept['id']} now sends the types of events that this site acts on."
        else:
            yield f"The webhook endpoint {kept['id']} is as it should be."
        yield from _disable([row for row in enabled if row["id"] != kept["id"]], known)
    if kept["id"] not in _with_secret([kept]):
        yield "Its secret is not in the database: what signs its events has to be in STRIPE_WEBHOOK_SECRETS."


def _to_keep(enabled: list[Object], known: set[str]) -> Object | None:
    """The newest whose events can be read and verified. Of one that was made by hand the secret may be in the settings,
    and nobody can tell."""
    fitting = [row for row in enabled if row.get("api_version") == settings.STRIPE_API_VERSION]
    with_secret = [row for row in fitting if row["id"] in known]
    usable = with_secret or (fitting if settings.STRIPE_WEBHOOK_SECRETS else [])
    return max(usable, key=lambda row: row["created"], default=None)


def _make(url: str) -> Object:
    asked: Any = {
        "url": url,
        "enabled_events": list(metrics.HANDLED),
        "api_version": settings.STRIPE_API_VERSION,
        "description": "Made by manage.py setup_stripe",
    }
    made = stripe_api.client().v1.webhook_endpoints.create(asked)
    data = stripe_api.as_dict(made)
    _remember(data, secret=data.pop("secret"))
    return data


def _disable(rows: list[Object], known: set[str]) -> Iterator[str]:
    """What was replaced, or left by a run that was interrupted. One that somebody made by hand, and whose secret may be
    in the settings, is theirs."""
    for row in rows:
        if row["id"] not in known and settings.STRIPE_WEBHOOK_SECRETS:
            yield f"The webhook endpoint {row['id']} sends events to the same address; if nobody needs it, disable it."
            continue
        disabled = stripe_api.client().v1.webhook_endpoints.update(row["id"], {"disabled": True})
        _remember(stripe_api.as_dict(disabled))
        yield (
            f"Disabled the webhook endpoint {row['id']}. What it had still to deliver comes in by "
            "manage.py reconcile_stripe."
        )


def _dispose(disabled: list[Object]) -> Iterator[str]:
    """Stripe allows 16 endpoints: those that were replaced the time before go."""
    for row in disabled:
        stripe_api.client().v1.webhook_endpoints.delete(row["id"])
        WebhookEndpoint.objects.filter(id=row["id"]).delete()
        yield f"Deleted the webhook endpoint {row['id']}, which was disabled before."


def _with_secret(rows: list[Object]) -> set[str]:
    found = WebhookEndpoint.objects.filter(id__in=[row["id"] for row in rows]).exclude(secret="")
    return set(found.values_list("id", flat=True))


def _remember(data: Object, *, secret: str = "") -> None:
    values: dict[str, Any] = {
        "url": data["url"],
        "status": data["status"],
        "enabled_events": data["enabled_events"],
        "api_version": data.get("api_version") or "",
        "livemode": data["livemode"],
        "created": moment(data["created"]),
        "stripe_data": dict(data),
    }
    with transaction.atomic():
        WebhookEndpoint.objects.update_or_create(
            id=data["id"], defaults={**values, **({"secret": secret} if secret else {})}
        )


def make_plans(*, currency: str = "eur") -> Iterator[str]:
    """Make a membership for 9 a month, or 90 a year, where Stripe has no plan yet; then note what plans there are.

    Yields:
        What was done, a sentence each.

    Raises:
        NotSetUp: where Stripe does not know the currency, say.
    """
    with _explaining():
        recurring = next((page for page in listing.pages("prices", type="recurring", active=True) if page), None)
        if recurring and {price["product"] for price in recurring} != {PRODUCT}:
            yield "Stripe has plans already: none was made. manage.py sync_stripe brings them in."
            return
        client = stripe_api.client()
        products = client.v1.products
        try:
            products.retrieve(PRODUCT)
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise
            products.create({"id": PRODUCT, "name": PRODUCT_NAME})
            yield f"Made the product {PRODUCT}."
        there = {price["recurring"]["interval"] for price in recurring or []}
        for interval, amount in ((Interval.MONTH, 9), (Interval.YEAR, 90)):
            if interval not in there:
                made = client.v1.prices.create(
                    {
                        "product": PRODUCT,
                        "currency": currency,
                        "unit_amount": amount * 10 ** decimals(currency),
                        "recurring": {"interval": interval.value},
                    }
                )
                yield f"Made the price {made.id}: {amount} {currency.upper()} a {interval}."
        processing.synchronise("product", PRODUCT)


def explained(error: Exception) -> str:
    """What went wrong with a call, for whoever runs a command: a sentence or two."""
    where = settings.STRIPE_API_BASE
    if isinstance(error, stripe_api.Unavailable):
        cause = error.__cause__
        return explained(cause) if isinstance(cause, stripe.StripeError) else f"{where}: {error.detail}"
    said = redacted(str(error)).strip()
    match error:
        case stripe.AuthenticationError():
            return "Stripe refuses the key in STRIPE_SECRET_KEY: it is wrong, or was rolled."
        case stripe.PermissionError():
            return f"The key in STRIPE_SECRET_KEY lacks a right: {said}"
        case stripe.RateLimitError():
            return "Stripe asks for fewer calls: too much is going on at once."
        case stripe.InvalidRequestError(param="url"):
            return f"Stripe does not take the address {webhook_url()}: {said} {FORWARD}"
        case stripe.InvalidRequestError():
            return f"Stripe does not take it: {said}"
        case stripe.APIConnectionError():
            return f"{where} does not answer. Is there a connection, and is STRIPE_API_BASE right?"
    return f"{where} fails: {said or type(error).__name__}"


@contextmanager
def _explaining() -> Iterator[None]:
    try:
        yield
    except (stripe.StripeError, stripe_api.Unavailable) as error:
        raise NotSetUp(explained(error)) from None
