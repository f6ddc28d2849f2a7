"""How a name and a password are checked."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from . import lockout
from .models import User


class NameOrEmailBackend(ModelBackend):
    """Django's backend, with a verified e-mail address as good as the name, both in any case.

    An unknown name costs one password hash, as a known one does, so that time does not tell which exist.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """The active user with that name or address and password, or None."""
        if not username or password is None:
            return None
        user = lockout.account_of(request, username.strip())
        if user is None:
            User().set_password(password)
            return None
        if not user.check_password(password) or not self.user_can_authenticate(user):
            return None
        if request is not None:
            lockout.passed(request)
        return user
