"""What Stripe says of this site's setting up, asked without changing anything."""

from collections.abc import Iterator
from dataclasses import dataclass

import stripe
from django.conf import settings

from . import metrics, setup, stripe_api, webhooks
from .shapes import Object


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An enabled webhook endpoint at Stripe that sends events to this site."""

    endpoint_id: str
    missing_types: tuple[str, ...]  # that this site acts on, and that it does not send
    api_version: str

    @property
    def is_readable(self) -> bool:
        """Whether its events have the shapes that this code was written for."""
        return self.api_version in ("", settings.STRIPE_API_VERSION)


def whose_key() -> str:
    """The id of the account that the key in the settings leads to; "" where a restricted key may not say.

    Raises:
        Unavailable: where Stripe does not answer, or refuses the key.
    """
    try:
        return str(stripe_api.get("/v1/account", {}).get("id", ""))
    except stripe_api.Unavailable as problem:
        if isinstance(problem.__cause__, stripe.PermissionError):
            return ""
        raise


def endpoints() -> Iterator[Endpoint]:
    """Those that send to this site's address.

    Raises:
        Unavailable: likewise, and where a restricted key lacks the right to ask.
    """
    for page in stripe_api.pages("webhook_endpoints", {}):
        for row in page:
            if row["url"] == setup.webhook_url() and row["status"] == "enabled":
                yield _endpoint(row)


def has_secret() -> bool:
    """Whether events can be verified."""
    return any(webhooks.secrets())


def _endpoint(row: Object) -> Endpoint:
    sent = set(row["enabled_events"])
    missing = () if "*" in sent else tuple(sorted(set(metrics.HANDLED) - sent))
    return Endpoint(row["id"], missing, row.get("api_version") or "")
