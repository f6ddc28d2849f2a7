"""Opening accounts."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction

from observability.problems import Problem

from .models import User


class Refused(Problem):
    """The account cannot be opened; `errors` says why, field by field."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("The account could not be opened.", errors=errors)


def create_account(*, username: str, email: str, password: str) -> User:
    """Open an active account.

    Raises:
        Refused: where a field is not acceptable, or name or address are taken.
    """
    user = User(username=username, email=User.objects.normalize_email(email))
    errors: dict[str, list[str]] = {}
    try:
        validate_password(password, user)
    except ValidationError as error:
        errors["password"] = list(error.messages)
    user.set_password(password)
    try:
        user.full_clean()
    except ValidationError as error:
        errors |= _by_field(error)
    if errors:
        raise Refused(errors)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:  # another request took the name or the address in between
        raise Refused({"username": ["The name or the e-mail address is taken."]}) from None
    return user


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    """The sentences by field; a constraint's belong to the field that its code names."""
    found: dict[str, list[str]] = {}
    for field, problems in error.error_dict.items():
        for problem in problems:
            sentences = found.setdefault(str(problem.code) if field == NON_FIELD_ERRORS else field, [])
            sentences += [text for text in problem.messages if text not in sentences]
    return found
