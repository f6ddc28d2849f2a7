"""PUT /auth/password and POST /auth/logout/all."""

import pytest
from django.core.mail import EmailMessage

from accounts import signals, tokens
from accounts.models import User
from accounts.tests.browser import PHRASE, Browser
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db

NEW = "quite another phrase"


def bearer(pair: tokens.TokenPair) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair.access}"}


def change(asgi: AsgiClient, pair: tokens.TokenPair, current: str = PHRASE, new: str = NEW) -> Answer:
    body = {"current_password": current, "new_password": new}
    return asgi.request("PUT", "/auth/password", json=body, headers=bearer(pair))


def test_it_changes_the_password_and_ends_every_other_sign_in(asgi: AsgiClient, member: User) -> None:
    pair, other, browser = tokens.issue(member), tokens.issue(member), Browser()
    browser.sign_in()

    answer = change(asgi, pair)

    assert answer.status == 200
    assert asgi.get("/auth/me", headers={"Authorization": f"Bearer {answer.json['access']}"}).status == 200
    assert [asgi.get("/auth/me", headers=bearer(old)).status for old in (pair, other)] == [401, 401]
    assert asgi.post("/auth/refresh", json={"refresh": other.refresh}).status == 401
    assert not browser.signed_in
    assert asgi.post("/auth/login", json={"username": "mara", "password": NEW}).status == 200


def test_a_mail_tells_of_it_as_it_does_where_a_page_changes_it(
    asgi: AsgiClient, member: User, mailoutbox: list[EmailMessage]
) -> None:
    change(asgi, tokens.issue(member), current="wrong")
    assert mailoutbox == []

    change(asgi, tokens.issue(member))

    (mail,) = mailoutbox
    assert mail.to == ["mara@example.org"]
    assert "password has been changed" in mail.body


def test_it_wants_the_current_password(asgi: AsgiClient, member: User) -> None:
    answer = change(asgi, tokens.issue(member), current="wrong")

    assert answer.status == 400
    assert list(answer.json["errors"]) == ["current_password"]
    assert asgi.post("/auth/login", json={"username": "mara", "password": PHRASE}).status == 200


def test_guesses_at_the_current_password_are_limited(asgi: AsgiClient, member: User) -> None:
    pair = tokens.issue(member)

    assert [change(asgi, pair, current="wrong").status for _ in range(11)] == [400] * 10 + [429]


@pytest.mark.parametrize("new", ["short", "mara@example.org", "password1234", "1234567890123", "a" * 1024 + "b"])
def test_it_refuses_a_bad_password(asgi: AsgiClient, member: User, new: str) -> None:
    answer = change(asgi, tokens.issue(member), new=new)

    assert answer.status == 400
    assert list(answer.json["errors"]) == ["new_password"]


def test_it_wants_a_token(asgi: AsgiClient) -> None:
    assert asgi.request("PUT", "/auth/password", json={}).status == 401


def test_signing_out_everywhere_ends_browsers_and_clients(asgi: AsgiClient, member: User) -> None:
    pair, other, browser = tokens.issue(member), tokens.issue(member), Browser()
    browser.sign_in()
    heard: list[tuple[int, str]] = []

    def hear(user_id: int, reason: str, **_: object) -> None:
        heard.append((user_id, reason))

    signals.access_changed.connect(hear)
    try:
        answer = asgi.post("/auth/logout/all", headers=bearer(pair))
    finally:
        signals.access_changed.disconnect(hear)

    assert answer.status == 204
    assert [asgi.get("/auth/me", headers=bearer(old)).status for old in (pair, other)] == [401, 401]
    assert not browser.signed_in
    assert heard == [(member.pk, "signed_out")]


def test_signing_out_everywhere_ends_nobody_elses_sessions(asgi: AsgiClient, member: User, staff: User) -> None:
    theirs = tokens.issue(staff)

    asgi.post("/auth/logout/all", headers=bearer(tokens.issue(member)))

    assert asgi.get("/auth/me", headers=bearer(theirs)).status == 200
