"""System checks of accounts."""

from typing import Any

import pytest

from accounts.checks import mail_server_is_named


@pytest.mark.parametrize(("url", "ids"), [("", ["accounts.W001"]), ("smtp://mail.example.org", [])])
def test_a_deployment_without_a_mail_server_is_told(settings: Any, url: str, ids: list[str]) -> None:
    settings.EMAIL_URL = url

    assert [message.id for message in mail_server_is_named(None)] == ids
