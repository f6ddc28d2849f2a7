"""Deploy tokens in the admin."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from observability.delivery import tokens
from observability.delivery.models import DeployToken

pytestmark = pytest.mark.django_db

PATH = "/admin/delivery/deploytoken/"
FORM = {"name": "ci", "scopes": ["deployments:write", "read"], "expires_at_0": "", "expires_at_1": ""}


@pytest.fixture
def admin(staff: Any) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def test_a_token_is_shown_once_and_works(admin: Client, staff: Any) -> None:
    page = admin.post(f"{PATH}add/", FORM, follow=True).content.decode()
    (raw,) = re.findall(r"<code>(bsd_\w+)</code>", page)
    token = tokens.verify(raw)
    assert (token.name, token.scopes, token.created_by) == ("ci", ["deployments:write", "read"], staff)
    assert raw not in admin.get(PATH).content.decode()


@pytest.mark.parametrize("changed", [{"scopes": []}, {"scopes": ["everything"]}, {"name": ""}])
def test_what_cannot_be_makes_no_token(admin: Client, changed: dict[str, Any]) -> None:
    assert admin.post(f"{PATH}add/", {**FORM, **changed}).status_code == 200
    assert not DeployToken.objects.exists()


def test_a_token_does_not_begin_expired(admin: Client) -> None:
    past = timezone.now() - timedelta(days=1)
    form = {**FORM, "expires_at_0": f"{past:%Y-%m-%d}", "expires_at_1": "00:00:00"}
    assert "Lies in the past" in admin.post(f"{PATH}add/", form).content.decode()


def test_revoking_ends_it_at_once(admin: Client) -> None:
    token, raw = tokens.issue(name="ci", scopes=["read"])
    admin.post(PATH, {"action": "revoke", "_selected_action": [token.pk]})
    with pytest.raises(tokens.TokenRefused, match="revoked"):
        tokens.verify(raw)


def test_nobody_changes_or_deletes_one(admin: Client) -> None:
    token, _ = tokens.issue(name="ci", scopes=["read"])
    assert admin.post(f"{PATH}{token.pk}/change/", FORM).status_code == 403
    assert admin.post(f"{PATH}{token.pk}/delete/").status_code == 403
