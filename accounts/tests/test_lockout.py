"""Who may try a password, or a second factor, and when again."""

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.signals import password_reset
from axes.models import AccessFailureLog
from django.db import connection
from django.db.models import F
from django.utils import timezone

from accounts import lockout
from accounts.models import User
from accounts.tests.browser import PHRASE, Browser, add_authenticator, code_of, text_of
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db

Metric = Callable[..., float]


def login(name: str = "mara", password: str = "wrong", address: str = "203.0.113.7", **more: Any) -> Answer:
    body = {"username": name, "password": password, **more}
    return AsgiClient().post("/auth/login", json=body, client=(address, 50_000))


def from_everywhere(number: int) -> str:
    return f"198.51.{number // 250}.{number % 250 + 1}"


def an_hour_passes(hours: float = 1) -> None:
    AccessFailureLog.objects.update(attempt_time=F("attempt_time") - timedelta(hours=hours))


def test_after_ten_failures_of_one_account_nobody_may_try_it(member: User) -> None:
    statuses = [login(address=from_everywhere(number)).status for number in range(12)]

    assert statuses == [401] * 10 + [429] * 2
    assert login(password=PHRASE, address="192.0.2.1").status == 429


def test_a_refusal_says_when_the_next_attempt_is_possible(member: User) -> None:
    for number in range(10):
        login(address=from_everywhere(number))

    answer = login(password=PHRASE)

    assert answer.headers["content-type"] == "application/problem+json"
    assert 290 <= int(answer.headers["retry-after"]) <= 300
    AccessFailureLog.objects.update(attempt_time=F("attempt_time") - timedelta(seconds=300))
    assert login(password=PHRASE).status == 200


def test_after_ten_failures_from_one_address_it_may_try_no_account(member: User, staff: User) -> None:
    for number in range(10):
        login(f"name-{number}")

    assert login("sam", PHRASE).status == 429
    assert login("sam", PHRASE, address="192.0.2.1").status == 200


def test_after_twenty_failures_in_a_day_the_account_waits_until_the_day_is_over(member: User) -> None:
    for number in range(20):
        assert login(address=from_everywhere(number)).status == 401
        an_hour_passes(0.1)

    assert login(password=PHRASE).status == 429
    an_hour_passes(21)
    assert login(password=PHRASE).status == 429
    an_hour_passes(2)
    assert login(password=PHRASE).status == 200


@pytest.mark.parametrize("names", [("mara", "MARA"), ("mara", "mara@example.org"), (" Mara", "MARA@EXAMPLE.ORG")])
def test_the_ways_to_write_one_account_count_together(member: User, names: tuple[str, str]) -> None:
    for number in range(10):
        login(names[number % 2], address=from_everywhere(number))

    assert login(password=PHRASE).status == 429


def test_an_ipv6_network_counts_as_one_address(member: User, staff: User) -> None:
    for number in range(10):
        login(f"name-{number}", address=f"2001:db8:1:2::{number + 1}")

    assert login("sam", PHRASE, address="2001:db8:1:2:ffff::1").status == 429
    assert login("sam", PHRASE, address="2001:db8:1:3::1").status == 200


def test_an_ipv4_address_counts_the_same_when_written_as_ipv6(member: User, staff: User) -> None:
    for number in range(10):
        login(f"name-{number}", address="::ffff:203.0.113.7")

    assert login("sam", PHRASE, address="203.0.113.7").status == 429


def test_a_name_that_does_not_exist_is_refused_like_one_that_does(member: User) -> None:
    answers = {name: [login(name, address=from_everywhere(n)) for n in range(12)] for name in ("mara", "nobody")}

    known, unknown = (
        [{key: value for key, value in answer.json.items() if key != "request_id"} for answer in answers[name]]
        for name in ("mara", "nobody")
    )
    assert known == unknown


def test_both_doors_count_together(member: User) -> None:
    for number in range(5):
        login(address=from_everywhere(number))
        Browser(from_everywhere(100 + number)).sign_in(password="wrong")

    assert login(password=PHRASE, address="192.0.2.1").status == 429
    page = Browser("192.0.2.2").sign_in()
    assert page.status_code == 429
    assert int(page["Retry-After"]) > 0
    assert "code that we send" in text_of(page)


def test_the_owner_gets_in_by_mail_while_others_attack_the_name(member: User, mailoutbox: list[Any]) -> None:
    for number in range(30):
        login(address=from_everywhere(number))
    browser = Browser("192.0.2.1")

    browser.send("/accounts/login/code/", email="mara@example.org")
    code = next(line.strip() for line in mailoutbox[0].body.splitlines() if "-" in line and len(line.strip()) == 9)
    browser.send("/accounts/login/code/confirm/", code=code)

    assert browser.signed_in


def test_a_reset_password_unlocks_the_account(member: User, mailoutbox: list[Any]) -> None:
    for number in range(10):
        login(address=from_everywhere(number))
    browser = Browser("192.0.2.1")
    browser.send("/accounts/password/reset/", email="mara@example.org")
    link = re.search(r"http://testserver(/\S+)", mailoutbox[0].body)
    assert link

    browser.send(link[1], password1="quite another phrase", password2="quite another phrase")

    assert login(password="quite another phrase", address="192.0.2.1").status == 200


def test_a_success_does_not_wipe_the_failures_of_the_address(member: User) -> None:
    """Who has an account of his own could sign in to it between guesses at others."""
    for number in range(10):
        login(f"name-{number}")
        if number < 9:
            assert login(password=PHRASE).status == 200

    assert login(password=PHRASE).status == 429


def test_every_attempt_is_counted_refused_ones_too(member: User, metric: Metric) -> None:
    before = metric("auth_attempts_total", type="login", success="false")
    all_before = metric("auth_attempts_total")

    statuses = [login("invalid").status for _ in range(100)]

    assert statuses == [401] * 10 + [429] * 90
    assert metric("auth_attempts_total", type="login", success="false") == before + 100
    assert metric("auth_attempts_total") == all_before + 100


def test_a_lock_out_and_each_refusal_are_security_events(member: User, metric: Metric) -> None:
    lockouts = metric("security_events_total", type="lockout")
    refusals = metric("security_events_total", type="rate_limited")

    for number in range(13):
        login(address=from_everywhere(number))

    assert metric("security_events_total", type="lockout") == lockouts + 1
    assert metric("security_events_total", type="rate_limited") == refusals + 3


def test_refusals_fill_no_table(member: User) -> None:
    for number in range(50):
        login(address=from_everywhere(number))

    assert AccessFailureLog.objects.count() == 10


def test_old_rows_and_rows_beyond_the_bound_are_swept(member: User, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [AccessFailureLog(username=f"name-{number}", path_info="/auth/login") for number in range(20)]
    AccessFailureLog.objects.bulk_create(rows)
    monkeypatch.setattr(lockout, "MAX_ROWS", 15)

    assert lockout.sweep() == 5
    assert lockout.sweep(now=timezone.now() + timedelta(days=3)) == 15


def test_after_five_wrong_codes_the_second_factor_waits(member: User) -> None:
    browser = Browser()
    browser.sign_in()
    secret = add_authenticator(browser)

    statuses = [login(password=PHRASE, code="000000").status for _ in range(6)]

    assert statuses == [401] * 5 + [429]
    right = login(password=PHRASE, code=code_of(secret, steps=1))
    assert right.status == 429
    assert int(right.headers["retry-after"]) > 0
    other = Browser("192.0.2.1")
    other.sign_in()
    page = other.send("/accounts/2fa/authenticate/", code=code_of(secret, steps=1))
    assert page.status_code == 429
    assert int(page["Retry-After"]) > 0


def test_after_twenty_wrong_codes_in_an_hour_the_second_factor_waits(member: User) -> None:
    browser = Browser()
    browser.sign_in()
    add_authenticator(browser)

    for _ in range(4):
        assert [login(password=PHRASE, code="000000").status for _ in range(5)] == [401] * 5
        an_hour_passes(0.1)

    assert login(password=PHRASE, code="000000").status == 429
    an_hour_passes(0.7)
    assert login(password=PHRASE, code="000000").status == 401


def test_wrong_codes_do_not_lock_the_password(member: User) -> None:
    browser = Browser()
    browser.sign_in()
    add_authenticator(browser)
    for _ in range(12):
        login(password=PHRASE, code="000000")

    assert login(password=PHRASE).json["code"] == "second_factor_required"


@pytest.mark.django_db(transaction=True)
def test_of_many_attempts_at_once_no_more_than_ten_are_looked_at(member: User) -> None:
    start = threading.Barrier(16, timeout=20)
    statuses: list[int] = []

    def attempt(number: int) -> None:
        start.wait()
        statuses.append(login(address=from_everywhere(number)).status)
        connection.close()

    attackers = [threading.Thread(target=attempt, args=[number]) for number in range(16)]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join(30)

    assert len(statuses) == 16
    assert statuses.count(401) <= 10
    assert set(statuses) <= {401, 429}


def test_a_reset_password_does_not_forget_failures_of_the_second_factor(member: User) -> None:
    key = lockout.key_of(member)
    AccessFailureLog.objects.create(username=key, path_info=lockout.SECOND_FACTOR)
    AccessFailureLog.objects.create(username=key, path_info="/accounts/login/")

    password_reset.send(sender=User, request=None, user=member)

    assert [row.path_info for row in AccessFailureLog.objects.filter(username=key)] == [lockout.SECOND_FACTOR]


def test_a_name_that_grows_when_folded_is_counted_all_the_same(db: None) -> None:
    user = User.objects.create_user("\u0130" * 150, "i@example.org", "a long enough phrase")

    AccessFailureLog.objects.create(username=lockout.key_of(user), path_info="/auth/login")

    assert lockout.unlock(key=lockout.key_of(user)) == 1
