"""What a deployment should be told of its chat before it goes live."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register


@register(Tags.compatibility, deploy=True)
def processes_hear_of_each_other(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """realtime.W001: without Redis a process tells its own people alone. With one process that is all there is, and how
    many there will be is not known here, so it is no warning."""
    if settings.REDIS_URL:
        return []
    return [
        checks.Info(
            "REDIS_URL is not set: each process tells only its own people of a message at once; those of other "
            f"processes get it when they next look, up to {settings.CHAT_POLL_SECONDS:g} seconds later.",
            hint="Set REDIS_URL where several processes serve the site.",
            id="realtime.W001",
        )
    ]
