"""Signing up, in and out over the API. Each attempt is counted once, here."""

from django.contrib.auth import authenticate
from django.contrib.auth.models import update_last_login
from django.http import HttpRequest

from observability.problems import Unauthorized

from . import registration, tokens
from .metrics import attempt
from .models import User
from .tokens import TokenPair


class WrongCredentials(Unauthorized):
    """Name or password is wrong, or the account may not sign in: which one is not told."""

    def __init__(self) -> None:
        super().__init__("The name or the password is wrong.")


def register(*, username: str, email: str, password: str) -> User:
    """Open an account.

    Raises:
        registration.Refused: naming each field at fault.
    """
    try:
        user = registration.create_account(username=username, email=email, password=password)
    except registration.Refused:
        attempt("register", success=False)
        raise
    attempt("register", success=True)
    return user


def sign_in(*, request: HttpRequest, username: str, password: str) -> TokenPair:
    """Check name (or e-mail address) and password, and begin a family of tokens.

    Raises:
        WrongCredentials: whatever the reason.
    """
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        attempt("login", success=False)
        raise WrongCredentials
    update_last_login(None, user)  # type: ignore[arg-type]
    pair = tokens.issue(user)
    attempt("login", success=True)
    return pair


def refresh(*, token: str) -> TokenPair:
    """Exchange a refresh token for a new pair.

    Raises:
        tokens.InvalidToken: where it is not good, or no longer.
    """
    try:
        pair = tokens.rotate(token)
    except tokens.InvalidToken:
        attempt("jwt", success=False)
        raise
    attempt("jwt", success=True)
    return pair


def sign_out(*, token: str) -> None:
    """End the family of a refresh token, and with it the access tokens that came of it.

    Raises:
        tokens.InvalidToken: where it is no refresh token of ours.
    """
    try:
        tokens.revoke(token)
    except tokens.InvalidToken:
        attempt("jwt", success=False)
        raise


def malformed(type: str) -> None:
    """Count an attempt of that type whose body could not be read."""
    attempt(type, success=False)
