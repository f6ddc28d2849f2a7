"""The pages, story by story, as a browser without JavaScript walks them."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.utils import timezone

from accounts import deletion, tokens
from accounts.models import RefreshFamily, User
from accounts.tests.browser import PHRASE, Browser, add_authenticator, code_of, text_of
from bambisleep.tests.client import AsgiClient

pytestmark = pytest.mark.django_db

Metric = Callable[..., float]


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def attempts(metric: Metric) -> Callable[[], dict[str, float]]:
    """The number of attempts by type and success, since the test began."""

    def now() -> dict[str, float]:
        return {
            f"{kind} {success}": metric("auth_attempts_total", type=kind, success=success)
            for kind in ("login", "register")
            for success in ("true", "false")
        }

    before = now()
    return lambda: {name: value - before[name] for name, value in now().items() if value != before[name]}


def test_signing_up_opens_an_account_and_signs_in(
    browser: Browser, mailoutbox: list[Any], attempts: Callable[[], dict[str, float]]
) -> None:
    answer = browser.send("/accounts/signup/", username="nora", email="Nora@example.org", password1=PHRASE)

    assert answer.status_code == 200
    assert browser.signed_in
    assert mailoutbox[0].to == ["nora@example.org"]
    assert attempts() == {"register true": 1}


def test_signing_up_with_a_name_that_is_taken_says_so(
    browser: Browser, member: User, attempts: Callable[[], dict[str, float]]
) -> None:
    answer = browser.send("/accounts/signup/", username="MARA", email="nora@example.org", password1=PHRASE)

    assert "already exists" in text_of(answer)
    assert User.objects.count() == 1
    assert attempts() == {"register false": 1}


def test_signing_up_does_not_tell_whether_an_address_is_taken(member: User, mailoutbox: list[Any]) -> None:
    taken, free = Browser(), Browser()

    first = taken.send("/accounts/signup/", username="nora", email="mara@example.org", password1=PHRASE)
    second = free.send("/accounts/signup/", username="nina", email="nina@example.org", password1=PHRASE)

    assert first.redirect_chain == second.redirect_chain
    assert _alike(text_of(first)) == _alike(text_of(second))


@pytest.mark.parametrize("password", ["short", "password1234", "iloveyou1234", "12345678901234", "nora@example.org"])
def test_signing_up_refuses_a_password_that_attackers_try_first(browser: Browser, password: str) -> None:
    browser.send("/accounts/signup/", username="nora", email="nora@example.org", password1=password)

    assert not User.objects.exists()


def test_the_mailed_link_verifies_the_address(browser: Browser, mailoutbox: list[Any]) -> None:
    browser.send("/accounts/signup/", username="nora", email="nora@example.org", password1=PHRASE)

    browser.send(_link(mailoutbox[0].body))

    assert EmailAddress.objects.get(email="nora@example.org").verified
    assert Browser().sign_in("nora@example.org").context["user"].username == "nora"


@pytest.mark.parametrize("login", ["mara", " MARA ", "mara@example.org", "Mara@Example.org"])
def test_signing_in_by_name_or_address(
    browser: Browser, member: User, login: str, attempts: Callable[[], dict[str, float]]
) -> None:
    browser.sign_in(login)

    assert browser.signed_in
    assert attempts() == {"login true": 1}


def test_signing_in_gives_the_session_another_id(browser: Browser, member: User) -> None:
    browser.get("/accounts/login/")
    before = browser.session.session_key

    browser.sign_in()

    assert browser.session.session_key != before


def test_a_sessions_id_is_too_long_to_be_guessed(browser: Browser, member: User) -> None:
    browser.sign_in()

    assert re.fullmatch(r"[a-z0-9]{32}", browser.cookies["sessionid"].value)  # 32 of 36 signs: 165 bits


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/accounts/login/", ["current-password"]),
        ("/accounts/signup/", ["new-password"]),
        ("/accounts/password/change/", ["current-password", "new-password", "new-password"]),
        ("/accounts/reauthenticate/", ["current-password"]),
    ],
)
def test_passwords_are_masked_and_left_to_password_managers(
    browser: Browser, member: User, path: str, words: list[str]
) -> None:
    if path not in {"/accounts/login/", "/accounts/signup/"}:
        browser.sign_in()

    fields = [field for field in re.findall(r"<input[^>]*>", text_of(browser.get(path))) if "password" in field]

    assert [re.findall(r'autocomplete="([\w-]+)"', field) for field in fields] == [[word] for word in words]
    for field in fields:
        assert 'type="password"' in field
        assert "onpaste" not in field
        assert "maxlength" not in field or int(re.findall(r'maxlength="(\d+)"', field)[0]) >= 64


@pytest.mark.parametrize(
    ("login", "password"),
    [("mara", "wrong"), ("nobody", PHRASE), ("nobody@example.org", PHRASE), ("otto", PHRASE), ("otto", "wrong")],
)
def test_a_failed_sign_in_counts_once_and_does_not_say_why(
    browser: Browser, member: User, login: str, password: str, attempts: Callable[[], dict[str, float]]
) -> None:
    User.objects.create_user("otto", "otto@example.org", PHRASE, is_active=False)

    answer = browser.sign_in(login, password)

    assert answer.status_code == 200
    assert "The name or the password is wrong." in text_of(answer)
    assert not browser.signed_in
    assert attempts() == {"login false": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"login": "mara"},
        {"password": PHRASE},
        {"login": "x" * 300, "password": "x"},
        {"login": "a\0", "password": "x"},
    ],
)
def test_a_form_that_is_not_filled_in_counts_as_one_failure(
    browser: Browser, member: User, fields: dict[str, str], attempts: Callable[[], dict[str, float]]
) -> None:
    assert browser.send("/accounts/login/", **fields).status_code == 200
    assert attempts() == {"login false": 1}


def test_the_admin_has_no_door_of_its_own(browser: Browser, staff: User) -> None:
    answer = browser.get("/admin/login/?next=/admin/", follow=True)

    assert answer.redirect_chain[-1][0].startswith("/accounts/login/")
    browser.sign_in("sam")
    assert browser.get("/admin/").status_code == 200


def test_signing_out_ends_the_session(browser: Browser, member: User) -> None:
    browser.sign_in()

    browser.send("/accounts/logout/")

    assert not browser.signed_in


def test_a_reset_password_opens_the_account_and_ends_every_session(
    browser: Browser, member: User, mailoutbox: list[Any]
) -> None:
    elsewhere, pair = Browser(), tokens.issue(member)
    elsewhere.sign_in()

    browser.send("/accounts/password/reset/", email="mara@example.org")
    answer = browser.send(_link(mailoutbox[0].body), password1="quite another phrase", password2="quite another phrase")

    assert answer.status_code == 200
    assert not elsewhere.signed_in
    assert RefreshFamily.objects.filter(revoked_at=None).count() == 0
    assert AsgiClient().post("/auth/refresh", json={"refresh": pair.refresh}).status == 401
    assert Browser().sign_in(password="quite another phrase").context["user"].username == "mara"


def test_a_reset_link_works_once(browser: Browser, member: User, mailoutbox: list[Any]) -> None:
    browser.send("/accounts/password/reset/", email="mara@example.org")
    link = _link(mailoutbox[0].body)
    browser.send(link, password1="quite another phrase", password2="quite another phrase")

    again = Browser().get(link, follow=True)

    assert 'name="password1"' not in text_of(again)


def test_asking_for_a_reset_does_not_tell_whether_there_is_an_account(member: User, mailoutbox: list[Any]) -> None:
    known = Browser().send("/accounts/password/reset/", email="mara@example.org")
    unknown = Browser().send("/accounts/password/reset/", email="nobody@example.org")

    assert _alike(text_of(known)) == _alike(text_of(unknown))
    assert known.redirect_chain == unknown.redirect_chain
    assert [mail.to for mail in mailoutbox] == [["mara@example.org"], ["nobody@example.org"]]


def test_a_changed_password_ends_every_other_session(browser: Browser, member: User) -> None:
    elsewhere = Browser()
    elsewhere.sign_in()
    pair = tokens.issue(member)
    browser.sign_in()

    browser.send(
        "/accounts/password/change/",
        oldpassword=PHRASE, password1="quite another phrase", password2="quite another phrase",
    )  # fmt: skip

    assert browser.signed_in
    assert not elsewhere.signed_in
    assert AsgiClient().get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401


def test_a_code_by_mail_signs_in(
    browser: Browser, member: User, mailoutbox: list[Any], attempts: Callable[[], dict[str, float]]
) -> None:
    browser.send("/accounts/login/code/", email="mara@example.org")

    browser.send("/accounts/login/code/confirm/", code=_code(mailoutbox[0].body))

    assert browser.signed_in
    assert attempts() == {"login true": 1}


def test_a_code_by_mail_is_good_in_the_browser_that_asked_for_it_alone(
    browser: Browser, member: User, mailoutbox: list[Any]
) -> None:
    other = Browser()
    for each in (browser, other):
        each.send("/accounts/login/code/", email="mara@example.org")
    first, second = (_code(mail.body) for mail in mailoutbox)
    assert first != second

    other.send("/accounts/login/code/confirm/", code=first)
    assert not other.signed_in
    browser.send("/accounts/login/code/confirm/", code=first)
    assert browser.signed_in


def test_a_code_by_mail_is_hard_to_guess_and_good_for_ten_minutes(
    browser: Browser, member: User, mailoutbox: list[Any]
) -> None:
    browser.send("/accounts/login/code/", email="mara@example.org")
    code = _code(mailoutbox[0].body)
    session = browser.session
    session["account_login"]["state"]["stages"]["login_by_code"]["data"]["at"] -= 10 * 60 + 1
    session.save()

    browser.send("/accounts/login/code/confirm/", code=code)

    assert len(code.replace("-", "")) == 8  # of 20 letters: 34 bits
    assert not browser.signed_in


def test_a_wrong_code_by_mail_counts_as_a_failure(
    browser: Browser, member: User, attempts: Callable[[], dict[str, float]]
) -> None:
    browser.send("/accounts/login/code/", email="mara@example.org")

    for _ in range(3):
        browser.send("/accounts/login/code/confirm/", code="AAAA-AAAA")

    assert not browser.signed_in
    assert attempts() == {"login false": 3}


def test_asking_for_a_code_does_not_tell_whether_there_is_an_account(member: User, mailoutbox: list[Any]) -> None:
    known = Browser().send("/accounts/login/code/", email="mara@example.org")
    unknown = Browser().send("/accounts/login/code/", email="nobody@example.org")

    assert _alike(text_of(known)) == _alike(text_of(unknown))


def test_ten_mails_go_to_one_address_in_an_hour(member: User, mailoutbox: list[Any]) -> None:
    for number in range(12):
        Browser(f"198.51.100.{number}").send("/accounts/login/code/", email="mara@example.org")

    assert len(mailoutbox) == 10


def test_an_authenticator_app_is_asked_for_from_then_on(
    browser: Browser, member: User, attempts: Callable[[], dict[str, float]]
) -> None:
    browser.sign_in()
    secret = add_authenticator(browser)
    other = Browser()

    other.sign_in()
    assert not other.signed_in
    assert attempts() == {"login true": 1}
    other.send("/accounts/2fa/authenticate/", code=code_of(secret, steps=1))

    assert other.signed_in
    assert attempts() == {"login true": 2}


def test_a_wrong_second_factor_counts_as_a_failure(
    browser: Browser, member: User, attempts: Callable[[], dict[str, float]]
) -> None:
    browser.sign_in()
    add_authenticator(browser)
    other = Browser()
    other.sign_in()

    answer = other.send("/accounts/2fa/authenticate/", code="000000")

    assert "The code is wrong" in text_of(answer)
    assert not other.signed_in
    assert attempts() == {"login true": 1, "login false": 1}


def test_a_code_works_once(browser: Browser, member: User) -> None:
    browser.sign_in()
    secret = add_authenticator(browser)
    code = code_of(secret, steps=1)
    first, second = Browser(), Browser()
    for each in (first, second):
        each.sign_in()
        each.send("/accounts/2fa/authenticate/", code=code)

    assert (first.signed_in, second.signed_in) == (True, False)


def test_a_recovery_code_works_once(browser: Browser, member: User) -> None:
    browser.sign_in()
    add_authenticator(browser)
    code = Authenticator.objects.get(type=Authenticator.Type.RECOVERY_CODES).wrap().get_unused_codes()[0]
    assert re.fullmatch(r"\d{8}", code)
    first, second = Browser(), Browser()
    for each in (first, second):
        each.sign_in()
        each.send("/accounts/2fa/authenticate/", code=code)

    assert (first.signed_in, second.signed_in) == (True, False)


def test_the_second_factor_is_asked_for_after_a_code_by_mail_too(
    browser: Browser, member: User, mailoutbox: list[Any]
) -> None:
    browser.sign_in()
    add_authenticator(browser)
    other = Browser()
    mailoutbox.clear()
    other.send("/accounts/login/code/", email="mara@example.org")

    answer = other.send("/accounts/login/code/confirm/", code=_code(mailoutbox[0].body))

    assert answer.redirect_chain[-1][0].startswith("/accounts/2fa/authenticate/")
    assert not other.signed_in


def test_second_factors_are_stored_encrypted(browser: Browser, member: User) -> None:
    browser.sign_in()

    secret = add_authenticator(browser)

    assert secret not in json.dumps(list(Authenticator.objects.values_list("data", flat=True)))


def test_a_second_factor_that_was_stored_by_a_former_key_still_works(
    browser: Browser, member: User, settings: Any
) -> None:
    browser.sign_in()
    secret = add_authenticator(browser)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 8, [settings.SECRET_KEY]
    other = Browser()

    other.sign_in()
    other.send("/accounts/2fa/authenticate/", code=code_of(secret, steps=1))

    assert other.signed_in


def test_a_second_factor_that_was_tampered_with_opens_nothing(browser: Browser, member: User) -> None:
    browser.sign_in()
    secret = add_authenticator(browser)
    authenticator = Authenticator.objects.get(type=Authenticator.Type.TOTP)
    stored = authenticator.data["secret"]
    authenticator.data["secret"] = stored[:40] + ("A" if stored[40] != "A" else "B") + stored[41:]
    authenticator.save()
    other = Browser()
    other.sign_in()

    with pytest.raises(ValueError, match="stored by another SECRET_KEY"):
        other.send("/accounts/2fa/authenticate/", code=code_of(secret, steps=1))

    assert not other.signed_in


@pytest.mark.parametrize(
    "credential",
    [
        *("", "x", "null", "[]", "{}", '{"response": []}', '{"id": 1, "response": {"userHandle": 7}}', '"x"', "1"),
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_a_passkey_that_makes_no_sense_counts_as_a_failure(
    browser: Browser, member: User, credential: str, attempts: Callable[[], dict[str, float]]
) -> None:
    page = browser.get("/accounts/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text_of(page))
    assert token

    answer = browser.post("/accounts/2fa/webauthn/login/", {"csrfmiddlewaretoken": token[1], "credential": credential})

    assert answer.status_code == 302
    assert attempts() == {"login false": 1}


def test_the_list_of_sessions_shows_browsers_and_api_clients(browser: Browser, member: User) -> None:
    tokens.issue(member)
    Browser(HTTP_USER_AGENT="Elsewhere/1.0").sign_in()
    browser.sign_in()

    page = text_of(browser.get("/accounts/sessions/"))

    assert "Elsewhere/1.0" in page
    assert str(RefreshFamily.objects.get().pk) in page


def test_signing_out_everywhere_ends_everything(browser: Browser, member: User) -> None:
    elsewhere, pair = Browser(), tokens.issue(member)
    elsewhere.sign_in()
    browser.sign_in()

    browser.send("/accounts/sessions/", action="everywhere")

    assert (browser.signed_in, elsewhere.signed_in) == (False, False)
    assert AsgiClient().get("/auth/me", headers={"Authorization": f"Bearer {pair.access}"}).status == 401


def test_signing_out_elsewhere_keeps_this_session(browser: Browser, member: User) -> None:
    elsewhere = Browser()
    elsewhere.sign_in()
    browser.sign_in()

    browser.send("/accounts/sessions/", action="others")

    assert (browser.signed_in, elsewhere.signed_in) == (True, False)


def test_one_session_of_ones_own_can_be_ended_and_no_one_elses(browser: Browser, member: User, staff: User) -> None:
    mine, theirs = tokens.issue(member), tokens.issue(staff)
    browser.sign_in()

    for family in RefreshFamily.objects.all():
        browser.send("/accounts/sessions/", end=str(family.pk))

    client = AsgiClient()
    assert client.get("/auth/me", headers={"Authorization": f"Bearer {mine.access}"}).status == 401
    assert client.get("/auth/me", headers={"Authorization": f"Bearer {theirs.access}"}).status == 200


def test_a_session_ends_when_it_is_not_used(browser: Browser, member: User, settings: Any) -> None:
    browser.sign_in()
    session = browser.session

    assert session.get_expiry_age() <= settings.SESSION_COOKIE_AGE
    session.set_expiry(-1)
    session.save()

    assert not browser.signed_in


def test_a_session_ends_at_its_absolute_age_however_much_it_is_used(
    browser: Browser, member: User, settings: Any
) -> None:
    browser.sign_in()
    session = browser.session
    session["signed_in_at"] -= settings.SESSION_ABSOLUTE_SECONDS
    session.save()

    assert not browser.signed_in


def test_a_session_that_is_used_goes_on_but_not_past_its_absolute_age(
    browser: Browser, member: User, settings: Any
) -> None:
    browser.sign_in()
    session = browser.session
    session["signed_in_at"] -= settings.SESSION_ABSOLUTE_SECONDS - 3600
    session["seen_at"] -= 3600
    session.save()

    assert browser.signed_in
    assert 3500 < browser.session.get_expiry_age() <= 3600


@pytest.mark.parametrize(
    "path",
    ["/accounts/2fa/totp/activate/", "/accounts/data/delete/", "/accounts/data/export/",
     "/accounts/2fa/webauthn/add/", "/accounts/2fa/recovery-codes/generate/"],
)  # fmt: skip
def test_a_fresh_sign_in_comes_before_what_is_dangerous(browser: Browser, member: User, path: str) -> None:
    browser.sign_in()
    add_authenticator(browser)
    assert not _asks_for_a_fresh_sign_in(browser, path)

    _grow_stale(browser)

    assert _asks_for_a_fresh_sign_in(browser, path)


def test_another_address_takes_a_fresh_sign_in_and_replaces_the_old_one_when_verified(
    browser: Browser, member: User, mailoutbox: list[Any]
) -> None:
    browser.sign_in()
    _grow_stale(browser)

    answer = browser.send("/accounts/email/", email="new@example.org", action_add="")
    assert answer.redirect_chain[-1][0].startswith("/accounts/reauthenticate/")
    browser.send_from(answer, answer.redirect_chain[-1][0], password=PHRASE)
    browser.send(_link(next(mail for mail in mailoutbox if mail.to == ["new@example.org"]).body))

    member.refresh_from_db()
    assert member.email == "new@example.org"
    assert list(EmailAddress.objects.values_list("email", "verified")) == [("new@example.org", True)]
    assert ["mara@example.org"] in [mail.to for mail in mailoutbox]


def test_a_deactivated_user_is_out_at_once(browser: Browser, member: User) -> None:
    browser.sign_in()

    User.objects.update(is_active=False)

    assert not browser.signed_in


def test_the_export_is_a_file_that_holds_everything_but_secrets(browser: Browser, member: User) -> None:
    browser.sign_in()
    secret = add_authenticator(browser)

    answer = browser.get("/accounts/data/export/")

    exported = json.loads(answer.content)
    assert answer["Content-Disposition"] == f'attachment; filename="bambisleep-{member.pk}.json"'
    assert exported["account"]["profile"]["name"] == "mara"
    assert [factor["type"] for factor in exported["account"]["second_factors"]] == ["totp", "recovery_codes"]
    assert len(exported["account"]["browser_sessions"]) == 1
    member.refresh_from_db()
    assert member.password not in text_of(answer)
    assert secret not in text_of(answer)
    assert browser.session.session_key not in text_of(answer)


def test_deletion_signs_out_and_can_be_taken_back(browser: Browser, member: User, mailoutbox: list[Any]) -> None:
    browser.sign_in()

    browser.send("/accounts/data/delete/", confirm="on")

    assert not browser.signed_in
    assert "erased on" in mailoutbox[-1].body
    browser.sign_in()
    browser.send("/accounts/data/", to="/accounts/data/keep/")
    member.refresh_from_db()
    assert member.deletion_requested_at is None


def test_deletion_needs_its_box_ticked(browser: Browser, member: User) -> None:
    browser.sign_in()

    assert browser.send("/accounts/data/delete/").status_code == 400

    member.refresh_from_db()
    assert member.deletion_requested_at is None


def test_an_account_is_erased_when_its_grace_is_over_and_not_before(browser: Browser, member: User) -> None:
    tokens.issue(member)
    browser.sign_in()
    browser.send("/accounts/data/delete/", confirm="on")

    assert deletion.due() == []
    (due,) = deletion.due(now=timezone.now() + timedelta(days=15))
    deletion.erase(due)

    assert not User.objects.exists()
    assert not EmailAddress.objects.exists()
    assert not RefreshFamily.objects.exists()


def _grow_stale(browser: Browser) -> None:
    """As if the last half hour and a minute had passed."""
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 31 * 60
    session.save()


def _asks_for_a_fresh_sign_in(browser: Browser, path: str) -> bool:
    answer = browser.get(path)
    return answer.status_code == 302 and "reauthenticate" in answer["Location"]


def _link(body: str) -> str:
    found = re.search(r"http://testserver(/\S+)", body)
    assert found, body
    return found[1]


def _code(body: str) -> str:
    found = re.search(r"^\s*([A-Z0-9]{4}-[A-Z0-9]{4}|[A-Z0-9]{6,8})\s*$", body, re.MULTILINE)
    assert found, body
    return found[1]


def _alike(page: str) -> str:
    """The page without what differs from one request to the next."""
    page = re.sub(r'(name="csrfmiddlewaretoken" value=)"\w+"', r"\1", page)
    return re.sub(r"(nora|nina|mara|nobody)(@example\.org)?", "…", page)
