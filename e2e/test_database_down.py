"""The database away, and the database hung: what must go on, what is told, and that all comes back by itself."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bambisleep.tests.environment import LONG
from e2e.postgresql import Database, postgresql
from e2e.servers import PRODUCTION, Installation, Server, wait_for

pytestmark = pytest.mark.needs("postgresql")

PASSWORD = "a long enough phrase"
AT_ONCE = 3  # seconds in which the operator's endpoints answer, whatever the database does


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgresql() as found:
        yield found


@pytest.fixture(scope="module")
def server(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    installation = Installation(tmp_path_factory.mktemp("data"), database.url)
    assert installation.manage("migrate", "-v0").returncode == 0
    account = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    made = installation.manage("createsuperuser", "--noinput", "--username=sam", "--email=sam@example.org", **account)
    assert made.returncode == 0, made.stderr
    installation.collect_static()
    with installation.serving("daphne", **PRODUCTION) as found:
        yield found


@pytest.fixture(autouse=True)
def _all_is_well(server: Server) -> None:
    """Each test begins where the one before has been got over."""
    wait_for(lambda: facts_are_fresh(server), "the facts are fresh", seconds=15)
    wait_for(lambda: server.http.get("/health/ready").status_code == 200, "the process is ready", seconds=15)
    server.http.cookies.clear()


@pytest.fixture
def access(server: Server) -> str:
    """An access token, given while the database was there."""
    answer = server.http.post("/auth/login", json={"username": "sam", "password": PASSWORD})
    token: str = answer.raise_for_status().json()["access"]
    return token


def facts_are_fresh(server: Server) -> bool:
    return (
        server.metric("bambisleep_collector_up", collector="facts") == 1
        and server.metric("bambisleep_facts_age_seconds") < 10
        and server.metric("users") == 1
    )


def timed(server: Server, path: str) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = server.http.get(path)
    return answer, time.monotonic() - began


def test_while_it_is_away_a_scrape_brings_the_events_and_says_that_the_facts_are_missing(
    server: Server, database: Database
) -> None:
    server.http.get("/dora")
    with database.away():
        for _ in range(6):
            answer, seconds = timed(server, "/metrics")
            assert answer.status_code == 200
            assert seconds < AT_ONCE
            assert 'bambisleep_collector_up{collector="facts"} 0.0' in answer.text
            assert "\nusers{" not in answer.text
        assert server.metric("http_requests_total", route="/dora", status="200") > 0


def test_while_it_is_away_the_process_lives_but_is_not_ready(server: Server, database: Database) -> None:
    with database.away():
        live, seconds = timed(server, "/health/live")
        assert (live.status_code, live.json()["status"]) == (200, "ok")
        assert seconds < AT_ONCE

        ready, seconds = timed(server, "/health/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"]["status"] == "failed"
        assert seconds < AT_ONCE


def test_while_it_is_away_the_api_asks_to_come_again(server: Server, database: Database, access: str) -> None:
    before = server.metric("http_requests_errors_total", type="server_error")
    with database.away():
        credentials = {"username": "sam", "email": "sam@example.org", "password": PASSWORD}
        answers = [
            server.http.get("/dora"),
            server.http.get("/auth/me", headers={"Authorization": f"Bearer {access}"}),
            server.http.post("/auth/login", json=credentials),
            server.http.post("/auth/register", json=credentials),
        ]
        for answer in answers:
            assert answer.status_code == 503, (answer.request.url, answer.text)
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["status"] == 503
        assert server.metric("http_requests_errors_total", type="server_error") == before + len(answers)
        assert "Traceback" not in server.output, server.output[-6000:]


def test_while_it_is_away_pages_ask_to_come_again(server: Server, database: Database) -> None:
    assert server.sign_in_to_admin("sam", PASSWORD).url.path == "/admin/"
    with database.away():
        answer = server.http.get("/admin/", headers={"Accept": "text/html"})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "X-Request-ID" in answer.headers
        assert "Traceback" not in server.output, server.output[-6000:]


def test_what_needs_no_database_goes_on(server: Server, database: Database) -> None:
    with database.away():
        assert httpx.get(f"{server.url}/", trust_env=False).status_code == 200
        assert server.http.get("/no/such/page").status_code == 404


def test_once_it_is_back_everything_is_back_within_15_seconds(server: Server, database: Database) -> None:
    with database.away():
        # The longer it is away, the rarer may the attempts to reach it have become.
        until = time.monotonic() + (90 if LONG else 10)
        wait_for(
            lambda: server.http.get("/dora").status_code == 503 and time.monotonic() > until, "a while", seconds=120
        )
        assert not facts_are_fresh(server)

    wait_for(lambda: facts_are_fresh(server), "facts after the database came back", seconds=15)
    assert server.http.get("/health/ready").status_code == 200
    assert server.http.get("/dora").status_code == 200
    assert server.sign_in_to_admin("sam", PASSWORD).url.path == "/admin/"


def test_while_it_hangs_scrapes_and_liveness_are_answered_at_once(server: Server, database: Database) -> None:
    with ThreadPoolExecutor(12) as clients:  # leaves many idle connections in the pool, each of which will hang
        assert {answer.status_code for answer in clients.map(server.http.get, ["/dora"] * 60)} == {200}
    with database.hung():
        for _ in range(8):
            answer, seconds = timed(server, "/metrics")
            assert answer.status_code == 200
            assert seconds < AT_ONCE
            assert 'bambisleep_collector_up{collector="facts"} 0.0' in answer.text
            live, seconds = timed(server, "/health/live")
            assert live.status_code == 200
            assert seconds < AT_ONCE
        ready, seconds = timed(server, "/health/ready")
        assert ready.status_code == 503
        assert seconds < AT_ONCE + 1

    wait_for(lambda: facts_are_fresh(server), "facts after the database woke up", seconds=15)
    wait_for(lambda: server.http.get("/health/ready").status_code == 200, "ready again", seconds=15)
    assert server.http.get("/dora").status_code == 200
