"""POST /auth/refresh."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.utils import timezone
from rest_framework_simplejwt.tokens import RefreshToken

from accounts import tokens
from accounts.models import RefreshFamily, User
from accounts.tokens import TokenPair
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def pair(member: User) -> TokenPair:
    return tokens.issue(member)


def refresh(asgi: AsgiClient, token: str) -> Answer:
    return asgi.post("/auth/refresh", json={"refresh": token})


def me(asgi: AsgiClient, access: str) -> int:
    return asgi.get("/auth/me", headers={"Authorization": f"Bearer {access}"}).status


def test_it_gives_a_new_pair(asgi: AsgiClient, pair: TokenPair) -> None:
    answer = refresh(asgi, pair.refresh)

    assert answer.status == 200
    assert answer.json["refresh"] != pair.refresh
    assert answer.json["expires_in"] == 600
    assert me(asgi, answer.json["access"]) == 200


def test_it_counts_a_success_once(asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total", type="jwt", success="true")
    all_before = metric("auth_attempts_total")

    refresh(asgi, pair.refresh)

    assert metric("auth_attempts_total", type="jwt", success="true") == before + 1
    assert metric("auth_attempts_total") == all_before + 1


@pytest.mark.parametrize("body", [{"refresh": "no token"}, {}, {"refresh": "a" * 5000}])
def test_it_counts_a_failure_once(asgi: AsgiClient, metric: Callable[..., float], body: dict[str, str]) -> None:
    before = metric("auth_attempts_total", type="jwt", success="false")
    all_before = metric("auth_attempts_total")

    answer = asgi.post("/auth/refresh", json=body)

    assert answer.status in {400, 401}
    assert metric("auth_attempts_total", type="jwt", success="false") == before + 1
    assert metric("auth_attempts_total") == all_before + 1


def test_a_token_used_twice_ends_its_whole_family(
    asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]
) -> None:
    newer = refresh(asgi, pair.refresh).json
    before = metric("security_events_total", type="token_reuse")

    stolen = refresh(asgi, pair.refresh)

    assert stolen.status == 401
    assert metric("security_events_total", type="token_reuse") == before + 1
    assert refresh(asgi, newer["refresh"]).status == 401
    assert (me(asgi, pair.access), me(asgi, newer["access"])) == (401, 401)


def test_a_token_used_again_after_its_family_ended_is_not_counted_as_theft_again(
    asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]
) -> None:
    refresh(asgi, pair.refresh)
    refresh(asgi, pair.refresh)
    before = metric("security_events_total", type="token_reuse")

    assert refresh(asgi, pair.refresh).status == 401
    assert metric("security_events_total", type="token_reuse") == before


def test_a_theft_ends_no_other_sign_in(asgi: AsgiClient, member: User, pair: TokenPair) -> None:
    other = tokens.issue(member)
    refresh(asgi, pair.refresh)

    refresh(asgi, pair.refresh)

    assert refresh(asgi, other.refresh).status == 200


def test_it_refuses_a_deactivated_user(asgi: AsgiClient, pair: TokenPair) -> None:
    User.objects.update(is_active=False)

    assert refresh(asgi, pair.refresh).status == 401


def test_it_refuses_a_deleted_users_token(asgi: AsgiClient, member: User, pair: TokenPair) -> None:
    member.delete()

    assert refresh(asgi, pair.refresh).status == 401


def test_a_changed_password_ends_it(asgi: AsgiClient, member: User, pair: TokenPair) -> None:
    member.set_password("another long enough phrase")
    member.save()

    assert refresh(asgi, pair.refresh).status == 401


def test_a_family_ends_when_it_expires(asgi: AsgiClient, pair: TokenPair) -> None:
    RefreshFamily.objects.update(
        created_at=timezone.now() - timedelta(days=20), expires_at=timezone.now() - timedelta(seconds=1)
    )

    assert refresh(asgi, pair.refresh).status == 401


def test_it_refuses_an_access_token(asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]) -> None:
    before = metric("security_events_total", type="invalid_token")

    assert refresh(asgi, pair.access).status == 401
    assert metric("security_events_total", type="invalid_token") == before + 1


def test_it_refuses_another_users_family(asgi: AsgiClient, staff: User, pair: TokenPair) -> None:
    token = RefreshToken.for_user(staff)
    token[tokens.FAMILY] = str(RefreshFamily.objects.get().pk)

    assert refresh(asgi, str(token)).status == 401


def test_it_refuses_an_unsigned_token(asgi: AsgiClient, pair: TokenPair) -> None:
    claims = jwt.decode(pair.refresh, options={"verify_signature": False})

    assert refresh(asgi, jwt.encode(claims, None, algorithm="none")).status == 401
    assert refresh(asgi, pair.refresh.rsplit(".", 1)[0] + ".").status == 401


@pytest.mark.parametrize("claim", ["user_id", "family", "jti", "hash_password", "token_type", "exp", "aud", "iss"])
@pytest.mark.parametrize("value", ["x", None, [1], {"a": 1}, 10**40, -1, "\ud800", ""])
def test_it_refuses_a_signed_token_whose_claims_make_no_sense(
    asgi: AsgiClient, pair: TokenPair, claim: str, value: Any
) -> None:
    claims = jwt.decode(pair.refresh, options={"verify_signature": False}) | {claim: value}

    answer = refresh(asgi, _signed(claims))

    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"


def _signed(claims: dict[str, Any]) -> str:
    """Signed as ours are; the library itself would refuse to write some of these claims."""
    return jwt.api_jws.encode(json.dumps(claims).encode(), settings.SIMPLE_JWT["SIGNING_KEY"], algorithm="HS256")
