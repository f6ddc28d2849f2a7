"""An address belongs to nobody until it is verified: whoever registers another's address gains nothing by it."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress

from accounts.models import User
from accounts.tests.browser import PHRASE, Browser

pytestmark = pytest.mark.django_db

VICTIM = "victim@example.org"


@pytest.fixture
def planted(db: None) -> User:
    """An account that somebody opened under another's address, with a password of their own."""
    browser = Browser(address="198.51.100.9")
    browser.send("/accounts/signup/", username="attacker", email=VICTIM, password1=PHRASE)
    return User.objects.get(username="attacker")


def test_a_code_by_mail_opens_no_account_that_never_verified_the_address(planted: User, mailoutbox: list[Any]) -> None:
    mailoutbox.clear()

    Browser().send("/accounts/login/code/", email=VICTIM)

    assert not [mail for mail in mailoutbox if "code" in mail.subject.lower() and "attacker" in mail.body]
    assert not EmailAddress.objects.get(user=planted).verified


def test_a_reset_goes_to_the_owner_of_the_address_alone(planted: User, mailoutbox: list[Any]) -> None:
    owner = User.objects.create_user("owner", VICTIM, PHRASE)
    EmailAddress.objects.create(user=owner, email=VICTIM, primary=True, verified=True)
    mailoutbox.clear()

    Browser().send("/accounts/password/reset/", email=VICTIM)

    assert len(mailoutbox) == 1
    assert "attacker" not in mailoutbox[0].body


def test_a_reset_opens_no_account_that_never_verified_the_address(planted: User, mailoutbox: list[Any]) -> None:
    mailoutbox.clear()

    Browser().send("/accounts/password/reset/", email=VICTIM)

    assert not [mail for mail in mailoutbox if "/accounts/password/reset/key/" in mail.body]


def test_the_present_password_cannot_be_guessed_without_limit(member: User) -> None:
    browser = Browser()
    browser.sign_in()
    fields = {"password1": "another long phrase", "password2": "another long phrase"}

    guesses = [browser.send("/accounts/password/change/", oldpassword=f"guess {n}", **fields) for n in range(11)]

    assert [answer.status_code for answer in guesses[:5]] == [200] * 5
    assert guesses[-1].status_code == 429
    member.refresh_from_db()
    assert member.check_password(PHRASE)


def test_the_admin_has_no_page_of_its_own_for_ones_password(staff: User) -> None:
    browser = Browser()
    browser.force_login(staff)

    answer = browser.get("/admin/password_change/")

    assert (answer.status_code, answer["Location"]) == (302, "/accounts/password/change/")
