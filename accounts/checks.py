"""What a deployment should be told before it goes live."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register


@register(Tags.security, deploy=True)
def mail_server_is_named(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """accounts.W001: without a mail server nobody can reset a password, nor sign in by a mailed code."""
    if settings.EMAIL_URL:
        return []
    return [
        checks.Warning(
            "EMAIL_URL is not set: mails wait in the database for a server on localhost.",
            hint="Name the mail server, such as smtp+tls://user:password@host:587.",
            id="accounts.W001",
        )
    ]
