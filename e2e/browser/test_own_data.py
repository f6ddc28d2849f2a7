"""Taking one's data along, and having it deleted."""

import json

import pytest

pytestmark = pytest.mark.needs("chromium")


def test_the_export_is_a_json_file_with_what_is_kept_and_no_secret(visit, member, javascript) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    visitor.opens("/accounts/data/")
    with visitor.page.expect_download() as download:
        visitor.presses("Download my data")
    text = download.value.path().read_text()
    assert member.name in json.dumps(json.loads(text))
    assert member.email in text
    assert "argon2" not in text


def test_an_account_is_deleted_after_a_time_in_which_it_can_be_had_back(visit, member, javascript) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    visitor.opens("/accounts/data/delete/")
    visitor.confirms_who_it_is(member)
    visitor.page.get_by_label("I understand").check()
    visitor.presses("Delete my account")
    visitor.reads("Your account will be deleted")
    assert not visitor.is_signed_in()

    visitor.signs_in(member)
    visitor.opens("/accounts/data/")
    visitor.presses("Keep my account")
    visitor.reads("Your account stays.")
    assert visitor.is_signed_in()
