"""Many attempts, spread over names, addresses and ways to write them, against limits written down a second time."""

import random
from collections import Counter
from collections.abc import Callable

import pytest
from axes.models import AccessFailureLog
from django.utils import timezone

from accounts.models import RefreshFamily, User
from bambisleep.tests.client import AsgiClient
from bambisleep.tests.environment import LONG

pytestmark = pytest.mark.django_db

ATTEMPTS = 10_000 if LONG else 600
MEMBERS = 60 if ATTEMPTS > 1_000 else 12
ALLOWED = 10


def test_nobody_is_let_in_or_locked_out_by_mistake(metric: Callable[..., float]) -> None:
    chance = random.Random(7)
    for number in range(MEMBERS):
        user = User.objects.create_user(f"member{number}", f"member{number}@example.org", f"the phrase of {number}")
        user.emailaddress_set.create(email=user.email, verified=True, primary=True)
    asgi = AsgiClient()
    by_account: Counter[str] = Counter()
    by_network: Counter[str] = Counter()
    answered: Counter[int] = Counter()
    failures = metric("auth_attempts_total", type="login", success="false")
    successes = metric("auth_attempts_total", type="login", success="true")

    for attempt in range(ATTEMPTS):
        if attempt % 100 == 0:  # however slow the machine: all of it happens within one window
            AccessFailureLog.objects.update(attempt_time=timezone.now())
        number = chance.randrange(MEMBERS * 3)  # two thirds of the names do not exist
        account = f"member{number}"
        written = _case(chance, f"{account}@example.org" if number < MEMBERS and attempt % 3 == 0 else account)
        network, address = _network(chance)
        right = chance.random() < 0.2
        password = f"the phrase of {number}" if right else f"the phrase of {number + 1}"

        status = asgi.post("/auth/login", json={"username": written, "password": password}, client=(address, 1)).status

        if by_account[account] >= ALLOWED or by_network[network] >= ALLOWED:
            expected = 429
        elif right and number < MEMBERS:
            expected = 200
        else:
            expected = 401
            by_account[account] += 1
            by_network[network] += 1
        assert status == expected, (attempt, written, address, right)
        answered[status] += 1

    assert min(answered[200], answered[401], answered[429]) > 10
    assert metric("auth_attempts_total", type="login", success="false") == failures + answered[401] + answered[429]
    assert metric("auth_attempts_total", type="login", success="true") == successes + answered[200]
    assert RefreshFamily.objects.count() == answered[200]
    assert AccessFailureLog.objects.count() == answered[401] <= ALLOWED * MEMBERS * 3


def _case(chance: random.Random, text: str) -> str:
    return "".join(letter.upper() if chance.random() < 0.3 else letter for letter in text)


def _network(chance: random.Random) -> tuple[str, str]:
    """A network, and one of its addresses."""
    number = chance.randrange(MEMBERS * 2)
    if number % 2:
        return f"v4-{number}", f"198.51.100.{number}"
    return f"v6-{number}", f"2001:db8:0:{number:x}::{chance.randrange(1, 60_000):x}"
