"""Second factors, encrypted anew by the newest key, so that a former one need no longer be listed."""

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import transaction

from .adapters import SecondFactorAdapter
from .keys import fernet_key

# What allauth encrypts, by the kind of second factor; passkeys are public keys.
ENCRYPTED = {Authenticator.Type.TOTP: "secret", Authenticator.Type.RECOVERY_CODES: "seed"}


def reencrypt(*, dry_run: bool = False) -> tuple[int, list[int]]:
    """Encrypt by the newest key what a former key encrypted; what the newest wrote stays as it is.

    Args:
        dry_run: say what would be done, and do nothing.

    Returns:
        How many were encrypted anew, and the numbers of the accounts whose second factor no listed key opens.
    """
    done, unreadable = 0, []
    keys = list(Authenticator.objects.filter(type__in=ENCRYPTED).order_by("pk").values_list("pk", flat=True))
    for key in keys:
        with transaction.atomic():
            authenticator = Authenticator.objects.select_for_update().filter(pk=key).first()
            if authenticator is None:  # its owner removed it meanwhile
                continue
            name = ENCRYPTED[Authenticator.Type(authenticator.type)]
            stored = authenticator.data.get(name, "")
            if not stored or _is_by_newest(stored):
                continue
            try:
                plain = SecondFactorAdapter().decrypt(stored)
            except ValueError:
                unreadable.append(authenticator.user_id)
                continue
            if not dry_run:
                authenticator.data[name] = SecondFactorAdapter().encrypt(plain)
                authenticator.save(update_fields=["data"])
            done += 1
    return done, sorted(set(unreadable))


def _is_by_newest(stored: str) -> bool:
    try:
        Fernet(fernet_key(settings.SECRET_KEY, purpose="second factor")).decrypt(stored.encode())
    except InvalidToken:
        return False
    return True
