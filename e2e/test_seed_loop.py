"""The seed's loop of a hundred failed logins, as written there: what is counted, and what Prometheus sees of it."""

import subprocess
from pathlib import Path

import pytest

from bambisleep.tests.environment import LONG
from e2e.servers import PRODUCTION, Installation, Server, prometheus, query, wait_for

LOOP = """
for i in {1..100}; do curl -X POST http://localhost:3000/auth/login \\
  -H "Content-Type: application/json" \\
  -d '{"username":"invalid","password":"wrong"}'; done
"""
FAILED_LOGINS = 'auth_attempts_total{type="login",success="false"}'
LOGIN_ERRORS = 'http_requests_errors_total{route="/auth/login"}'


@pytest.mark.needs("curl", "bash")
@pytest.mark.parametrize("name", ["runserver", "daphne", "uvicorn"] if LONG else ["runserver", "daphne"])
def test_it_is_counted_to_the_last_one(installation: Installation, name: str) -> None:
    settings = {} if name == "runserver" else PRODUCTION
    installation.manage("unlock_account", "invalid")  # the loop before this one locked it
    with installation.serving(name, **settings) as server:
        _run_loop(server)

        wait_for(lambda: server.metric("http_requests_total", route="/auth/login") >= 100, "the last one is counted")
        assert server.metric("auth_attempts_total", type="login", success="false") == 100
        assert server.metric("auth_attempts_total", success="true") == 0
        assert server.metric("http_requests_errors_total", route="/auth/login", method="POST") == 100
        assert server.metric("http_requests_errors_total", route="/auth/login", type="client_error") == 100
        assert server.metric("http_requests_total", route="/auth/login") == 100
        assert server.metric("http_request_duration_seconds_count", route="/auth/login") == 100


@pytest.mark.needs("curl", "bash", "prometheus")
def test_prometheus_sees_it_from_the_first_failure_on(installation: Installation, tmp_path: Path) -> None:
    installation.manage("unlock_account", "invalid")
    with installation.serving("daphne", **PRODUCTION) as server, prometheus(tmp_path, server) as monitor:
        wait_for(lambda: query(monitor, FAILED_LOGINS) == 0, "the first scrape, before anything has failed")

        _run_loop(server)

        for series in (FAILED_LOGINS, LOGIN_ERRORS):
            increase = f"increase({series}[1m]) > 0"
            wait_for(lambda promql=increase: query(monitor, promql), f"Prometheus answers {increase}")


def _run_loop(server: Server) -> None:
    loop = LOOP.replace("localhost:3000", f"localhost:{server.port}")
    done = subprocess.run(["bash", "-c", loop], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    answers = done.stdout.replace('"status": ', '"status":')
    assert answers.count('"status":401') == 10
    assert answers.count('"status":429') == 90  # locked out, and counted all the same
