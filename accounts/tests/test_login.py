"""POST /auth/login."""

from collections.abc import Callable

import pytest

from accounts.models import User
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db

PHRASE = "a long enough phrase"


def login(asgi: AsgiClient, username: str = "mara", password: str = PHRASE) -> Answer:
    return asgi.post("/auth/login", json={"username": username, "password": password})


def test_it_gives_tokens_that_open_me(asgi: AsgiClient, member: User) -> None:
    answer = login(asgi)

    assert answer.status == 200
    assert answer.json["expires_in"] == 600
    me = asgi.get("/auth/me", headers={"Authorization": f"Bearer {answer.json['access']}"})
    assert me.status == 200
    assert me.json["username"] == "mara"


def test_it_notes_when(asgi: AsgiClient, member: User) -> None:
    login(asgi)

    member.refresh_from_db()
    assert member.last_login is not None
    assert member.refresh_families.count() == 1


@pytest.mark.parametrize("identifier", ["mara", "MARA", "mara@example.org", "Mara@EXAMPLE.org", " mara "])
def test_it_takes_a_name_or_an_address_in_any_case(asgi: AsgiClient, member: User, identifier: str) -> None:
    assert login(asgi, identifier).status == 200


def test_it_tells_names_apart_that_only_capitals_confuse(asgi: AsgiClient, member: User) -> None:
    """The capital of a dotless ı is I, as that of i is: a look-alike must not stand in the other's way."""
    for name in ("vıvi", "vivi"):
        User.objects.create_user(name, f"{name.encode().hex()}@example.org", f"the phrase of {name}")

    assert login(asgi, "vivi", "the phrase of vivi").status == 200
    assert login(asgi, "vıvi", "the phrase of vıvi").status == 200
    assert login(asgi, "vivi", "the phrase of vıvi").status == 401


def test_it_takes_a_name_as_it_was_typed_at_registration(asgi: AsgiClient) -> None:
    """Names are stored in one Unicode form (NFKC), so they must be looked for in the same."""
    asgi.post("/auth/register", json={"username": "ﬁona", "email": "fiona@example.org", "password": PHRASE})

    assert login(asgi, "ﬁona").status == 200
    assert login(asgi, "fiona").status == 200


def test_it_counts_a_success_once(asgi: AsgiClient, member: User, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total", type="login", success="true")
    all_before = metric("auth_attempts_total")

    login(asgi)

    assert metric("auth_attempts_total", type="login", success="true") == before + 1
    assert metric("auth_attempts_total") == all_before + 1


def test_it_counts_a_failure_once(asgi: AsgiClient, member: User, metric: Callable[..., float]) -> None:
    attempts = metric("auth_attempts_total", type="login", success="false")
    errors = metric("http_requests_errors_total", route="/auth/login")

    answer = login(asgi, password="wrong")

    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert metric("auth_attempts_total", type="login", success="false") == attempts + 1
    assert metric("http_requests_errors_total", route="/auth/login") == errors + 1


def test_it_counts_a_body_it_cannot_read_once(asgi: AsgiClient, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total", type="login", success="false")

    answer = asgi.post("/auth/login", body=b"{", headers={"Content-Type": "application/json"})

    assert answer.status == 400
    assert metric("auth_attempts_total", type="login", success="false") == before + 1


def test_it_does_not_tell_which_accounts_there_are(asgi: AsgiClient, member: User) -> None:
    User.objects.create_user("otto", "otto@example.org", PHRASE, is_active=False)

    answers = [login(asgi, "mara", "wrong"), login(asgi, "nobody"), login(asgi, "nobody@example.org")]
    answers += [login(asgi, "otto"), login(asgi, "otto", "wrong")]

    assert {answer.status for answer in answers} == {401}
    assert len({_without_request_id(answer) for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="api"'}


def test_it_refuses_a_deactivated_user(asgi: AsgiClient, member: User) -> None:
    User.objects.update(is_active=False)

    assert login(asgi).status == 401
    assert not member.refresh_families.exists()


def test_it_refuses_a_user_without_a_password(asgi: AsgiClient, member: User) -> None:
    member.set_unusable_password()
    member.save()

    assert login(asgi, password=member.password).status == 401


def _without_request_id(answer: Answer) -> str:
    return str({name: value for name, value in answer.json.items() if name != "request_id"})
