"""The API's tokens, signed by the newest key and verified by that one or a former one.

So JWT_SIGNING_KEY can be replaced while nobody is signed out: the former key stands in JWT_SIGNING_KEY_FALLBACKS until
the last token that it signed has expired.
"""

from functools import lru_cache
from typing import Any

import jwt
from django.conf import settings
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError
from rest_framework_simplejwt.settings import api_settings


@lru_cache(16)
def _backend(key: str) -> TokenBackend:
    """simplejwt's own, by one key."""
    return TokenBackend(
        api_settings.ALGORITHM,
        key,
        audience=api_settings.AUDIENCE,
        issuer=api_settings.ISSUER,
        leeway=api_settings.LEEWAY,
        json_encoder=api_settings.JSON_ENCODER,
    )


class KeyRing(TokenBackend):
    """Signs by JWT_SIGNING_KEY; verifies by that and by each of JWT_SIGNING_KEY_FALLBACKS.

    A token carries no name of its key: whoever could choose the key might choose a wrong one.
    """

    def __init__(self) -> None:
        super().__init__(api_settings.ALGORITHM, leeway=api_settings.LEEWAY)

    def encode(self, payload: dict[str, Any]) -> str:
        """Sign by the newest key."""
        return _backend(settings.JWT_SIGNING_KEY).encode(payload)

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """What the token says.

        Raises:
            TokenBackendError: where no key fits, or the one that does finds it outdated or not meant for us.
        """
        refused = TokenBackendError("Token is invalid")
        for key in (settings.JWT_SIGNING_KEY, *settings.JWT_SIGNING_KEY_FALLBACKS):
            try:
                return _backend(key).decode(token, verify)
            except TokenBackendError as error:
                if not isinstance(error.__cause__, jwt.InvalidSignatureError):
                    raise
                refused = error
        raise refused


class AccessToken(simplejwt.AccessToken):
    """simplejwt's, on our ring."""

    _token_backend = KeyRing()


class RefreshToken(simplejwt.RefreshToken):
    """simplejwt's, on our ring."""

    _token_backend = AccessToken._token_backend
    access_token_class = AccessToken
