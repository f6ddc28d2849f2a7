"""From a first visit to being signed in, and out again."""

import pytest

from e2e.browser.site import PASSWORD, Account

pytestmark = pytest.mark.needs("chromium")


def test_signing_up_verifying_the_address_and_signing_in_by_name_and_by_address(visit, site, javascript) -> None:
    visitor = visit(javascript=javascript)
    new = Account("mara" if javascript else "nora")
    visitor.opens("/")
    visitor.presses("Create account")
    visitor.fills(username=new.name, email=new.email, password1=PASSWORD)
    visitor.presses("Create account")
    visitor.page.wait_for_url("/")
    assert visitor.is_signed_in()
    visitor.reads(new.name)

    visitor.opens(site.link_to(new.email, "/accounts/confirm-email/"))
    visitor.presses("Confirm")
    visitor.opens("/accounts/email/")
    visitor.reads("verified")

    for name in (new.name, new.email, new.name.upper()):
        visitor.signs_out()
        visitor.signs_in(new, by=name)
        assert visitor.is_signed_in()


def test_what_is_wrong_with_a_form_stands_beside_the_field(visit, member, javascript) -> None:
    visitor = visit(javascript=javascript)
    visitor.opens("/accounts/signup/")
    visitor.fills(username=member.name, email="someone@example.org", password1="password")
    visitor.presses("Create account")
    page = visitor.page
    for name, text in {"username": "already exists", "password1": "common"}.items():
        field = page.locator(f"[name={name}]")
        assert field.get_attribute("aria-invalid") == "true"
        described = (field.get_attribute("aria-describedby") or "").split()
        assert any(text in page.locator(f"[id='{identifier}']").inner_text() for identifier in described)
    assert page.locator("[name=email]").input_value() == "someone@example.org"
    assert page.locator("[name=email]").get_attribute("aria-invalid") is None


def test_a_wrong_password_is_told_without_telling_whether_there_is_an_account(visit, member) -> None:
    answers = []
    for name in (member.name, "nobody-at-all"):
        visitor = visit()
        visitor.signs_in(Account(name, "not the password"))
        answers.append(visitor.page.locator(".errorlist").inner_text())
        assert not visitor.is_signed_in()
    assert answers[0] == answers[1] == "The name or the password is wrong."


def test_signing_in_by_a_code_that_comes_by_mail(visit, site, member, javascript) -> None:
    visitor = visit(javascript=javascript)
    visitor.opens("/accounts/login/code/")
    visitor.fills(email=member.email)
    visitor.page.locator("main form button[type=submit]").first.click()
    visitor.page.wait_for_url("/accounts/login/code/confirm/")
    visitor.fills(code=site.code_to(member.email))
    visitor.presses("Confirm")
    visitor.page.wait_for_url("/")
    assert visitor.is_signed_in()
