"""What a deployment should be told before it goes live."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import DatabaseError

from . import stripe_api, webhooks


@register(Tags.security, deploy=True)
def payments_are_complete(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """payments.W001: with a key and no webhook secret whoever pays is not let in; payments.W002: demo mode, which may
    be meant so, and is therefore no warning."""
    if not stripe_api.is_configured():
        return [
            checks.Info(
                "STRIPE_SECRET_KEY is not set: plans are shown, and nothing can be bought.",
                hint="Set the key, then run `manage.py setup_stripe`, when members are to pay.",
                id="payments.W002",
            )
        ]
    if _has_secret():
        return []
    return [
        checks.Warning(
            "STRIPE_SECRET_KEY is set, and no webhook secret: whoever pays is not let in.",
            hint="Run `manage.py setup_stripe`, or set STRIPE_WEBHOOK_SECRETS.",
            id="payments.W001",
        )
    ]


def _has_secret() -> bool:
    try:
        return any(webhooks.secrets())
    except DatabaseError:
        return bool(settings.STRIPE_WEBHOOK_SECRETS)
