"""Where allauth asks this house: how accounts are opened, when a sign-in is complete, what a code proves."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import record_authentication
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from observability.problems import error_response

from . import registration, sign_in
from .keys import fernet_key
from .models import User


class AccountAdapter(DefaultAccountAdapter):
    """ACCOUNT_ADAPTER."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": "The name or the password is wrong.",
        "email_password_mismatch": "The name or the password is wrong.",
    }

    def clean_username(self, username: str, shallow: bool = False) -> str:
        """The name in the form in which it is stored.

        Raises:
            ValidationError: where it is not a name, or is taken in any case.
        """
        name = User.normalize_username(username)
        for validator in User._meta.get_field("username").validators:
            validator(name)
        try:
            User.objects.get_by_natural_key(name)
        except User.DoesNotExist:
            return name
        raise ValidationError("A user with that name already exists.", code="username_taken")

    def save_user(self, request: HttpRequest, user: Any, form: Any, commit: bool = True) -> User:
        """Store the account that the sign-up form opens."""
        user.username, user.email = form.cleaned_data["username"], form.cleaned_data["email"]
        user.set_password(form.cleaned_data["password1"])
        try:
            registration.save_new(user)
        except registration.Refused as refused:  # another request took the name in between
            sign_in.registered(success=False)
            raise ImmediateHttpResponse(error_response(request, 409, refused.detail)) from refused
        account: User = user
        return account

    def pre_login(self, request: HttpRequest, user: Any, *, email: str | None, **details: Any) -> HttpResponse | None:
        """Refuse a code that was mailed to an address which is not the account's any more."""
        if email and not EmailAddress.objects.filter(user=user, email=email.lower()).exists():
            clear_login(request)
            sign_in.failed()
            self.add_message(request, messages.ERROR, message="That code is not valid any more. Ask for another one.")
            return redirect("account_request_login_code")
        response: HttpResponse | None = super().pre_login(request, user, email=email, **details)
        return response

    def post_login(self, request: HttpRequest, user: Any, *, signup: bool, **details: Any) -> HttpResponse:
        """A sign-in is complete, second factor included. The one that a sign-up ends with is no attempt of its own."""
        # To allauth only being asked again is fresh; here a sign-in is, as long as it is as young as that.
        record_authentication(request, user, method="sign_in", reauthenticated=True)
        if not signup:
            sign_in.completed()
        return super().post_login(request, user, signup=signup, **details)


class SecondFactorAdapter(DefaultMFAAdapter):
    """MFA_ADAPTER: what authenticator apps and recovery codes are made of is stored encrypted."""

    def encrypt(self, text: str) -> str:
        """Encrypt by the newest key."""
        return _keys().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Decrypt by the newest key, or a former one.

        Raises:
            ValueError: where no key fits.
        """
        try:
            return _keys().decrypt(encrypted_text.encode()).decode()
        except InvalidToken as error:
            raise ValueError(
                "A second factor was stored by another SECRET_KEY: name that in SECRET_KEY_FALLBACKS."
            ) from error


def _keys() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(fernet_key(key, purpose="second factor")) for key in keys])
