"""The second factor, by whichever door: needed by whom, checked once, each code good once, and limited."""

import time

from allauth.mfa.models import Authenticator
from axes.models import AccessFailureLog
from django.db import transaction
from django.http import HttpRequest

from . import lockout
from .models import User

CODE_LIFE_SECONDS = 120  # longer than any code is accepted


def needed(user: User) -> bool:
    """Whether that user signs in with more than the password."""
    kinds = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
    return Authenticator.objects.filter(user=user, type__in=kinds).exists()


def verify_code(*, request: HttpRequest, user: User, code: str) -> Authenticator | None:
    """Check a code of an authenticator app, or a recovery code; each is good once.

    Returns:
        What it belongs to; None where it is wrong.

    Raises:
        lockout.TooManyAttempts: where it was not looked at.
    """
    attempt = begin(request=request, user=user)
    kinds = [Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES]
    for authenticator in (
        Authenticator.objects.filter(user=user, type__in=kinds).select_related("user").order_by("-type")
    ):
        if _accepts(authenticator.pk, code):
            attempt.delete()
            found: Authenticator = authenticator
            return found
    lockout.failed(request, attempt, limits=lockout.SECOND_FACTOR_LIMITS)
    return None


def begin(*, request: HttpRequest, user: User) -> AccessFailureLog:
    """Put an attempt on record; delete it when it succeeds, hand it to `lockout.failed` when it does not.

    Raises:
        lockout.TooManyAttempts: where none may be made now.
    """
    reserved = lockout.reserve(
        request, key=lockout.key_of(user), limits=lockout.SECOND_FACTOR_LIMITS, path=lockout.SECOND_FACTOR
    )
    if isinstance(reserved, int):
        raise lockout.TooManyAttempts(reserved)
    return reserved


@transaction.atomic
def _accepts(authenticator_id: int, code: str) -> bool:
    """Check the code and note it as used, with the row locked, so that two requests cannot use one code."""
    authenticator = Authenticator.objects.select_for_update().get(pk=authenticator_id)
    if authenticator.type != Authenticator.Type.TOTP:
        return bool(authenticator.wrap().validate_code(code))
    now = time.time()
    used: dict[str, float] = {
        past: at for past, at in authenticator.data.get("used", {}).items() if now - at < CODE_LIFE_SECONDS
    }
    plain = code.replace(" ", "").replace("-", "")
    if plain in used or not authenticator.wrap().validate_code(plain):
        return False
    authenticator.data["used"] = {**used, plain: now}
    authenticator.save(update_fields=["data"])
    return True
