"""Bearer tokens on the API."""

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication

from observability import security

from . import tokens
from .metrics import attempt
from .models import User


class BearerAuthentication(JWTAuthentication):
    """simplejwt's, and the token's family must be live: signing out ends access tokens at once.

    A bearer token that fails is counted as an attempt; a good one is none.
    """

    def authenticate(self, request: Request) -> Any:
        """(user, token), or None without a bearer token.

        Raises:
            AuthenticationFailed: where the token is not good.
        """
        try:
            return super().authenticate(request)
        except (AuthenticationFailed, tokens.InvalidToken, TypeError, ValueError, OverflowError) as error:
            attempt("jwt", success=False)
            security.record(type="invalid_token")
            raise AuthenticationFailed("The token is not valid.") from error

    def get_user(self, validated_token: Any) -> User:
        """The user that the token's family belongs to; simplejwt's would ask the database twice."""
        return tokens.user_of(validated_token)


class BearerScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "accounts.authentication.BearerAuthentication"
    name = "bearer"
