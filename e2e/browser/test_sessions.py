"""Seeing where one is signed in, and ending it."""

import httpx
import pytest

pytestmark = pytest.mark.needs("chromium")


def test_the_list_shows_every_session_and_signs_out_everywhere_else(visit, member, javascript) -> None:
    here, there = visit(javascript=javascript), visit()
    here.signs_in(member)
    there.signs_in(member)
    here.opens("/accounts/sessions/")
    assert here.page.locator("main tbody tr").count() == 2
    here.reads("this one")
    here.reads("Chrome on Linux")

    here.presses("Sign out everywhere else")
    here.confirms_who_it_is(member)
    if here.page.locator("main tbody tr").count() > 1:  # asked for the password, which forgot the form
        here.presses("Sign out everywhere else")
    here.reads("Every other session has ended.")
    assert here.page.locator("main tbody tr").count() == 1
    there.opens("/accounts/sessions/")
    assert not there.is_signed_in()
    assert here.is_signed_in()


def test_signing_out_everywhere_ends_browsers_and_api_clients(visit, site, member) -> None:
    visitor = visit()
    visitor.signs_in(member)
    credentials = {"username": member.name, "password": member.password}
    tokens = httpx.post(f"{site.server.url}/auth/login", json=credentials, trust_env=False).json()
    headers = {"Authorization": f"Bearer {tokens['access']}"}
    visitor.opens("/accounts/sessions/")
    visitor.reads("A client of the API")
    visitor.presses("Sign out everywhere$")
    visitor.confirms_who_it_is(member)
    if "/accounts/sessions/" in visitor.page.url:
        visitor.presses("Sign out everywhere$")
    visitor.reads("You are signed out everywhere.")
    assert not visitor.is_signed_in()
    assert httpx.get(f"{site.server.url}/auth/me", headers=headers, trust_env=False).status_code == 401


def test_one_session_is_ended_and_the_others_stay(visit, member) -> None:
    here, there = visit(), visit()
    there.signs_in(member)
    here.signs_in(member)
    here.opens("/accounts/sessions/")
    here.presses("End")
    here.confirms_who_it_is(member)
    if here.page.locator("main tbody tr").count() > 1:
        here.presses("End")
    here.reads("The session has ended.")
    there.opens("/")
    assert not there.is_signed_in()
    assert here.is_signed_in()
