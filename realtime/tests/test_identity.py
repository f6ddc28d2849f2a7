"""Who is at a connection, and whether that still holds."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from accounts import sessions, sign_in, tokens
from accounts.models import RefreshFamily, User
from realtime import identity
from realtime.models import AccessChange

BACKEND = "accounts.backends.NameOrEmailBackend"


def signed_in(user: User) -> str:
    """The key of a new browser session."""
    browser = Client()
    browser.force_login(user, backend=BACKEND)
    return browser.cookies["sessionid"].value


def test_a_session_is_its_users(member: User) -> None:
    key = signed_in(member)
    found = identity.by_session(key)
    assert found is not None
    assert (found.user, found.session_key, found.family_id) == (member, key, None)


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x", "no-such-session-0123456789abcdef", "\x00", "é" * 40])
def test_a_key_that_opens_nothing_is_nobodys(key: str) -> None:
    assert identity.by_session(key) is None


def test_a_session_past_its_absolute_age_is_nobodys(member: User, settings: Any) -> None:
    key = signed_in(member)
    found = identity.by_session(key)
    assert found is not None
    if found.ends_at is not None:
        assert found.ends_at > time.time()
    settings.SESSION_ABSOLUTE_SECONDS = -1
    store = identity.SessionStore(key)
    store[sessions.SIGNED_IN_AT] = time.time() - 10
    store.save()
    assert identity.by_session(key) is None


def test_a_token_is_its_users(member: User) -> None:
    pair = tokens.issue(member)
    found = identity.by_token(pair.access)
    assert found is not None
    assert (found.user, found.session_key) == (member, "")
    assert RefreshFamily.objects.get().pk == found.family_id


def test_what_is_no_good_access_token_is_nobodys(member: User) -> None:
    pair = tokens.issue(member)
    expired = AccessToken(pair.access)  # type: ignore[arg-type]
    expired.set_exp(from_time=timezone.now() - timedelta(days=2), lifetime=timedelta(days=1))
    bad = ["", "x", "a.b.c", pair.refresh, pair.access[:-2], pair.access + "x", str(expired), "\x00", "é" * 5000]
    assert [identity.by_token(raw) for raw in bad] == [None] * len(bad)


@pytest.mark.parametrize("end", ["revoked", "everywhere", "password", "inactive", "deleted"])
def test_a_token_that_was_good_is_not_for_ever(member: User, end: str) -> None:
    pair = tokens.issue(member)
    before = identity.by_token(pair.access)
    assert before is not None
    if end == "revoked":
        sign_in.sign_out(token=pair.refresh)
    elif end == "everywhere":
        sessions.end_all(member, reason="signed_out")
    elif end == "password":
        member.set_password("another long phrase")
        member.save()
        assert identity.by_token(pair.access) is None
        return
    elif end == "inactive":
        member.is_active = False
        member.save()
    else:
        member.delete()
    assert identity.by_token(pair.access) is None
    assert identity.current([before]) == {}


def test_an_identity_is_current_while_its_proof_is(member: User, staff: User) -> None:
    by_cookie, by_token = identity.by_session(signed_in(member)), identity.by_token(tokens.issue(staff).access)
    assert by_cookie is not None
    assert by_token is not None
    assert identity.current([by_cookie, by_token]) == {by_cookie: member, by_token: staff}
    identity.Session.objects.filter(session_key=by_cookie.session_key).delete()
    assert identity.current([by_cookie, by_token]) == {by_token: staff}


def test_many_identities_cost_three_queries(member: User, django_assert_num_queries: Any) -> None:
    found = [identity.by_token(tokens.issue(member).access) for _ in range(19)]
    found.append(identity.by_session(signed_in(member)))
    with django_assert_num_queries(3):
        assert len(identity.current([one for one in found if one])) == 20


def test_the_end_of_a_tokens_family_leaves_word(member: User) -> None:
    pair = tokens.issue(member)
    AccessChange.objects.all().delete()
    sign_in.sign_out(token=pair.refresh)
    assert list(AccessChange.objects.values_list("user_id", "session_digest")) == [(member.pk, "")]


def test_the_end_of_one_of_many_families_leaves_word_once(member: User) -> None:
    tokens.issue(member)
    family = RefreshFamily.objects.get()
    AccessChange.objects.all().delete()
    assert tokens.revoke_one(member, str(family.pk))
    assert not tokens.revoke_one(member, str(family.pk))
    assert AccessChange.objects.count() == 1


def test_a_digest_tells_sessions_apart_and_opens_none(member: User) -> None:
    first, second = signed_in(member), signed_in(member)
    assert identity.digest(first) != identity.digest(second)
    assert identity.by_session(identity.digest(first)) is None
