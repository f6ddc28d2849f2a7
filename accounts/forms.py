"""allauth's forms, held to this house's limits, and counting what they refuse."""

import struct
from datetime import datetime
from typing import Any, cast

from allauth.account.forms import (
    ChangePasswordForm,
    ConfirmLoginCodeForm,
    LoginForm,
    RequestLoginCodeForm,
    ResetPasswordForm,
    SignupForm,
)
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, ProhibitNullCharactersValidator
from django.http import HttpRequest
from django.utils import timezone

from . import lockout, second_factor, sign_in
from .models import User
from .passwords import MAX_LENGTH

WRONG_CODE = "The code is wrong, or was used before."
WRONG_KEY = "That key could not be verified. Try again."
# What python-fido2 raises for a credential that is not what a browser sends.
MALFORMED = (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError, struct.error)


class SignInForm(LoginForm):
    """Name or address, and password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Name or e-mail address"
        self.fields["login"].widget.attrs |= {"autocomplete": "username", "autocapitalize": "none"}
        self.fields["login"].validators.append(MaxLengthValidator(254))
        self.fields["password"].validators += [MaxLengthValidator(MAX_LENGTH), ProhibitNullCharactersValidator()]

    def clean(self) -> Any:
        """Authenticate; a form that is not worth that is a failed attempt too."""
        if self.errors:
            sign_in.malformed("login")
        return super().clean()  # type: ignore[no-untyped-call]

    def user_credentials(self) -> dict[str, Any]:
        """The name or address under one key, whichever it is."""
        return {"username": self.cleaned_data["login"], "password": self.cleaned_data["password"]}


class SignUpForm(SignupForm):
    """Name, address and password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "Name"
        self.fields["username"].help_text = "Letters, digits and . + - _. Other members see it."
        self.fields["email"].label = "E-mail address"
        self.fields["password1"].validators.append(ProhibitNullCharactersValidator())

    def full_clean(self) -> None:
        """Validate; a form that is refused is a failed attempt to register."""
        super().full_clean()
        if self.is_bound and self._errors:
            sign_in.registered(success=False)

    def try_save(self, request: HttpRequest) -> Any:
        """Open the account, and count the attempt."""
        user, response = super().try_save(request)
        sign_in.registered(success=user is not None)
        return user, response


def _owner(email: str) -> User | None:
    """Whose address that is; an address that is not verified is nobody's (docs/decisions/addresses.md)."""
    user = User.objects.by_name_or_email(email) if "@" in email else None
    return user if user is not None and user.is_active else None


class SignInCodeRequestForm(RequestLoginCodeForm):
    """Where to send a code."""

    def clean_email(self) -> Any:
        """The address; only its owner gets in by it."""
        email = super().clean_email()
        if email:
            self._user = _owner(email)
        return email


class ResetForm(ResetPasswordForm):
    """Where to send a link."""

    def clean_email(self) -> Any:
        """The address; only its owner's password is reset by it."""
        email = super().clean_email()
        owner = _owner(email)
        self.users = [owner] if owner else []
        return email


class PasswordForm(ChangePasswordForm):
    """The password as it is, and as it shall be."""

    def clean_oldpassword(self) -> Any:
        """Check it as every door does, within the same limits."""
        password = self.cleaned_data["oldpassword"]
        if authenticate(context.request, username=cast(User, self.user).username, password=password) is None:
            raise ValidationError("The password is wrong.", code="enter_current_password")
        return password


class _JSONField(forms.JSONField):
    """JSON; what is nested too deeply to be read is none."""

    def to_python(self, value: Any) -> Any:
        """The value."""
        try:
            return super().to_python(value)
        except RecursionError:
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": "…"}) from None


class SignInCodeForm(ConfirmLoginCodeForm):
    """The code that came by mail."""

    def clean_code(self) -> Any:
        """The code; a wrong one is a failed attempt to sign in."""
        try:
            return super().clean_code()
        except ValidationError:
            sign_in.failed()
            raise


class _CodeForm(forms.Form):
    user: User
    authenticator: Authenticator

    def clean_code(self) -> str:
        """Check the code by the same function as the API."""
        code: str = self.cleaned_data["code"]
        try:
            accepted = second_factor.verify_code(request=context.request, user=self.user, code=code)
        except lockout.TooManyAttempts as refused:
            sign_in.failed()
            raise ImmediateHttpResponse(lockout.refusal(context.request, int(refused.headers["Retry-After"]))) from None
        if accepted is None:
            sign_in.failed()
            raise ValidationError(WRONG_CODE, code="incorrect_code")
        self.authenticator = accepted
        return code


class SecondFactorForm(_CodeForm, AuthenticateForm):
    """A code, to complete a sign-in."""


class FreshSecondFactorForm(_CodeForm, ReauthenticateForm):
    """A code, to sign in afresh."""


class _PasskeyForm(forms.Form):
    user: User | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["credential"] = _JSONField(widget=forms.HiddenInput)

    def full_clean(self) -> None:
        """Validate; what does not verify, or is nothing of the kind, is a failed attempt to sign in."""
        super().full_clean()
        if self.is_bound and self.errors:
            sign_in.failed()

    def clean_credential(self) -> Authenticator:
        """Verify what the browser sends, within the limits."""
        request = context.request
        attempt = None
        try:
            if self.user is not None:
                attempt = second_factor.begin(request=request, user=self.user)
            verified: Authenticator = super().clean_credential()  # type: ignore[misc]
        except lockout.TooManyAttempts as refused:
            sign_in.failed()
            raise ImmediateHttpResponse(lockout.refusal(request, int(refused.headers["Retry-After"]))) from None
        except (ValidationError, *MALFORMED):
            if attempt is not None:
                lockout.failed(request, attempt, limits=lockout.SECOND_FACTOR_LIMITS)
            raise ValidationError(WRONG_KEY, code="incorrect_key") from None
        if attempt is not None:
            attempt.delete()
        return verified


class SecondFactorPasskeyForm(_PasskeyForm, AuthenticateWebAuthnForm):
    """A passkey or security key, to complete a sign-in."""


class FreshPasskeyForm(_PasskeyForm, ReauthenticateWebAuthnForm):
    """A passkey or security key, to sign in afresh."""


class PasskeySignInForm(_PasskeyForm, LoginWebAuthnForm):
    """A passkey instead of a name and a password."""


class AddPasskeyForm(AddWebAuthnForm):
    """A new passkey or security key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["credential"] = _JSONField(widget=forms.HiddenInput)

    def clean(self) -> Any:
        """Register what the browser sends."""
        try:
            return super().clean()
        except MALFORMED:
            raise ValidationError(WRONG_KEY, code="incorrect_key") from None


class ConfirmForm(forms.Form):
    """A box to tick, before something that cannot be undone for long."""

    confirm = forms.BooleanField(label="I understand", error_messages={"required": "Tick the box to go on."})


def lies_ahead(moment: datetime) -> None:
    """Raises ValidationError for a moment that has passed."""
    if moment <= timezone.now():
        raise ValidationError("The end must lie ahead.")


class GiveMembershipForm(forms.Form):
    """A membership by word of staff."""

    reason = forms.CharField(max_length=200, help_text="Why, for whoever asks later.")
    until = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="UTC; empty: until it is ended.",
    )

    def clean_until(self) -> Any:
        """The end; it must lie ahead."""
        until = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise ValidationError("The end must lie ahead.")
        return until
