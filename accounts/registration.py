"""Opening accounts, and what a name, an address and a password must be."""

from allauth.account.internal.flows.email_verification import send_verification_email_to_address
from allauth.account.models import EmailAddress
from allauth.account.signals import email_changed
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from observability.problems import Problem

from . import sessions
from .models import User


class Refused(Problem):
    """The request cannot be granted; `errors` says why, field by field."""

    def __init__(self, errors: dict[str, list[str]], detail: str = "The request is not valid.") -> None:
        super().__init__(detail, errors=errors)


def create_account(*, username: str, email: str, password: str) -> User:
    """Open an active account, with an address that is yet to be verified.

    Whether someone else has that address already is not told: until it is verified, it is nobody's.

    Raises:
        Refused: where a field is not acceptable, or the name is taken.
    """
    user = User(username=username, email=email)
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
        raise Refused(errors, "The account could not be opened.")
    with transaction.atomic():
        save_new(user)
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)
    return user


def save_new(user: User) -> None:
    """Store a new account; its address is the caller's to store.

    Raises:
        Refused: where another request took the name in between.
    """
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise Refused({"username": ["A user with that name already exists."]}, "The name is taken.") from None


def ask_to_verify(request: HttpRequest, user: User) -> None:
    """Mail a link to the account's address, if one has not just been mailed."""
    address = EmailAddress.objects.filter(user=user, primary=True).first()
    if address and not address.verified:
        send_verification_email_to_address(request, address, signup=True)


def replace_address(*, request: HttpRequest, user: User) -> None:
    """Make `user.email`, as somebody has changed it, their only address, unverified; end their sign-ins; mail a link.

    Whoever reads the mails to a former address can reset no password by it any more.
    """
    with transaction.atomic():
        known = EmailAddress.objects.filter(user=user)
        former = known.filter(primary=True).first()
        known.delete()
        address = EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)
        sessions.end_all(user, reason="signed_out", keep=request if user.pk == request.user.pk else None)
        email_changed.send(
            sender=EmailAddress, request=request, user=user, from_email_address=former, to_email_address=address
        )
    address.send_confirmation(request)


def has_verified_address(user: User) -> bool:
    """Whether any address of theirs is verified: without one, a forgotten password is not reset by mail."""
    return EmailAddress.objects.filter(user=user, verified=True).exists()


def set_password(user: User, password: str, *, field: str = "password") -> None:
    """Change a password.

    Raises:
        Refused: where the new one is not acceptable.
    """
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Refused({field: list(error.messages)}) from None
    user.set_password(password)
    user.save(update_fields=["password", "updated_at"])


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    """The sentences by field; a constraint's belong to the field that its code names."""
    found: dict[str, list[str]] = {}
    for field, problems in error.error_dict.items():
        for problem in problems:
            sentences = found.setdefault(str(problem.code) if field == NON_FIELD_ERRORS else field, [])
            sentences += [text for text in problem.messages if text not in sentences]
    return found
