"""What this app hears of allauth's."""

from typing import Any

from allauth.account.signals import email_changed
from django.dispatch import receiver

from . import customers


@receiver(email_changed)
def _email_changed(sender: Any, user: Any, **_: Any) -> None:
    customers.address_changed(user)
