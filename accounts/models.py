"""Users, their memberships, the families of refresh tokens by which they stay signed in, and mails on their way."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from django.contrib.auth.models import AbstractUser, UserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Lower
from django.utils import timezone
from django_prometheus.models import ExportModelOperationsMixin


class AccountManager(UserManager["User"]):
    """Finds people by name or e-mail address, whatever their case."""

    def get_by_natural_key(self, username: str | None) -> User:
        """The user of that name, in any case; raises User.DoesNotExist."""
        return self._by("username", User.normalize_username(username or "")).get()

    def by_name_or_email(self, identifier: str) -> User | None:
        """The user whose name, or whose verified e-mail address, is `identifier`; None where there is none.

        An address that nobody has verified is nobody's: whoever typed it at sign-up may not be its owner.
        """
        if "@" in identifier:  # which no name contains
            address = EmailAddress.objects.select_related("user").filter(email=identifier.lower(), verified=True)
            found = address.first()
            return found.user if found else None
        return self._by("username", User.normalize_username(identifier)).first()

    def _by(self, field: str, value: str) -> models.QuerySet[User]:
        # Folded as the unique constraint folds: `iexact` compares capitals, where ı and i are one, and uses no index.
        return self.alias(folded=Lower(field)).filter(folded=Lower(Value(value)))


class User(ExportModelOperationsMixin("user"), AbstractUser):  # type: ignore[misc]
    """A member or a member of staff.

    The name is unique, whatever its case. The e-mail address is what was typed; whose it is says allauth's
    `EmailAddress`, once it is verified (docs/decisions/addresses.md).
    """

    username = models.CharField(
        "name",
        max_length=150,
        unique=True,
        validators=[RegexValidator(r"^[\w.+-]+\Z", "A name consists of letters, digits and . + - _ only.")],
        error_messages={"unique": "A user with that name already exists."},
    )
    email = models.EmailField("e-mail address", max_length=254, db_index=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)
    sign_outs = models.PositiveIntegerField(
        "signed out everywhere", default=0, editable=False, help_text="Part of what every session is checked against."
    )
    deletion_requested_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)

    objects: ClassVar[AccountManager] = AccountManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="accounts_user_username_ci",
                violation_error_code="username",
                violation_error_message="A user with that name already exists.",
            )
        ]
        ordering = ["pk"]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a superuser made without an address keeps a placeholder instead of an empty one."""
        self.email = self.email.lower() or f"{self.username}@invalid"
        super().save(*args, **kwargs)

    def get_session_auth_hash(self) -> str:
        """What a browser session must carry: changed by a new password, and by signing out everywhere.

        No key is in it: the session's row is signed as a whole, and by a former key too. Django would take another key
        for a reason to give the session another id, which whatever is under way with its cookie does not know of.
        """
        value = f"accounts.session|{self.password}|{self.sign_outs}"
        return hashlib.sha256(value.encode()).hexdigest()

    def get_session_auth_fallback_hash(self) -> Any:
        """None."""
        return ()


def display_name(user: User) -> str:
    """How a person is called on pages and in mails."""
    return user.username


class MembershipQuerySet(models.QuerySet["Membership"]):
    """Reads of memberships."""

    def current(self, at: datetime) -> MembershipQuerySet:
        """Those in force at that moment."""
        return self.filter(models.Q(ends_at=None) | models.Q(ends_at__gt=at), starts_at__lte=at)


class Membership(models.Model):
    """One reason why a user may see members' content, and until when; several may overlap."""

    class Source(models.TextChoices):
        """Where it came from."""

        SUBSCRIPTION = "subscription"
        STAFF = "staff"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    source = models.CharField(max_length=20, choices=Source.choices)
    reason = models.CharField(max_length=200, blank=True, help_text="Why, for whoever asks later.")
    given_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is ended.")
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at"]
        indexes = [models.Index(fields=["user", "ends_at"], name="accounts_membership_current")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at=None) | models.Q(ends_at__gte=F("starts_at")),
                name="accounts_membership_ends_later",
                violation_error_message="A membership ends after it starts.",
            ),
            models.CheckConstraint(
                condition=~models.Q(source="staff", reason=""),
                name="accounts_membership_staff_reason",
                violation_error_message="Say why the membership is given.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} by {self.source}"


class RefreshFamilyQuerySet(models.QuerySet["RefreshFamily"]):
    """Reads of refresh token families."""

    def live(self, now: datetime) -> RefreshFamilyQuerySet:
        """Families whose newest token may still be used."""
        return self.filter(revoked_at=None, expires_at__gt=now, user__is_active=True)


class RefreshFamily(models.Model):
    """One sign-in over the API: the chain of refresh tokens of which only the newest is good.

    A refresh exchanges `current_jti` for a new one by a conditional UPDATE; a token of the family that is not the
    current one was used before, so the family is revoked (RFC 9700, section 4.14.2).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="refresh_families")
    current_jti = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_index=True)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = RefreshFamilyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "refresh families"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=F("created_at")), name="accounts_family_expires_later"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} since {self.created_at:%Y-%m-%d %H:%M}"


class OutgoingMail(models.Model):
    """A mail that no mail server has taken yet (`accounts.mail`)."""

    recipients = models.JSONField()
    sender = models.CharField(max_length=254)
    subject = models.CharField(max_length=998)
    body = models.TextField()
    html = models.TextField(blank=True)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    next_try_at = models.DateTimeField(default=timezone.now, db_index=True)
    tries = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["pk"]
        verbose_name = "outgoing mail"

    def __str__(self) -> str:
        return f"{self.subject} ({self.created_at:%Y-%m-%d %H:%M})"
