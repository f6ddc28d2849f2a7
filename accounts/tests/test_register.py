"""POST /auth/register."""

import importlib
import os
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import identify_hasher
from django.db import connection
from django.test import Client

from accounts.models import User
from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db

PHRASE = "a long enough phrase"


def register(
    asgi: AsgiClient, username: str = "nora", email: str = "nora@example.org", password: str = PHRASE
) -> Answer:
    return asgi.post("/auth/register", json={"username": username, "email": email, "password": password})


def test_it_opens_an_account_that_can_sign_in(asgi: AsgiClient) -> None:
    answer = register(asgi)

    assert answer.status == 201
    assert answer.json["username"] == "nora"
    assert "password" not in answer.json
    assert asgi.post("/auth/login", json={"username": "nora", "password": PHRASE}).status == 200


def test_it_opens_no_more_than_a_members_account(asgi: AsgiClient) -> None:
    body = {"username": "nora", "email": "nora@example.org", "password": PHRASE}

    answer = asgi.post("/auth/register", json={**body, "is_staff": True, "is_superuser": True, "id": 1})

    assert answer.status == 201
    nora = User.objects.get(username="nora")
    assert (nora.is_staff, nora.is_superuser) == (False, False)


def test_it_counts_a_success_once(asgi: AsgiClient, metric: Callable[..., float]) -> None:
    before = metric("auth_attempts_total", type="register", success="true")
    all_before = metric("auth_attempts_total")

    register(asgi)

    assert metric("auth_attempts_total", type="register", success="true") == before + 1
    assert metric("auth_attempts_total") == all_before + 1


@pytest.mark.parametrize("body", [{}, {"username": "nora", "email": "nora@example.org", "password": "short"}])
def test_it_counts_a_refusal_once(asgi: AsgiClient, metric: Callable[..., float], body: dict[str, str]) -> None:
    before = metric("auth_attempts_total", type="register", success="false")
    all_before = metric("auth_attempts_total")

    answer = asgi.post("/auth/register", json=body)

    assert answer.status == 400
    assert metric("auth_attempts_total", type="register", success="false") == before + 1
    assert metric("auth_attempts_total") == all_before + 1


def test_it_refuses_a_name_that_is_taken_in_another_case(asgi: AsgiClient, member: User) -> None:
    answer = register(asgi, "MARA", "other@example.org")

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(answer.json["errors"]) == ["username"]
    assert User.objects.count() == 1


def test_it_does_not_tell_whether_an_address_is_taken(asgi: AsgiClient, member: User) -> None:
    taken, free = register(asgi, "nora", "Mara@Example.ORG"), register(asgi, "nina", "nina@example.org")

    assert (taken.status, free.status) == (201, 201)
    assert taken.json.keys() == free.json.keys()
    assert taken.headers.keys() == free.headers.keys()


def test_an_address_that_was_only_typed_opens_nothing(asgi: AsgiClient, member: User) -> None:
    register(asgi, "nora", "mara@example.org", "the phrase of someone else")

    answer = asgi.post("/auth/login", json={"username": "mara@example.org", "password": "the phrase of someone else"})

    assert answer.status == 401
    assert asgi.post("/auth/login", json={"username": "mara@example.org", "password": PHRASE}).status == 200


def test_it_mails_a_link_that_verifies_the_address(asgi: AsgiClient, mailoutbox: list[Any]) -> None:
    register(asgi)
    link = re.search(r"/accounts/confirm-email/\S+", mailoutbox[0].body)
    assert link

    Client().post(link[0])

    assert mailoutbox[0].to == ["nora@example.org"]
    assert EmailAddress.objects.get(email="nora@example.org").verified
    assert asgi.post("/auth/login", json={"username": "nora@example.org", "password": PHRASE}).status == 200


@pytest.mark.parametrize("password", ["short", "password123", "12345678901234", "nora@example.org", "Bambisleep2026"])
def test_it_refuses_a_weak_password(asgi: AsgiClient, password: str) -> None:
    answer = register(asgi, password=password)

    assert answer.status == 400
    assert list(answer.json["errors"]) == ["password"]
    assert not User.objects.exists()


def test_it_names_every_field_at_fault(asgi: AsgiClient) -> None:
    answer = register(asgi, username="no spaces", email="nora@example.org", password="short")

    assert answer.status == 400
    assert set(answer.json["errors"]) == {"username", "password"}


def test_it_refuses_a_name_that_looks_like_an_address(asgi: AsgiClient, member: User) -> None:
    answer = register(asgi, username="mara@example.org")

    assert answer.status == 400
    assert list(answer.json["errors"]) == ["username"]


def test_it_keeps_spaces_around_a_password(asgi: AsgiClient) -> None:
    register(asgi, password=f" {PHRASE} ")

    assert asgi.post("/auth/login", json={"username": "nora", "password": PHRASE}).status == 401
    assert asgi.post("/auth/login", json={"username": "nora", "password": f" {PHRASE} "}).status == 200


@pytest.mark.parametrize(
    "password",
    [
        "afewsmallwordsofmyown",
        "ÄÖÜ ßçñ 漢字かな",
        "🌙🛌💤🌙🛌💤🌙🛌💤🌙",
        "<'\"&;--> %s {0}",
        "z9 " * 341,
        "q7!" + "w" * 61,
    ],
    ids=["small letters", "other scripts", "pictures", "signs", "1023 characters", "64 characters"],
)
def test_a_password_may_be_of_any_characters_and_long(asgi: AsgiClient, password: str) -> None:
    assert register(asgi, password=password).status == 201
    assert asgi.post("/auth/login", json={"username": "nora", "password": password}).status == 200


@pytest.mark.parametrize(
    "email", ["nora@example.org\nBcc: all@example.org", "nora@example.org\r\n\r\nHello", "a@b.c,d@e.f"]
)
def test_an_address_carries_nothing_into_a_mail(asgi: AsgiClient, mailoutbox: list[Any], email: str) -> None:
    answer = register(asgi, email=email)

    assert answer.status == 400
    assert list(answer.json["errors"]) == ["email"]
    assert mailoutbox == []


def test_it_stores_the_password_as_argon2(asgi: AsgiClient, settings: Any) -> None:
    configured = importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"]).PASSWORD_HASHERS
    settings.PASSWORD_HASHERS = configured

    register(asgi)

    assert identify_hasher(User.objects.get().password).algorithm == "argon2"


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_gets_the_name() -> None:
    both_have_checked = threading.Barrier(2, timeout=10)
    answers: list[Answer] = []

    def race(username: str, email: str) -> None:
        waited = False

        def wait_before_writing(execute: Any, sql: Any, *arguments: Any) -> Any:
            # SQLite takes its lock at BEGIN; PostgreSQL, whose BEGIN is not seen here, waits at the second INSERT.
            nonlocal waited
            if not waited and sql.startswith(("BEGIN", "INSERT")):
                waited = True
                both_have_checked.wait()
            return execute(sql, *arguments)

        with connection.execute_wrapper(wait_before_writing):
            answers.append(register(AsgiClient(), username, email))
        connection.close()

    racers = [
        threading.Thread(target=race, args=each) for each in (("nora", "a@example.org"), ("NORA", "b@example.org"))
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(timeout=20)

    assert sorted(answer.status for answer in answers) == [201, 400]
    assert not both_have_checked.broken
    assert User.objects.count() == 1
