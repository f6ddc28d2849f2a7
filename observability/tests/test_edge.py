"""The edge: request ids, client addresses, limits, and one count for each request."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from bambisleep.tests.client import AsgiClient
from observability.http.client import Head
from observability.http.edge import Edge
from observability.http.exchange import unanswered
from observability.http.recording import expect

pytestmark = pytest.mark.django_db

Metric = Callable[..., float]


def call(application: Any, *, path: str = "/x", body: bytes = b"", disconnect: bool = False) -> list[dict[str, Any]]:
    """Send one request to an edge around `application`, and collect what it sends."""
    sent: list[dict[str, Any]] = []
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return incoming.pop(0) if incoming and not disconnect else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "client": ("192.0.2.1", 1)}
    async_to_sync(Edge(application))(scope, receive, send)  # type: ignore[arg-type]
    return sent


def test_it_answers_with_a_request_id_of_its_own(asgi: AsgiClient) -> None:
    first, second = asgi.get("/"), asgi.get("/")
    assert len(first.headers["x-request-id"]) == 32
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(("sent", "kept"), [("abcd-1234.EF_5", True), ("short", False), ("a b c d e f g h", False)])
def test_it_keeps_a_request_id_that_is_safe_to_log(asgi: AsgiClient, sent: str, kept: bool) -> None:
    answer = asgi.get("/", headers={"X-Request-ID": sent})
    assert (answer.headers["x-request-id"] == sent) is kept


def test_it_counts_a_request_once_under_its_route(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("http_requests_total", method="GET", route="/", status="200")
    timed = metric("http_request_duration_seconds_count", method="GET", route="/")
    asgi.get("/")
    assert metric("http_requests_total", method="GET", route="/", status="200") == before + 1
    assert metric("http_request_duration_seconds_count", method="GET", route="/") == timed + 1


def test_it_counts_what_matches_nothing_as_unmatched(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("http_requests_errors_total", route="unmatched", type="client_error")
    for number in range(5):
        assert asgi.get(f"/no/such/{number}").status == 404
    assert metric("http_requests_errors_total", route="unmatched", type="client_error") == before + 5


def test_it_groups_the_admin_by_model(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("http_requests_total", route="/admin/delivery/deployment/")
    asgi.get("/admin/delivery/deployment/")
    asgi.get("/admin/delivery/deployment/5/change/")
    assert metric("http_requests_total", route="/admin/delivery/deployment/") == before + 2


@pytest.mark.parametrize("method", ["FOO", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_it_counts_unknown_methods_as_other(asgi: AsgiClient, metric: Metric, method: str) -> None:
    before = metric("http_requests_total", method="OTHER")
    answer = asgi.request(method, "/auth/login")
    assert answer.status == 405
    assert metric("http_requests_total", method="OTHER") == before + 1
    assert metric("http_requests_total", method=method) == 0


@pytest.mark.parametrize("path", ["/metrics", "/health", "/health/live", "/health/ready"])
@pytest.mark.django_db(transaction=True)
def test_it_does_not_count_scrapes_and_health_checks_as_traffic(asgi: AsgiClient, metric: Metric, path: str) -> None:
    before = metric("http_requests_total")
    assert asgi.get(path).status == 200
    assert metric("http_requests_total") == before


@pytest.mark.parametrize("path", ["/metrics", "/health/live"])
@pytest.mark.django_db(transaction=True)
def test_operational_paths_answer_to_any_host_and_without_tls(asgi: AsgiClient, path: str) -> None:
    with override_settings(SECURE_SSL_REDIRECT=True):
        assert asgi.get(path, headers={"Host": "10.1.2.3:3000"}).status == 200


def test_it_refuses_a_body_that_says_it_is_too_large(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("http_requests_total", route="/auth/login", status="413")
    answer = asgi.post("/auth/login", body=b"{}", headers={"Content-Length": "5000000"})
    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert metric("http_requests_total", route="/auth/login", status="413") == before + 1


def test_it_refuses_a_body_that_turns_out_too_large(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("http_requests_total", route="/auth/login", status="413")
    answer = asgi.post("/auth/login", chunks=[b"x" * 600_000] * 3)
    assert answer.status == 413
    assert metric("http_requests_total", route="/auth/login", status="413") == before + 1


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "+5", " "])
def test_it_refuses_a_length_that_is_no_number(asgi: AsgiClient, length: str) -> None:
    assert asgi.post("/auth/login", body=b"{}", headers={"Content-Length": length}).status == 400


def test_it_counts_a_client_that_went_away_as_499(asgi: AsgiClient, metric: Metric) -> None:
    before, all_before = metric("http_requests_total", status="499"), metric("http_requests_total")
    asgi.post("/auth/login", chunks=[], hang_up=True)
    assert metric("http_requests_total", status="499") == before + 1
    assert metric("http_requests_total") == all_before + 1


def test_it_counts_a_hang_up_in_mid_stream_once(metric: Metric) -> None:
    async def streams(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    before = metric("http_requests_total")
    call(streams, disconnect=True)
    assert metric("http_requests_total", route="unmatched", status="499") >= 1
    assert metric("http_requests_total") == before + 1


def test_it_times_a_stream_to_its_last_byte_and_media_to_its_first(metric: Metric) -> None:
    import asyncio

    def streaming(*, media: bool) -> Any:
        async def stream(scope: Any, receive: Any, send: Any) -> None:
            scope["bambisleep"].streams_media = media
            scope["bambisleep"].route = f"/test/media/{media}"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(0.2)
            await send({"type": "http.response.body", "body": b"last"})

        return stream

    for media in (False, True):
        expect("GET", f"/test/media/{media}")
    call(streaming(media=False))
    call(streaming(media=True))
    assert metric("http_request_duration_seconds_sum", route="/test/media/False") >= 0.2
    assert metric("http_request_duration_seconds_sum", route="/test/media/True") < 0.2


@pytest.mark.parametrize(
    ("media", "begins", "errors"), [(True, True, 0), (True, False, 1), (False, True, 1), (False, False, 1)]
)
def test_who_leaves_media_that_has_begun_makes_no_error(metric: Metric, media: bool, begins: bool, errors: int) -> None:
    async def streams(scope: Any, receive: Any, send: Any) -> None:
        scope["bambisleep"].streams_media = media
        if begins:
            await send({"type": "http.response.start", "status": 206, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    left, before = metric("http_requests_total", status="499"), metric("http_requests_errors_total")
    call(streams, disconnect=True)

    assert metric("http_requests_total", status="499") == left + 1
    assert metric("http_requests_errors_total") == before + errors


def test_it_answers_500_once_for_an_application_that_raises(metric: Metric) -> None:
    async def raises(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    before = metric("http_requests_errors_total", type="server_error")
    sent = call(raises)
    assert sent[0]["status"] == 500
    assert b"ZeroDivision" not in sent[1]["body"]
    assert metric("http_requests_errors_total", type="server_error") == before + 1


@pytest.mark.parametrize(("media", "status"), [(False, 200), (True, 206)], ids=["a page", "media"])
def test_it_counts_an_exception_in_mid_stream_as_a_server_error(metric: Metric, media: bool, status: int) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        scope["bambisleep"].streams_media = media
        await send({"type": "http.response.start", "status": status, "headers": []})
        raise ZeroDivisionError

    before = metric("http_requests_errors_total", type="server_error")
    with pytest.raises(ZeroDivisionError):
        call(breaks)
    assert metric("http_requests_errors_total", type="server_error") == before + 1


def test_it_drops_headers_that_could_forge_a_client_or_a_path(asgi: AsgiClient) -> None:
    forged = [(b"x-forwarded-for", b"1.1.1.1"), (b"daphne-root-path", b"/evil"), (b"accept", b"*/*")]
    assert Head(forged).kept == [(b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("header", "proxies", "client"),
    [
        (b"198.51.100.1", 0, "192.0.2.1"),
        (b"198.51.100.1", 1, "198.51.100.1"),
        (b"6.6.6.6, 198.51.100.1", 1, "198.51.100.1"),
        (b"6.6.6.6, 198.51.100.1, 10.0.0.1", 2, "198.51.100.1"),
        (b"198.51.100.1", 2, "192.0.2.1"),
        (b"not-an-address", 1, "192.0.2.1"),
        (b"[2001:db8::1]", 1, "2001:db8::1"),
        (b"", 1, "192.0.2.1"),
    ],
)
def test_it_believes_only_what_its_own_proxies_wrote(header: bytes, proxies: int, client: str) -> None:
    found = Head([(b"x-forwarded-for", header)]).client(("192.0.2.1", 1), proxies)
    assert found is not None
    assert found[0] == client


def test_it_refuses_headers_without_end(asgi: AsgiClient) -> None:
    assert asgi.get("/", headers={"X-Long": "a" * 40_000}).status == 431
    assert asgi.get("/", headers={f"X-{number}": "a" * 100 for number in range(400)}).status == 431


def test_it_says_which_methods_there_are(asgi: AsgiClient) -> None:
    assert "POST" in asgi.request("TRACE", "/admin/").headers["allow"]


def test_a_scrape_is_not_in_progress_itself(asgi: AsgiClient, metric: Metric) -> None:
    before = metric("http_requests_in_progress")
    seen: list[float] = []

    async def looks(scope: Any, receive: Any, send: Any) -> None:
        seen.append(metric("http_requests_in_progress"))

    call(looks)
    call(looks, path="/health/live")
    assert seen == [before + 1, before]


@pytest.mark.parametrize("fails", [False, True])
def test_a_request_is_unanswered_until_its_answer_begins(fails: bool) -> None:
    seen: list[int] = []

    async def looks(scope: Any, receive: Any, send: Any) -> None:
        seen.append(len(unanswered))
        if fails:
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append(len(unanswered))
        await send({"type": "http.response.body", "body": b""})

    call(looks)

    assert seen == ([1] if fails else [1, 0])
    assert unanswered == set()


@pytest.mark.parametrize(
    ("method", "path", "counted", "timed"),
    [
        ("HEAD", "/", ("HEAD", "/"), ("GET", "/")),
        ("OPTIONS", "/auth/login", ("OPTIONS", "/auth/login"), ("OTHER", "unmatched")),
        ("DELETE", "/auth/login", ("OTHER", "/auth/login"), ("OTHER", "unmatched")),
        ("POST", "/no/such", ("POST", "unmatched"), ("OTHER", "unmatched")),
        ("GET", "/no/such", ("GET", "unmatched"), ("GET", "unmatched")),
    ],
)
def test_what_a_route_does_not_serve_makes_no_histogram_of_its_own(
    asgi: AsgiClient, metric: Metric, method: str, path: str, counted: tuple[str, str], timed: tuple[str, str]
) -> None:
    labels = {"method": counted[0], "route": counted[1]}
    durations = {"method": timed[0], "route": timed[1]}
    before = metric("http_requests_total", **labels), metric("http_request_duration_seconds_count", **durations)
    asgi.request(method, path)
    after = metric("http_requests_total", **labels), metric("http_request_duration_seconds_count", **durations)
    assert after == (before[0] + 1, before[1] + 1)
