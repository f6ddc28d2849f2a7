"""Users, and the families of refresh tokens by which they stay signed in."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Lower
from django_prometheus.models import ExportModelOperationsMixin


class AccountManager(UserManager["User"]):
    """Finds people by name or e-mail address, whatever their case."""

    def get_by_natural_key(self, username: str | None) -> User:
        """The user of that name, in any case; raises User.DoesNotExist."""
        return self._by("username", User.normalize_username(username or "")).get()

    def by_name_or_email(self, identifier: str) -> User | None:
        """The user whose name, or whose e-mail address, is `identifier`; None where there is none."""
        if "@" in identifier:  # which no name contains
            return self._by("email", identifier).first()
        return self._by("username", User.normalize_username(identifier)).first()

    def _by(self, field: str, value: str) -> models.QuerySet[User]:
        # Folded as the unique constraints fold: `iexact` compares capitals, where ı and i are one, and uses no index.
        return self.alias(folded=Lower(field)).filter(folded=Lower(Value(value)))


class User(ExportModelOperationsMixin("user"), AbstractUser):  # type: ignore[misc]
    """A member or a member of staff. Name and e-mail address are each unique, whatever their case."""

    username = models.CharField(
        "name",
        max_length=150,
        unique=True,
        validators=[RegexValidator(r"^[\w.+-]+\Z", "A name consists of letters, digits and . + - _ only.")],
        error_messages={"unique": "A user with that name already exists."},
    )
    email = models.EmailField("e-mail address", max_length=254)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects: ClassVar[AccountManager] = AccountManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="accounts_user_username_ci",
                violation_error_code="username",
                violation_error_message="A user with that name already exists.",
            ),
            models.UniqueConstraint(
                Lower("email"),
                name="accounts_user_email_ci",
                violation_error_code="email",
                violation_error_message="A user with that e-mail address already exists.",
            ),
        ]
        ordering = ["pk"]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a superuser made without an address keeps a unique placeholder instead of an empty one."""
        if not self.email:
            self.email = f"{self.username}@invalid"
        super().save(*args, **kwargs)


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
