"""Signing up, in and out: what the API calls, and what counts the attempts of every door.

An attempt to sign in is counted once: as a success when it is complete, second factor included; as a failure for each
password, code, passkey or body that was refused, whether it was looked at or not. A right password that still needs
its second factor is not counted yet.
"""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.core import ratelimit
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import update_last_login
from django.db import transaction
from django.http import HttpRequest

from observability import security
from observability.problems import Problem, Unauthorized

from . import lockout, registration, second_factor, sessions, tokens
from .metrics import attempt
from .models import User
from .tokens import TokenPair


class WrongCredentials(Unauthorized):
    """Name or password is wrong, or the account may not sign in: which one is not told."""

    code = "wrong_credentials"

    def __init__(self) -> None:
        super().__init__("The name or the password is wrong.")


class SecondFactorRequired(Unauthorized):
    """The password was right; the sign-in is not complete without a code. Told to nobody who lacks the password."""

    code = "second_factor_required"

    def __init__(self) -> None:
        super().__init__("Send the code of your authenticator app, or a recovery code, as `code` too.")


class WrongCode(Unauthorized):
    """The password was right, the code was not."""

    code = "wrong_code"

    def __init__(self) -> None:
        super().__init__("The code is wrong, or was used before.")


class EmailNotVerified(Unauthorized):
    """The password was right; the site asks for a verified address first."""

    code = "email_not_verified"

    def __init__(self) -> None:
        super().__init__("Confirm your e-mail address first: a mail with a link is on its way.")


class TooOften(Problem):
    """Asked too often by one client (429)."""

    status = 429
    headers = {"Retry-After": "300"}

    def __init__(self) -> None:
        super().__init__("That was too often. Wait a while, then try again.")


def register(*, request: HttpRequest, username: str, email: str, password: str) -> User:
    """Open an account, and have its address verified.

    Raises:
        TooOften: where one network opens too many.
        registration.Refused: naming each field at fault.
    """
    try:
        limit(request, action="signup")
        user = registration.create_account(username=username, email=email, password=password)
    except Problem:
        registered(success=False)
        raise
    registered(success=True)
    registration.ask_to_verify(request, user)
    return user


def sign_in(*, request: HttpRequest, username: str, password: str, code: str = "") -> TokenPair:
    """Check name (or e-mail address), password, and where the account has a second factor the code; begin tokens.

    Raises:
        WrongCredentials, SecondFactorRequired, WrongCode, EmailNotVerified: what is missing.
        lockout.TooManyAttempts: where the attempt was not looked at.
    """
    user = authenticate(request, username=username, password=password)  # a failure is counted by its signal
    if not isinstance(user, User):
        if getattr(request, "axes_locked_out", False):
            state: Any = request
            raise lockout.TooManyAttempts(state.axes_wait_seconds)
        raise WrongCredentials
    _verify_second_factor(request, user, code)
    if settings.EMAIL_VERIFICATION_REQUIRED and not registration.has_verified_address(user):
        failed()
        registration.ask_to_verify(request, user)
        raise EmailNotVerified
    update_last_login(None, user)  # type: ignore[arg-type]
    pair = tokens.issue(user)
    completed()
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


def change_password(*, request: HttpRequest, user: User, current: str, new: str) -> TokenPair:
    """Change the password, end every sign-in, begin one anew for whoever changed it, and mail a word of it.

    Raises:
        WrongCredentials, lockout.TooManyAttempts: about the current password.
        registration.Refused: about the new one.
    """
    checked = authenticate(request, username=user.username, password=current)
    if not isinstance(checked, User):
        if getattr(request, "axes_locked_out", False):
            state: Any = request
            raise lockout.TooManyAttempts(state.axes_wait_seconds)
        raise registration.Refused({"current_password": ["The password is wrong."]})
    with transaction.atomic():
        registration.set_password(user, new, field="new_password")
        sessions.end_all(user, reason="password_changed")
        get_adapter().send_notification_mail("account/email/password_changed", user)  # as the page does
    return tokens.issue(user)


def limit(request: HttpRequest, *, action: str) -> None:
    """Hold the API to the limit that allauth holds the page to.

    Raises:
        TooOften: where it is reached.
    """
    if not ratelimit.consume(request, action=action):
        security.record(type="rate_limited", detail=action)
        raise TooOften


def completed() -> None:
    """Count a sign-in that is complete."""
    attempt("login", success=True)


def failed() -> None:
    """Count a failed or refused attempt to sign in."""
    attempt("login", success=False)


def registered(*, success: bool) -> None:
    """Count an attempt to open an account."""
    attempt("register", success=success)


def malformed(type: str) -> None:
    """Count an attempt of that type whose body could not be read."""
    attempt(type, success=False)


def _verify_second_factor(request: HttpRequest, user: User, code: str) -> None:
    if not second_factor.needed(user):
        return
    if not code:
        raise SecondFactorRequired
    try:
        accepted = second_factor.verify_code(request=request, user=user, code=code)
    except lockout.TooManyAttempts:
        failed()
        raise
    if accepted is None:
        failed()
        raise WrongCode
    accepted.record_usage()
