"""What this app announces, and what it hears of Django's and allauth's."""

from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import Signal, receiver

# What a user may see has changed: whoever holds a connection open looks again. Arguments: user_id, reason.
access_changed = Signal()
REASONS = ("signed_out", "password_changed", "deactivated", "deleted", "membership")


@receiver(user_login_failed)
def _sign_in_failed(sender: Any, **_: Any) -> None:
    from . import sign_in

    sign_in.failed()


@receiver(user_logged_in)
def _sign_in_began(sender: Any, request: Any, **_: Any) -> None:
    from . import sessions

    sessions.began(request)


@receiver(user_logged_out)
def _signed_out(sender: Any, request: Any, **_: Any) -> None:
    from allauth.usersessions.models import UserSession

    UserSession.objects.filter(session_key=request.session.session_key or "").delete()


@receiver([password_changed, password_set])
def _password_changed(sender: Any, request: Any, user: Any, **_: Any) -> None:
    from . import sessions

    sessions.end_all(user, reason="password_changed", keep=request)


@receiver(password_reset)
def _password_reset(sender: Any, request: Any, user: Any, **_: Any) -> None:
    from . import lockout, sessions

    lockout.unlock(key=lockout.key_of(user), second_factor=False)
    sessions.end_all(user, reason="password_changed")
