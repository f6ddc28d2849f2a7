"""GET /metrics on a real server, read by the tools that will read it in production."""

import gzip
import re
import subprocess
from collections.abc import Iterable, Iterator

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from e2e.servers import PRODUCTION, Installation, Server, wait_for

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# Gauges whose names end in `_total`: the seed's own, and two of django-prometheus.
NAMED_BY_OTHERS = {
    "websocket_connections_total",
    "django_migrations_applied_total",
    "django_migrations_unapplied_total",
}
# The metric contract of the rooms that stand, as each family stands in the text.
CONTRACT = {
    "http_requests_total": "counter",
    "http_request_duration_seconds": "histogram",
    "http_requests_errors_total": "counter",
    "http_requests_in_progress": "gauge",
    "auth_attempts_total": "counter",
    "auth_active_sessions": "gauge",
    "security_events_total": "counter",
    "security_events_dropped_total": "counter",
    "deployment_frequency_total": "counter",
    "deployment_failures_total": "counter",
    "deployment_lead_time_seconds": "histogram",
    "mttr_seconds": "histogram",
    "change_failure_rate": "gauge",
    "dora_deployments_per_day": "gauge",
    "dora_change_lead_time_seconds": "summary",
    "dora_recovery_time_seconds": "summary",
    "dora_rework_rate": "gauge",
    "dora_samples": "gauge",
    "dora_excluded": "gauge",
    "deployment_last_timestamp_seconds": "gauge",
    "incidents_open": "gauge",
    "incidents_reopened_total": "counter",
    "incident_oldest_open_timestamp_seconds": "gauge",
    "users": "gauge",
    "bambisleep_build_info": "gauge",
    "bambisleep_collector_up": "gauge",
    "bambisleep_fact_up": "gauge",
    "bambisleep_facts_age_seconds": "gauge",
}


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Server]:
    """A production server on an installation with demo data, so that every metric has something to say."""
    assert installation.manage("load_demo").returncode == 0
    with installation.serving("daphne", **PRODUCTION) as found:
        yield found


@pytest.mark.needs("promtool")
def test_promtool_has_nothing_to_remark_but_names_that_others_chose(server: Server) -> None:
    text = server.http.get("/metrics").text

    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)

    remarks = {line.split()[0]: line for line in (checked.stdout + checked.stderr).splitlines()}
    assert remarks.keys() <= NAMED_BY_OTHERS, list(remarks.values())
    assert checked.returncode == (3 if remarks else 0)


def test_the_text_format_is_the_default(server: Server) -> None:
    answer = server.http.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert list(text_string_to_metric_families(answer.text))


def test_openmetrics_parses_strictly(server: Server) -> None:
    answer = server.http.get("/metrics", headers={"Accept": OPENMETRICS})

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in openmetrics_families(answer.text)}
    assert {"http_requests", "auth_attempts", "deployment_frequency", "dora_change_lead_time_seconds"} <= names


def test_both_formats_tell_the_same_series(server: Server) -> None:
    def series(families: Iterable[Metric]) -> set[tuple[str, str]]:
        return {(sample.name, str(sorted(sample.labels.items()))) for family in families for sample in family.samples}

    plain = server.http.get("/metrics").text
    strict = server.http.get("/metrics", headers={"Accept": OPENMETRICS}).text

    assert series(text_string_to_metric_families(plain)) == series(openmetrics_families(strict))


def test_it_is_compressed_for_who_takes_that(server: Server) -> None:
    with server.http.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())

    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) == len(packed)
    assert b"# TYPE http_requests_total counter" in gzip.decompress(packed)


def test_it_is_plain_for_who_does_not(server: Server) -> None:
    answer = server.http.get("/metrics", headers={"Accept-Encoding": "identity"})

    assert "Content-Encoding" not in answer.headers
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_head_answers_the_headers_alone(server: Server) -> None:
    answer = server.http.head("/metrics")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.content == b""


def test_head_sends_no_body_however_large_the_page(server: Server) -> None:
    head, _, body = server.raw(b"HEAD /api/schema HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").partition(
        b"\r\n\r\n"
    )

    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length
    assert int(length[1]) > 65_536  # daphne forgets that it answers a HEAD after the first chunk
    assert body == b""


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain; version=1.x",
        "application/openmetrics-text; version=1.x",
        "text/plain; version=..; escaping=x, text/plain; version=",
        "text/plain; version=1.0.0\xb2",
    ],
)
def test_an_accept_that_makes_no_sense_gets_plain_text(server: Server, accept: str) -> None:
    answer = server.http.get("/metrics", headers={"Accept": accept.encode("latin-1")})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert list(text_string_to_metric_families(answer.text))


@pytest.mark.parametrize("version", ["1.1.x", "2..", "99.\xb2"])
def test_a_version_that_nobody_knows_is_answered(server: Server, version: str) -> None:
    accept = f"application/openmetrics-text; version={version}"

    answer = server.http.get("/metrics", headers={"Accept": accept.encode("latin-1")})

    assert answer.status_code == 200
    assert answer.text.endswith("# EOF\n")


def test_nothing_but_get_and_head_is_a_scrape(server: Server) -> None:
    answer = server.http.post("/metrics")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_every_metric_of_the_contract_is_there_with_its_type_and_help(server: Server) -> None:
    lines = server.http.get("/metrics").text.splitlines()
    types = dict(line.split(" ", 3)[2:] for line in lines if line.startswith("# TYPE "))
    helps = {line.split(" ", 3)[2]: line.split(" ", 3)[3] for line in lines if line.startswith("# HELP ")}

    assert {name: types.get(name) for name in CONTRACT} == CONTRACT
    for name in CONTRACT:
        assert helps[name].endswith("."), f"{name}: {helps[name]!r} is no sentence"


def test_every_fact_is_computed(server: Server) -> None:
    facts = wait_for(lambda: server.samples("bambisleep_fact_up"), "a scrape tells of facts")

    assert {labels["fact"]: value for labels, value in facts if value != 1} == {}


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("GET", "/ws/chat/<slug:slug>/"),
        ("POST", "/billing/checkout/"),
        ("GET", "/billing/cancel/"),
        ("POST", "/billing/cancel/"),
        ("POST", "/accounts/data/delete/"),
    ],
)
def test_errors_and_durations_are_there_before_the_first(server: Server, method: str, route: str) -> None:
    errors = [labels["type"] for labels, _ in server.samples("http_requests_errors_total") if labels["route"] == route]
    timed = [
        labels["method"]
        for labels, _ in server.samples("http_request_duration_seconds_count")
        if labels["route"] == route
    ]

    assert {"client_error", "server_error"} <= set(errors)
    assert method in timed


def test_no_family_is_told_twice(server: Server) -> None:
    names = [line.split()[2] for line in server.http.get("/metrics").text.splitlines() if line.startswith("# TYPE ")]

    assert len(names) == len(set(names))


def test_no_created_series_double_the_counters(server: Server) -> None:
    assert "_created" not in server.http.get("/metrics").text


def test_scrapes_and_health_checks_are_no_traffic(server: Server) -> None:
    for path in ("/metrics", "/health", "/health/live", "/health/ready"):
        server.http.get(path)

    routes = {labels["route"] for labels, _ in server.samples("http_requests_total")}
    assert not routes & {"/metrics", "/health", "/health/live", "/health/ready"}


@pytest.mark.parametrize("host", ["host.docker.internal:3000", "10.1.2.3:3000", "anything.example", "a_b"])
def test_it_answers_to_any_host_header(server: Server, host: str) -> None:
    assert server.http.get("/metrics", headers={"Host": host}).status_code == 200
    assert server.http.get("/health", headers={"Host": host}).status_code == 200
    assert server.http.get("/dora", headers={"Host": host}).status_code == 400


def test_with_a_token_set_it_answers_to_that_alone(installation: Installation) -> None:
    with installation.serving("daphne", METRICS_TOKEN="a scrape token", **PRODUCTION) as guarded:

        def scrape(**headers: str) -> httpx.Response:
            return guarded.http.get("/metrics", headers=headers)

        assert scrape().status_code == 401
        assert scrape().headers["Content-Type"] == "application/problem+json"
        assert scrape().headers["WWW-Authenticate"].startswith("Bearer")
        assert scrape(Authorization="Bearer another").status_code == 401
        assert scrape(Authorization="Bearer a scrape token").status_code == 200
        assert guarded.http.get("/health").status_code == 200
