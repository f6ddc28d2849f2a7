"""A password forgotten, and a password changed."""

import dataclasses

import pytest

pytestmark = pytest.mark.needs("chromium")
NEW = "another long enough phrase 43"


def test_a_forgotten_password_is_set_anew_by_a_link_that_works_once(visit, site, member, javascript) -> None:
    elsewhere, visitor = visit(), visit(javascript=javascript)
    elsewhere.signs_in(member)
    visitor.opens("/accounts/login/")
    visitor.page.get_by_role("link", name="Forgot your password?").click()
    visitor.fills(email=member.email)
    visitor.page.locator("main form button[type=submit]").first.click()
    visitor.page.wait_for_url("/accounts/password/reset/done/")
    link = site.link_to(member.email, "/accounts/password/reset/key/")
    visitor.opens(link)
    visitor.fills(password1=NEW, password2=NEW)
    visitor.page.locator("main form button[type=submit]").first.click()
    visitor.page.wait_for_url("/accounts/password/reset/key/done/")

    visitor.opens(link)
    assert visitor.page.locator("[name=password1]").count() == 0
    elsewhere.opens("/")
    assert not elsewhere.is_signed_in()
    visitor.signs_in(member)
    visitor.reads("The name or the password is wrong.")
    visitor.signs_in(dataclasses.replace(member, password=NEW))
    assert visitor.is_signed_in()


def test_asking_for_a_link_says_the_same_whether_or_not_there_is_an_account(visit, member) -> None:
    pages = []
    for address in (member.email, "nobody-at-all@example.org"):
        visitor = visit()
        visitor.opens("/accounts/password/reset/")
        visitor.fills(email=address)
        visitor.page.locator("main form button[type=submit]").first.click()
        visitor.page.wait_for_url("/accounts/password/reset/done/")
        pages.append(visitor.page.locator("main").inner_text())
    assert pages[0] == pages[1]


def test_a_changed_password_ends_the_other_sessions_and_keeps_this_one(visit, member, javascript) -> None:
    elsewhere, visitor = visit(), visit(javascript=javascript)
    elsewhere.signs_in(member)
    visitor.signs_in(member)
    visitor.opens("/accounts/password/change/")
    visitor.confirms_who_it_is(member)
    fields = {"oldpassword": member.password, "password1": NEW, "password2": NEW}
    visitor.fills(**{name: value for name, value in fields.items() if visitor.page.locator(f"[name={name}]").count()})
    visitor.page.locator("main form button[type=submit]").first.click()
    visitor.reads("Password successfully changed.")
    assert visitor.is_signed_in()
    elsewhere.opens("/")
    assert not elsewhere.is_signed_in()
