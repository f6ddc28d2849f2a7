"""GET /auth/me."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from accounts import tokens
from accounts.models import User
from accounts.tokens import TokenPair
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def pair(member: User) -> TokenPair:
    return tokens.issue(member)


def me(asgi: AsgiClient, access: str) -> Answer:
    return asgi.get("/auth/me", headers={"Authorization": f"Bearer {access}"})


def test_it_tells_who_you_are(asgi: AsgiClient, member: User, pair: TokenPair) -> None:
    answer = me(asgi, pair.access)

    assert answer.status == 200
    assert set(answer.json) == {"id", "username", "email", "date_joined", "is_staff"}
    assert (answer.json["id"], answer.json["username"]) == (member.pk, "mara")


def test_a_good_token_is_no_attempt(asgi: AsgiClient, pair: TokenPair, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total")

    assert me(asgi, pair.access).status == 200
    assert metric("auth_attempts_total") == before


def test_no_token_is_no_attempt(asgi: AsgiClient, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total")

    answer = asgi.get("/auth/me")

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="api"'
    assert metric("auth_attempts_total") == before


def test_it_counts_a_bad_token_once(asgi: AsgiClient, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total", type="jwt", success="false")
    all_before = metric("auth_attempts_total")
    events = metric("security_events_total", type="invalid_token")

    answer = me(asgi, "no.token.really")

    assert answer.status == 401
    assert metric("auth_attempts_total", type="jwt", success="false") == before + 1
    assert metric("auth_attempts_total") == all_before + 1
    assert metric("security_events_total", type="invalid_token") == events + 1


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Bearer \xff\xfe", "Bearer ..", "Bearer " + "a" * 20_000])
def test_it_refuses_a_header_that_is_no_token(asgi: AsgiClient, header: str) -> None:
    answer = asgi.get("/auth/me", headers={"Authorization": header})

    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_it_refuses_a_refresh_token(asgi: AsgiClient, pair: TokenPair) -> None:
    assert me(asgi, pair.refresh).status == 401


def test_it_refuses_an_unsigned_token(asgi: AsgiClient, pair: TokenPair) -> None:
    claims = jwt.decode(pair.access, options={"verify_signature": False})

    assert me(asgi, jwt.encode(claims, None, algorithm="none")).status == 401
    assert me(asgi, pair.access.rsplit(".", 1)[0] + ".").status == 401


def test_it_refuses_a_token_signed_with_another_key(asgi: AsgiClient, pair: TokenPair) -> None:
    claims = jwt.decode(pair.access, options={"verify_signature": False})

    assert me(asgi, jwt.encode(claims, "another key " * 5, algorithm="HS256")).status == 401


def test_it_refuses_an_expired_token(asgi: AsgiClient, pair: TokenPair) -> None:
    token = AccessToken(pair.access)
    token["exp"] = int(timezone.now().timestamp()) - settings.SIMPLE_JWT["LEEWAY"] - 1

    assert me(asgi, str(token)).status == 401


def test_it_refuses_a_token_of_no_family(asgi: AsgiClient, member: User) -> None:
    assert me(asgi, str(AccessToken.for_user(member))).status == 401


def test_it_refuses_a_deleted_users_token(asgi: AsgiClient, member: User, pair: TokenPair) -> None:
    member.delete()

    assert me(asgi, pair.access).status == 401


def test_it_refuses_a_deactivated_users_token(asgi: AsgiClient, pair: TokenPair) -> None:
    User.objects.update(is_active=False)

    assert me(asgi, pair.access).status == 401


def test_a_changed_password_ends_it(asgi: AsgiClient, member: User, pair: TokenPair) -> None:
    member.set_password("another long enough phrase")
    member.save()

    assert me(asgi, pair.access).status == 401


@pytest.mark.parametrize("claim", ["user_id", "family", "hash_password", "token_type", "exp", "aud", "iss"])
@pytest.mark.parametrize("value", ["x", None, [1], {"a": 1}, 10**40, -1, "\ud800", ""])
def test_it_refuses_a_signed_token_whose_claims_make_no_sense(
    asgi: AsgiClient, pair: TokenPair, claim: str, value: Any
) -> None:
    claims = jwt.decode(pair.access, options={"verify_signature": False}) | {claim: value}
    signing_key = settings.SIMPLE_JWT["SIGNING_KEY"]

    answer = me(asgi, jwt.api_jws.encode(json.dumps(claims).encode(), signing_key, algorithm="HS256"))

    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
