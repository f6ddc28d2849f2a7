"""What a sign-in costs beside the hash of its password, and what a checked token costs beside a view that checks none.

On SQLite, in a directory that this makes and drops, through the edge and the whole middleware. The hash is the price
that is wanted; everything else is overhead. It prints ratios to put into a decision; it is no test, and it fails only
where something does not run.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

DATA_DIR = tempfile.TemporaryDirectory(prefix="benchmark-")
(Path(DATA_DIR.name) / "static").mkdir()
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "bambisleep.settings",
    "DEBUG": "false",
    "HTTPS": "false",
    "SECRET_KEY": os.urandom(40).hex(),
    "ALLOWED_HOSTS": "testserver",
    "DATA_DIR": DATA_DIR.name,
    "DATABASE_URL": "",
    "REDIS_URL": "",
    "LOG_LEVEL": "ERROR",
}

import django  # noqa: E402

django.setup()

from django.contrib.auth.hashers import check_password, make_password  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.permissions import AllowAny  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from accounts import tokens  # noqa: E402
from accounts.models import User  # noqa: E402
from bambisleep import urls  # noqa: E402
from benchmarks.sides import Side, added, by_turns, ratio, spread  # noqa: E402
from observability.http.edge import Edge  # noqa: E402
from observability.http.handler import Handler  # noqa: E402
from observability.http.routes import expect_known_routes  # noqa: E402

PHRASE = "a long enough phrase"
BODY = b'{"username": "mara", "password": "%s"}' % PHRASE.encode()


class Bare(APIView):
    """What DRF costs by itself."""

    authentication_classes = ()
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        """As long an answer as /auth/me gives."""
        fields = {"id": 1, "username": "mara", "email": "mara@example.org", "date_joined": "2026-01-01T00:00:00Z"}
        return Response({**fields, "is_staff": False})


def caller(
    application: Any, method: str, address: str, *, body: bytes = b"", token: str = ""
) -> Callable[[], Awaitable[object]]:
    """A function that sends one request and reads the answer, which must be 200."""
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))

    async def call() -> None:
        statuses: list[int] = []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": address, "raw_path": address.encode(), "query_string": b"", "root_path": "",
            "headers": list(headers), "client": ("203.0.113.7", 50_000), "server": ("testserver", 80),
        }  # fmt: skip
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return incoming.pop() if incoming else await asyncio.get_running_loop().create_future()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await application(scope, receive, send)
        assert statuses == [200], statuses

    return call


async def a_second(pool: ThreadPoolExecutor, what: Callable[[], Any], number: int, at_once: int) -> float:
    """How many of `number` calls, `at_once` of them in flight, are done in a second."""
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with gate:
            made = what()
            await (loop.run_in_executor(pool, made) if not asyncio.iscoroutine(made) else made)

    started = perf_counter()
    await asyncio.gather(*(one() for _ in range(number)))
    return number / (perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds: int = parser.parse_args().rounds
    call_command("migrate", verbosity=0)
    urls.urlpatterns.insert(0, path("bare", Bare.as_view()))
    expect_known_routes()
    user = User.objects.create_user("mara", "mara@example.org", PHRASE)
    pair = tokens.issue(user)
    encoded = make_password(PHRASE)
    application = Edge(Handler())
    login = caller(application, "POST", "/auth/login", body=BODY)

    async def hash_once() -> None:
        assert check_password(PHRASE, encoded)

    loop = asyncio.new_event_loop()
    print(f"Python {platform.python_version()}, Django {django.get_version()}, {os.cpu_count()} cores")
    costs = by_turns(loop, {"hash": Side(hash_once, 1), "login": Side(login, 1)}, rounds, passes=3)
    print("\nCPU of one sign-in (milliseconds)")
    for name, values in costs.items():
        print(f"  {name:8} {spread([value / 1000 for value in values]).text(2)}")
    print(f"  hash ÷ sign-in  {spread(ratio(costs['hash'], costs['login'])).text(3)}   (goal: 0.9 or more)")

    pool = ThreadPoolExecutor(4)
    shares = []
    for _ in range(max(3, rounds // 3)):
        hashes = loop.run_until_complete(a_second(pool, lambda: lambda: check_password(PHRASE, encoded), 20, 4))
        logins = loop.run_until_complete(a_second(pool, login, 20, 4))
        shares.append(logins / hashes)
    print(f"  sign-ins a second ÷ hashes a second, four at a time  {statistics.median(shares):.3f}")

    checked = caller(application, "GET", "/auth/me", token=pair.access)
    sides = {"bare": Side(caller(application, "GET", "/bare"), 5), "token": Side(checked, 5)}
    costs = by_turns(loop, sides, rounds)
    print("\nCPU of one request (microseconds)")
    for name, values in costs.items():
        print(f"  {name:8} {spread(values).text(0)}")
    print(f"  checking the token adds  {spread(added(costs, 'token', 'bare')).text(0)}")
    print(f"  token ÷ bare             {spread(ratio(costs['token'], costs['bare'])).text(2)}")
    loop.close()


if __name__ == "__main__":
    main()
