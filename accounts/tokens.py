"""Access and refresh tokens: families, rotation, and the end of both."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from observability import security
from observability.problems import Unauthorized

from . import signals
from .models import RefreshFamily, User
from .signatures import AccessToken, RefreshToken

FAMILY = "family"
ACCESS_LIFETIME: timedelta = api_settings.ACCESS_TOKEN_LIFETIME
REFRESH_LIFETIME: timedelta = api_settings.REFRESH_TOKEN_LIFETIME


class InvalidToken(Unauthorized):
    """The token is malformed, expired, of another type, revoked, or of someone who may no longer sign in."""

    def __init__(self) -> None:
        super().__init__("The token is not valid. Sign in again.")


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a client gets at sign-in and at each refresh. `expires_in`: seconds until the access token ends."""

    access: str
    refresh: str
    expires_in: int


def issue(user: User) -> TokenPair:
    """Begin a family for `user` and give its first pair."""
    now = timezone.now()
    family = RefreshFamily(
        user=user,
        current_jti=uuid4().hex,
        created_at=now,
        updated_at=now,
        expires_at=now + REFRESH_LIFETIME,
    )
    family.save(force_insert=True)
    return _pair(family, user, family.current_jti)


def rotate(raw: str) -> TokenPair:
    """Exchange a refresh token for a new pair; the old token is worth nothing from then on.

    Raises:
        InvalidToken: also where the token was used before, which ends its whole family.
    """
    token, family = _verified(raw)
    now = timezone.now()
    jti = uuid4().hex
    expires_at = now + REFRESH_LIFETIME
    rotated = (
        RefreshFamily.objects.live(now)
        .filter(pk=family.pk, current_jti=token["jti"])
        .update(current_jti=jti, updated_at=now, expires_at=expires_at)
    )
    if not rotated:
        if RefreshFamily.objects.live(now).filter(pk=family.pk).exclude(current_jti=token["jti"]).exists():
            _revoke(family)
            security.record(type="token_reuse")
        raise InvalidToken
    return _pair(family, family.user, jti)


def revoke(raw: str) -> None:
    """End the family of a refresh token; harmless where it has ended already.

    Raises:
        InvalidToken: where it is no refresh token of ours.
    """
    _, family = _verified(raw)
    _revoke(family)


def revoke_one(user: User, family_id: str) -> bool:
    """End one family of `user`'s; whether there was such a live one."""
    try:
        pk = UUID(family_id)
    except ValueError:
        return False
    family = RefreshFamily.objects.live(timezone.now()).filter(pk=pk, user=user).first()
    if family is None:
        return False
    _revoke(family)
    return True


def revoke_all(families: QuerySet[RefreshFamily]) -> int:
    """End every one of `families` that has not ended; how many that were."""
    ended = list(families.filter(revoked_at=None))
    for family in ended:
        _revoke(family)
    return len(ended)


def user_of(token: AccessToken) -> User:
    """The active user whom a verified access token belongs to: one query, over the family that it names.

    Raises:
        InvalidToken: where the family has ended, is another user's, or the password has changed since.
    """
    try:
        family_id = UUID(str(token.get(FAMILY)))
    except ValueError:
        raise InvalidToken from None
    family = RefreshFamily.objects.live(timezone.now()).select_related("user").filter(pk=family_id).first()
    if family is None or not _is_of(token, family):
        raise InvalidToken
    return family.user


def _revoke(family: RefreshFamily) -> None:
    now = timezone.now()
    if RefreshFamily.objects.filter(pk=family.pk, revoked_at=None).update(revoked_at=now, updated_at=now):
        signals.access_changed.send(sender=RefreshFamily, user_id=family.user_id, reason="signed_out")


def _verified(raw: str) -> tuple[RefreshToken, RefreshFamily]:
    """The token, and the family with its user, both checked but for whether the token is the current one."""
    try:
        token = RefreshToken(raw)  # type: ignore[arg-type]
        UUID(str(token.get("jti")))  # only what looks like ours may reach the database
        family = RefreshFamily.objects.select_related("user").get(pk=UUID(str(token.get(FAMILY))))
    except (TokenError, ValueError, OverflowError, RefreshFamily.DoesNotExist):
        security.record(type="invalid_token")
        raise InvalidToken from None
    if not _is_of(token, family):
        security.record(type="invalid_token")
        raise InvalidToken
    return token, family


def _is_of(token: Token, family: RefreshFamily) -> bool:
    """Whether a token is of the family's user, by the password that the user has now."""
    fingerprint = get_md5_hash_password(family.user.password)
    return str(token.get("user_id")) == str(family.user_id) and token.get("hash_password") == fingerprint


def _pair(family: RefreshFamily, user: User, jti: str) -> TokenPair:
    refresh = RefreshToken.for_user(user)
    refresh["jti"] = jti
    refresh[FAMILY] = str(family.pk)
    seconds = int(ACCESS_LIFETIME.total_seconds())
    return TokenPair(access=str(refresh.access_token), refresh=str(refresh), expires_in=seconds)
