"""Who may do everything here, and whose addresses the site sees."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db.models import Exists, OuterRef

from accounts.models import User
from observability.delivery.models import Pipeline
from observability.models import SecurityEvent

from .findings import Finding, check, note, ok, warning

PASSWORD_FILE = "admin-password"  # noqa: S105 - the name of the file that `manage.py start` writes
LOOKED_AT, ENOUGH = 200, 20  # addresses


@check("superusers")
def somebody_is_in_charge() -> Iterator[Finding]:
    """Superusers, and what protects them."""
    superusers = User.objects.filter(is_superuser=True, is_active=True)
    number = superusers.count()
    if not number:
        yield warning("There is no superuser: nobody can enter the admin.", "Run manage.py createsuperuser.")
        return
    of_user = Authenticator.objects.filter(user=OuterRef("pk"), type__in=["totp", "webauthn"])
    bare = superusers.exclude(Exists(of_user)).count()
    if bare and not settings.DEBUG:
        yield warning(
            f"{bare} of {number} superusers sign in with a password alone.",
            "Have them add an authenticator app or a passkey at /accounts/2fa/, and take the right from who left.",
        )
    else:
        yield ok(f"There {'is one superuser' if number == 1 else f'are {number} superusers'}.")
    if not settings.DEBUG and (settings.DATA_DIR / PASSWORD_FILE).exists():
        yield warning(
            f"DATA_DIR holds {PASSWORD_FILE}, the superuser's first password, from a development start.",
            "Change that password, and delete the file.",
        )
    if not settings.DEBUG and Pipeline.objects.filter(service="demo").exists():
        yield note("The demo content is here.", "If nobody needs it: manage.py remove_demo.")


@check("client addresses")
def clients_are_told_apart() -> Iterator[Finding]:
    """Whether what the site takes for its clients' addresses can be theirs."""
    newest: Any = UserSession.objects.order_by("-pk").values_list("ip", flat=True)[:LOOKED_AT]
    events = SecurityEvent.objects.exclude(address=None).order_by("-pk").values_list("address", flat=True)[:LOOKED_AT]
    addresses = [ipaddress.ip_address(address) for address in [*newest, *events] if address]
    if settings.DEBUG or len(addresses) < ENOUGH:
        yield ok(f"TRUSTED_PROXIES is {settings.TRUSTED_PROXIES}; too few clients were seen to judge it.")
    elif all(address.is_private for address in addresses):
        seen = sorted({str(address) for address in addresses})
        yield warning(
            f"All of the last {len(addresses)} clients had private addresses, such as {seen[0]}: these may be proxies.",
            f"TRUSTED_PROXIES is {settings.TRUSTED_PROXIES}: count your proxies, and look whether each one sets "
            "X-Forwarded-For. People behind one address are locked out together.",
        )
    else:
        yield ok(f"Clients have addresses of their own (TRUSTED_PROXIES is {settings.TRUSTED_PROXIES}).")
