"""System checks of the observability settings."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register


@register(Tags.security, deploy=True)
def metrics_are_protected(**_: Any) -> list[CheckMessage]:
    """observability.W001: /metrics is open to whoever reaches the process."""
    if settings.METRICS_TOKEN:
        return []
    hint = "Set METRICS_TOKEN, or keep /metrics from the outside in the proxy and silence this check."
    return [checks.Warning("/metrics answers without a token.", hint=hint, id="observability.W001")]
