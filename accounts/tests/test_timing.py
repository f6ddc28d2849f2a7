"""Time does not tell which accounts there are."""

import importlib
import math
import os
from collections.abc import Callable
from statistics import NormalDist
from time import perf_counter
from typing import Any

import pytest
from axes.models import AccessFailureLog

from accounts.models import User
from accounts.tests.browser import PHRASE, Browser
from bambisleep.tests.client import AsgiClient
from bambisleep.tests.environment import LONG

pytestmark = pytest.mark.django_db

PAIRS = 100 if LONG else 12


@pytest.fixture(autouse=True)
def _argon2(settings: Any) -> None:
    """The hasher of production."""
    settings.PASSWORD_HASHERS = importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"]).PASSWORD_HASHERS


def api(name: str, number: int) -> int:
    body = {"username": name, "password": "wrong"}
    return AsgiClient().post("/auth/login", json=body, client=(f"198.51.100.{number}", 1)).status


def page(name: str, number: int) -> int:
    token = "a" * 32
    browser = Browser(f"198.51.100.{number}")
    browser.cookies["csrftoken"] = token
    fields = {"csrfmiddlewaretoken": token, "login": name, "password": "wrong"}
    return int(browser.post("/accounts/login/", fields).status_code)


@pytest.mark.parametrize("door", [api, page])
@pytest.mark.parametrize("known", ["mara", "mara@example.org", "otto"])
def test_a_known_name_takes_as_long_as_an_unknown_one(
    member: User, door: Callable[[str, int], int], known: str
) -> None:
    User.objects.create_user("otto", "otto@example.org", PHRASE, is_active=False)
    unknown = "nobody@example.org" if "@" in known else "nora"
    times: dict[str, list[float]] = {known: [], unknown: []}
    for name in times:
        door(name, 1)

    for number in range(PAIRS):
        for name in sorted(times, reverse=bool(number % 2)):
            started = perf_counter()
            assert door(name, number + 1) in {200, 401}
            times[name].append(perf_counter() - started)
        AccessFailureLog.objects.all().delete()  # so that neither is locked

    assert probability_of_one_source(times[known], times[unknown]) > 0.0005


def probability_of_one_source(first: list[float], second: list[float]) -> float:
    """The two-sided p of the Mann–Whitney U test, by its normal approximation."""
    ranked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    rank_sum = sum(rank for rank, (_, sample) in enumerate(ranked, 1) if sample == 0)
    m, n = len(first), len(second)
    u = rank_sum - m * (m + 1) / 2
    deviation = math.sqrt(m * n * (m + n + 1) / 12)
    return 2 * (1 - NormalDist().cdf(abs(u - m * n / 2) / deviation))


def test_the_two_sample_test_sees_a_difference_of_a_tenth() -> None:
    first = [0.05 + number % 7 / 1000 for number in range(30)]

    assert probability_of_one_source(first, [value * 1.1 for value in first]) < 0.0005
    assert probability_of_one_source(first, [value + 0.0001 * (-1) ** n for n, value in enumerate(first)]) > 0.05
