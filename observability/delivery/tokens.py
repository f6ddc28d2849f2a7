"""Deploy tokens: what lets a pipeline record deployments over HTTP, and nothing else.

A token is `bsd_` + 8 characters to look it up by + 32 secret ones + 6 of a checksum, by which a mistyped or cut token
is refused before the database is asked. Only a hash is stored; the token is shown once.
"""

import hashlib
import secrets
import string
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from .. import security
from .models import DeployToken, Scope

PREFIX = "bsd_"
ALPHABET = string.ascii_letters + string.digits
LOOKUP_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 8, 32, 6  # 32 of 62 characters: 190 random bits
LAST_USED_EVERY = timedelta(minutes=1)


def issue(
    *, name: str, scopes: Iterable[str], expires_at: datetime | None = None, created_by: Any = None
) -> tuple[DeployToken, str]:
    """Make a token.

    Args:
        scopes: of `Scope`.
        expires_at: None where it does not expire.

    Returns:
        The row, and the token itself, which nobody can be shown again.
    """
    body = "".join(secrets.choice(ALPHABET) for _ in range(LOOKUP_LENGTH + SECRET_LENGTH))
    raw = PREFIX + body + _checksum(body)
    token = DeployToken(
        name=name,
        lookup=body[:LOOKUP_LENGTH],
        digest=_digest(raw),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
        created_by=created_by,
    )
    token.full_clean()
    token.save(force_insert=True)
    return token, raw


def revoke(token: DeployToken) -> bool:
    """End a token at once; False where it had ended."""
    return bool(DeployToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()))


class TokenRefused(AuthenticationFailed):
    """The token is not good; the detail says why, to whoever holds it."""


def verify(raw: str) -> DeployToken:
    """The token that `raw` is, and note that it was used.

    Raises:
        TokenRefused: where it is malformed, unknown, expired or revoked.
    """
    body, checksum = raw[len(PREFIX) : -CHECKSUM_LENGTH], raw[-CHECKSUM_LENGTH:]
    well_formed = raw.startswith(PREFIX) and len(body) == LOOKUP_LENGTH + SECRET_LENGTH
    if not well_formed or not constant_time_compare(checksum, _checksum(body)):
        raise _refused("The deploy token is malformed: was it copied whole?")
    token = DeployToken.objects.filter(lookup=body[:LOOKUP_LENGTH]).first()
    if token is None or not constant_time_compare(token.digest, _digest(raw)):
        raise _refused("The deploy token is not known here.")
    now = timezone.now()
    if token.revoked_at is not None:
        raise _refused(f"The deploy token was revoked on {token.revoked_at:%Y-%m-%d}.")
    if token.expires_at is not None and token.expires_at <= now:
        raise _refused(f"The deploy token expired on {token.expires_at:%Y-%m-%d}.")
    long_unused = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_EVERY)
    DeployToken.objects.filter(long_unused, pk=token.pk).update(last_used_at=now)
    return token


def _refused(reason: str) -> TokenRefused:
    security.record(type="invalid_token", detail=reason)
    return TokenRefused(reason)


def _checksum(body: str) -> str:
    number, characters = zlib.crc32(body.encode("utf-8", "surrogatepass")), []
    for _ in range(CHECKSUM_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)


def _digest(raw: str) -> str:
    # 190 random bits need no slow hash, nor a key whose rotation would end every token.
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()


class DeployTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer bsd_…`. Another kind of bearer token is left to others."""

    def authenticate(self, request: Request) -> tuple[None, DeployToken] | None:
        """(None, token): no person stands behind it.

        Raises:
            TokenRefused: where it is not good.
        """
        scheme, _, raw = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer" or not raw.strip().startswith(PREFIX.encode()):
            return None
        return None, verify(raw.strip().decode("latin-1"))

    def authenticate_header(self, request: Request) -> str:
        """Makes a refusal 401."""
        return 'Bearer realm="deployments"'


class HasScope(BasePermission):
    """The token has the scope that the view names for the method; staff may read."""

    message = "The deploy token lacks the scope for this."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether it has."""
        needed: Scope = view.scopes[request.method or ""] if request.method in view.scopes else Scope.READ
        if isinstance(request.auth, DeployToken):
            self.message = f"The deploy token lacks the scope {needed.value}."
            if needed.value in request.auth.scopes:
                return True
            security.record(type="invalid_token", detail=self.message)
            return False
        return needed == Scope.READ and bool(request.user and request.user.is_staff)
