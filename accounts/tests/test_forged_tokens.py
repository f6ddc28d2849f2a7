"""A corpus of forged, altered, stolen and outdated tokens: none is accepted, every one is counted."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from accounts import tokens
from accounts.models import RefreshFamily, User
from accounts.tokens import TokenPair
from bambisleep.tests.client import AsgiClient

pytestmark = pytest.mark.django_db

KEY = settings.SIMPLE_JWT["SIGNING_KEY"]
OTHER_KEYS = ["", "secret", "changeme", KEY[:-1], KEY.upper(), KEY[::-1], "null", "bambisleep" * 5, "0" * 64]
HEADERS: list[dict[str, Any]] = [
    {"kid": "../../../../dev/null"},
    {"kid": "/proc/sys/kernel/randomize_va_space"},
    {"kid": "' UNION SELECT 'key'--"},
    {"kid": "|sleep 1"},
    {"jku": "https://evil.example/keys.json"},
    {"x5u": "https://evil.example/certificate.pem"},
    {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
    {"x5c": ["MIIB"]},
    {"crit": ["exp"]},
    {"b64": False, "crit": ["b64"]},
    {"zip": "DEF"},
    {"cty": "JWT"},
    {"typ": "at+jwt"},
]
NONES = ["none", "None", "NONE", "nOnE", "", "null", None, 0, [], "HS256 ", "hs256", "\0"]


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: dict[str, Any], *, key: str = KEY, algorithm: str = "HS256", **header: Any) -> str:
    """Signed by hand: the library itself would refuse to write some of these, or to use some of the keys."""
    head = encoded({"alg": algorithm, "typ": "JWT", **header})
    message = f"{head}.{encoded(claims)}"
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[algorithm]
    return f"{message}.{encoded(hmac.new(key.encode(), message.encode(), digest).digest())}"


def forgeries(token: str, other: str) -> Iterator[tuple[str, str]]:
    """Forged and altered forms of a good token; `other`: the same of another user's."""
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    for name in NONES:
        for rest in ("", signature):
            yield f"algorithm {name!r}, signature {bool(rest)}", f"{encoded({'alg': name, 'typ': 'JWT'})}.{body}.{rest}"
    for key in OTHER_KEYS:
        yield f"key {key[:10]!r}", signed(claims, key=key)
    for header in HEADERS:
        yield f"other key, header {header}", signed(claims, key=OTHER_KEYS[1] * 10, **header)
        yield f"unsigned, header {header}", f"{encoded({'alg': 'none', **header})}.{body}."
    for algorithm in ("HS384", "HS512"):
        yield f"algorithm {algorithm} with our key", signed(claims, algorithm=algorithm)
    private = rsa.generate_private_key(65537, 2048)
    yield "RS256", jwt.encode(claims, private, algorithm="RS256")
    yield "PS256", jwt.encode(claims, private, algorithm="PS256")
    now = int(time.time())
    for change in (
        {"exp": now - 60}, {"exp": 0}, {"exp": -1}, {"exp": "x"}, {"exp": None}, {"exp": 1e400}, {"nbf": now + 3600},
        {"iat": now + 3600}, {"aud": "another"}, {"aud": []}, {"iss": "another"}, {"iss": None}, {"user_id": 0},
        {"user_id": 10**40}, {"user_id": "1 OR 1=1"}, {"user_id": None}, {"user_id": [claims["user_id"]]},
        {"hash_password": "x"}, {"hash_password": None}, {"family": "x"}, {"family": None}, {"family": str(now)},
        {"family": "00000000-0000-0000-0000-000000000000"}, {"jti": ""}, {"jti": None}, {"token_type": None},
        {"token_type": "sliding"}, {"token_type": ""},
    ):  # fmt: skip
        if not ("jti" in change and claims["token_type"] == "access" and change["jti"] == ""):
            yield f"signed by us, {change}", signed({**claims, **change})
    for claim in ("exp", "aud", "iss", "user_id", "hash_password", "family", "jti", "token_type"):
        yield f"without {claim}", signed({name: value for name, value in claims.items() if name != claim})
    theirs = jwt.decode(other, options={"verify_signature": False})
    yield "another's family", signed({**claims, "family": theirs["family"]})
    yield "another's id", signed({**claims, "user_id": theirs["user_id"]})
    _, their_body, their_signature = other.split(".")
    yield "another's body", f"{head}.{their_body}.{signature}"
    yield "another's signature", f"{head}.{body}.{their_signature}"
    for position in (0, len(signature) // 2, len(signature) - 5):
        swapped = "A" if signature[position] != "A" else "B"
        yield (
            f"signature changed at {position}",
            f"{head}.{body}.{signature[:position]}{swapped}{signature[position + 1 :]}",
        )
    for text in (
        "x", ".", "..", "...", f"{head}.{body}", f"{head}.{body}.", f".{body}.{signature}", f"{head}..{signature}",
        f"{token}.{signature}", token[:-10], token[10:], token.swapcase(), token[::-1], "A" * 3000,
        f"{encoded(b'[]')}.{body}.{signature}",
        f"{head}.{encoded(b'[]')}.{signature}", f"{head}.{encoded(b'null')}.{signature}",
        encoded(token.encode()), "ey" * 100,
        f"{encoded(b'{' * 900)}.{body}.{signature}", "null", "undefined", "[object]", "%00",
    ):  # fmt: skip
        yield f"no token: {text[:20]!r}", text


@pytest.fixture
def pair(member: User) -> TokenPair:
    return tokens.issue(member)


@pytest.fixture
def others(staff: User) -> TokenPair:
    return tokens.issue(staff)


@pytest.fixture
def refused(metric: Callable[..., float]) -> Callable[[], tuple[float, float]]:
    """How many jwt attempts failed, and how many were let in, since the test began."""

    def now() -> tuple[float, float]:
        return metric("auth_attempts_total", type="jwt", success="false"), metric("auth_attempts_total", success="true")

    failed, succeeded = now()
    return lambda: (now()[0] - failed, now()[1] - succeeded)


def test_none_of_them_is_a_good_bearer_token(
    asgi: AsgiClient, pair: TokenPair, others: TokenPair, refused: Callable[[], tuple[float, float]]
) -> None:
    corpus = [*forgeries(pair.access, others.access), ("a refresh token", pair.refresh)]

    statuses = {
        name: asgi.get("/auth/me", headers={"Authorization": f"Bearer {token}"}).status for name, token in corpus
    }

    assert len(corpus) > 100
    assert {name: status for name, status in statuses.items() if status != 401} == {}
    assert refused() == (len(corpus), 0)
    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 200


def test_none_of_them_is_a_good_refresh_token(
    asgi: AsgiClient, pair: TokenPair, others: TokenPair, refused: Callable[[], tuple[float, float]]
) -> None:
    corpus = [*forgeries(pair.refresh, others.refresh), ("an access token", pair.access), ("huge", "A" * 4097)]

    statuses = {name: asgi.post("/auth/refresh", json={"refresh": token}).status for name, token in corpus}

    assert len(corpus) > 100
    assert {name: status for name, status in statuses.items() if status not in {400, 401}} == {}
    assert refused() == (len(corpus), 0)
    assert RefreshFamily.objects.filter(revoked_at=None).count() == 2


def test_a_token_made_for_no_family_opens_nothing(
    asgi: AsgiClient, member: User, refused: Callable[[], tuple[float, float]]
) -> None:
    """simplejwt would take both: they are signed by us, and of this user."""
    access, refresh = AccessToken.for_user(member), RefreshToken.for_user(member)

    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {access}"}).status == 401
    assert asgi.post("/auth/refresh", json={"refresh": str(refresh)}).status == 401
    assert refused() == (2, 0)


def test_a_revoked_familys_tokens_open_nothing(
    asgi: AsgiClient, pair: TokenPair, refused: Callable[[], tuple[float, float]]
) -> None:
    asgi.post("/auth/logout", json={"refresh": pair.refresh})

    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401
    assert asgi.post("/auth/refresh", json={"refresh": pair.refresh}).status == 401
    assert refused() == (2, 0)
