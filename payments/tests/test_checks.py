"""System checks of payments."""

from typing import Any

import pytest
from djstripe.models import WebhookEndpoint

from payments.checks import payments_are_complete

pytestmark = pytest.mark.django_db
KEY = "sk_test_" + "0" * 24


def ids() -> list[str | None]:
    return [message.id for message in payments_are_complete(None)]


def test_a_key_without_a_webhook_secret_is_a_warning(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = KEY
    assert ids() == ["payments.W001"]

    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_1"]
    assert ids() == []


def test_a_secret_in_the_database_will_do(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = KEY
    WebhookEndpoint.objects.create(
        id="we_1", secret="whsec_1", url="https://example.org", enabled_events=["*"], status="enabled", livemode=False,
        api_version="",
    )  # fmt: skip

    assert ids() == []


def test_demo_mode_is_told_and_is_no_warning(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    (message,) = payments_are_complete(None)

    assert message.id == "payments.W002"
    assert not message.is_serious()
