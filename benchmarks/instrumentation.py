"""What measuring a request costs: the edge, django-prometheus and OpenTelemetry, each beside the same bare request.

Also what the order of the middleware costs, in CPU time and in thread hops. All of it is CPU time of the whole process,
without a server or a socket: applications are called as an ASGI server calls them, one request at a time. It prints
ratios to put into a decision; it is no test, and it fails only where something does not run.
"""

import argparse
import asyncio
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

DATA_DIR = tempfile.TemporaryDirectory(prefix="benchmark-")
STATIC_ROOT = Path(DATA_DIR.name) / "static"
STATIC_ROOT.mkdir()
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "bambisleep.settings",
    "DEBUG": "false",
    "SECRET_KEY": os.urandom(40).hex(),
    "ALLOWED_HOSTS": "testserver",
    "DATA_DIR": DATA_DIR.name,
    "DATABASE_URL": f"sqlite:///{DATA_DIR.name}/db.sqlite3",
    "REDIS_URL": "",
    "TRUSTED_PROXIES": "1",
    "HTTPS": "true",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
}

import django  # noqa: E402

django.setup()

import structlog  # noqa: E402
from asgiref.sync import AsyncToSync, SyncToAsync  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: E402
from opentelemetry.instrumentation.django import DjangoInstrumentor  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.trace import NoOpTracerProvider  # noqa: E402

from bambisleep.urls import urlpatterns as site_urlpatterns  # noqa: E402
from benchmarks.sides import Side, added, by_turns, ratio, spread  # noqa: E402
from observability.http import edge  # noqa: E402
from observability.http.exchange import SCOPE_KEY  # noqa: E402
from observability.http.handler import Handler  # noqa: E402

Application = Callable[[Any, Any, Any], Awaitable[None]]

VIEWS = ("sync", "async")
WHITENOISE = "whitenoise.middleware.WhiteNoiseMiddleware"
DJANGO_PROMETHEUS = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]


def sync_view(request: HttpRequest) -> HttpResponse:
    """The least a view can do."""
    return HttpResponse(b"ok")


async def async_view(request: HttpRequest) -> HttpResponse:
    """The least an async view can do."""
    return HttpResponse(b"ok")


urlpatterns = [path("sync", sync_view, name="sync"), path("async", async_view, name="async"), *site_urlpatterns]

# --- A request, as nginx hands it on ----------------------------------------------------------------------------------

HEADERS = [
    (b"host", b"testserver"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-forwarded-proto", b"https"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://testserver/"),
    (b"sec-fetch-dest", b"document"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-site", b"same-origin"),
]
JSON_HEADERS = [*HEADERS, (b"content-type", b"application/json"), (b"content-length", b"2")]


def request_to(application: Application, target: str, method: str = "GET", status: int = 200) -> Callable[[], Any]:
    """A coroutine function that sends one request and fails where the answer's status is not `status`."""
    body = b"" if method == "GET" else b"{}"

    async def call() -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": target,
            "raw_path": target.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": list(HEADERS if method == "GET" else JSON_HEADERS),
            "client": ("127.0.0.1", 50_000),
            "server": ("testserver", 443),
        }
        incoming = [{"type": "http.request", "body": body, "more_body": False}]
        statuses = []

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await asyncio.get_running_loop().create_future()  # a client that stays until it is answered
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await application(scope, receive, send)
        if statuses != [status]:
            raise RuntimeError(f"{method} {target} was answered {statuses}, not {status}.")

    return call


# --- The applications -------------------------------------------------------------------------------------------------


async def null(scope: Any, receive: Any, send: Any) -> None:
    """Answer, and do nothing else."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def null_with_route(scope: Any, receive: Any, send: Any) -> None:
    """`null`, naming its route to the edge as our handler does."""
    scope[SCOPE_KEY].route = "/sync"
    await null(scope, receive, send)


def lines_at(level: int, file: TextIO) -> Any:
    """The site's logger as configured, from `level` on, writing to `file`."""
    with redirect_stderr(file):
        logger = structlog.get_config()["logger_factory"]("bambisleep.http")
    return structlog.wrap_logger(
        logger, wrapper_class=structlog.make_filtering_bound_logger(level), cache_logger_on_first_use=True
    )


def logging_with(logger: Any, call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """`call`, while the edge writes its line to `logger`."""

    async def switched() -> None:
        edge.log = logger
        await call()

    return switched


def edge_behind(proxies: int, application: Application) -> Application:
    """The edge, configured for so many proxies."""
    with override_settings(TRUSTED_PROXIES=proxies):
        return edge.Edge(application)


def django_with(middleware: list[str], handler_class: type[ASGIHandler] = ASGIHandler) -> Application:
    """Django under these middleware."""
    with override_settings(MIDDLEWARE=middleware):
        return handler_class()


def opentelemetry_django() -> Application:
    """Django as OpenTelemetry's Django instrumentation leaves it: a middleware, recording spans and metrics."""
    instrumentor = DjangoInstrumentor()
    with override_settings(MIDDLEWARE=[]):
        meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
        instrumentor.instrument(tracer_provider=TracerProvider(), meter_provider=meters)
        application = ASGIHandler()
        instrumentor.uninstrument()
    return application


def opentelemetry_asgi() -> Application:
    """Django in OpenTelemetry's ASGI wrapper, recording metrics only, as the edge does."""
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    return OpenTelemetryMiddleware(django_with([]), tracer_provider=NoOpTracerProvider(), meter_provider=meters)


def orders() -> dict[str, list[str]]:
    """The site's middleware in several orders; the others keep theirs, since they stand on one another."""
    others = [name for name in settings.MIDDLEWARE if name != WHITENOISE]
    return {
        "as in settings.py": list(settings.MIDDLEWARE),
        "without WhiteNoise": others,
        "WhiteNoise first": [WHITENOISE, *others],
        "WhiteNoise second": [*others[:1], WHITENOISE, *others[1:]],  # as its documentation has it
        "WhiteNoise in the middle": [*others[: len(others) // 2], WHITENOISE, *others[len(others) // 2 :]],
        "no middleware": [],
    }


# --- Thread hops ------------------------------------------------------------------------------------------------------


@contextmanager
def counted_hops() -> Iterator[dict[str, int]]:
    """Count the hops, to a thread and back, and from a thread to the event loop and back."""
    hops = {"to a thread": 0, "to the loop": 0}
    to_thread, to_loop = SyncToAsync.__call__, AsyncToSync.__call__

    async def counted_to_thread(self: Any, *args: Any, **kwargs: Any) -> Any:
        hops["to a thread"] += 1
        return await to_thread(self, *args, **kwargs)

    def counted_to_loop(self: Any, *args: Any, **kwargs: Any) -> Any:
        hops["to the loop"] += 1
        return to_loop(self, *args, **kwargs)

    SyncToAsync.__call__, AsyncToSync.__call__ = counted_to_thread, counted_to_loop  # type: ignore[method-assign]
    try:
        yield hops
    finally:
        SyncToAsync.__call__, AsyncToSync.__call__ = to_thread, to_loop  # type: ignore[method-assign]


def hops_of(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> int:
    """The hops of one call, its second: the first may load things."""
    loop.run_until_complete(call())
    with counted_hops() as hops:
        loop.run_until_complete(call())
    return sum(hops.values())


# --- The comparisons --------------------------------------------------------------------------------------------------


def recorders(devnull: TextIO) -> dict[str, Side]:
    """What records a request, and the request it is recorded of."""
    many, few = 150, 12
    silent, talking = lines_at(logging.WARNING, devnull), lines_at(logging.INFO, devnull)
    alone, unproxied = (request_to(edge_behind(proxies, null_with_route), "/sync") for proxies in (1, 0))
    bare = django_with([])
    mounted = edge_behind(1, django_with([], Handler))
    prometheus = django_with(DJANGO_PROMETHEUS)
    middleware, wrapper = opentelemetry_django(), opentelemetry_asgi()
    sides = {
        "null": Side(request_to(null, "/sync"), many),
        "edge alone": Side(logging_with(silent, alone), many),
        "edge alone, no proxy": Side(logging_with(silent, unproxied), many),
        "edge alone, with its line": Side(logging_with(talking, alone), many),
    }
    for view in VIEWS:
        target = f"/{view}"
        sides |= {
            f"bare, {view}": Side(request_to(bare, target), few),
            f"edge, {view}": Side(logging_with(silent, request_to(mounted, target)), few),
            f"edge with its line, {view}": Side(logging_with(talking, request_to(mounted, target)), few),
            f"django-prometheus, {view}": Side(request_to(prometheus, target), few),
            f"OpenTelemetry middleware, {view}": Side(request_to(middleware, target), few),
            f"OpenTelemetry wrapper, {view}": Side(request_to(wrapper, target), few),
        }
    return sides


REQUESTS: dict[str, tuple[str, str, int]] = {
    "sync view": ("/sync", "GET", 200),
    "async view": ("/async", "GET", 200),
    "GET /": ("/", "GET", 200),
    "POST /auth/login": ("/auth/login", "POST", 400),  # an empty body: refused before the database is asked
}


def stacks() -> dict[tuple[str, str], Side]:
    """Each order of the middleware, under each request."""
    sides = {}
    for order, middleware in orders().items():
        application = django_with(middleware, Handler)
        for name, (target, method, status) in REQUESTS.items():
            sides[order, name] = Side(request_to(application, target, method, status), 8)
    return sides


def print_recorders(costs: dict[str, list[float]]) -> None:
    """The edge, django-prometheus and OpenTelemetry beside a bare request; then the goals."""
    bare = {view: costs[f"bare, {view}"] for view in VIEWS}
    print('\n1. A bare Django request: no middleware, a view that answers "ok"')
    row("", "µs, sync view", "µs, async view")
    row("", *(spread(cost).text(0) for cost in bare.values()))

    print("\n2. What each adds to that request")
    row("", "µs, sync view", "µs, async view", "share, sync", "share, async")
    for name, side in (
        ("the edge: metrics", "edge"),
        ("the edge: metrics and a log line", "edge with its line"),
        ("django-prometheus, its two", "django-prometheus"),
        ("OpenTelemetry, Django middleware", "OpenTelemetry middleware"),
        ("OpenTelemetry, ASGI wrapper", "OpenTelemetry wrapper"),
    ):
        more = {view: added(costs, f"{side}, {view}", f"bare, {view}") for view in VIEWS}
        row(
            name,
            *(spread(cost).text(0) for cost in more.values()),
            *(percent(ratio(cost, bare[view])) for view, cost in more.items()),
        )
    print(
        "  The edge stands behind one proxy and includes what our handler adds to Django's. OpenTelemetry's middleware"
    )
    print("  records spans and metrics, its wrapper metrics only; nothing is exported.")

    print(
        "\n3. The edge alone, over and over, around an application that does nothing: the floor, with its code in cache"
    )
    row("", "µs", "", "share of bare, sync", "share of bare, async")
    for name, side in (
        ("metrics", "edge alone"),
        ("metrics, no proxy", "edge alone, no proxy"),
        ("metrics and a log line", "edge alone, with its line"),
    ):
        cost = added(costs, side, "null")
        row(name, spread(cost).text(1), "", *(percent(ratio(cost, bare[view])) for view in VIEWS))

    print("\nGoals for the edge, metrics only: alone, as they are worded (and around Django)")
    alone = added(costs, "edge alone", "null")
    for view in VIEWS:
        mounted = added(costs, f"edge, {view}", f"bare, {view}")
        other = added(costs, f"django-prometheus, {view}", f"bare, {view}")
        goal(f"at most 3 % of a bare request, {view} view", mounted, alone, bare[view], 0.03)
        goal(f"at most 1/10 of what django-prometheus adds, {view} view", mounted, alone, other, 0.1)


def print_stacks(costs: dict[tuple[str, str], list[float]], hops: dict[tuple[str, str], int]) -> None:
    """CPU time and hops of each order."""
    print("\n4. The site's middleware in several orders (our handler, without the edge)")
    for request in REQUESTS:
        row(request, "thread hops", "µs", "× settings.py's order")
        usual = costs["as in settings.py", request]
        for order in orders():
            cost = costs[order, request]
            relative = spread(ratio(cost, usual)).text(2)
            row(f"  {order}", str(hops[order, request]), spread(cost).text(0), relative)


def row(name: str, *cells: str) -> None:
    """One line of a table."""
    print(f"  {name:<34}" + "".join(f"{cell:>25}" for cell in cells))


def percent(shares: list[float]) -> str:
    """Shares as a percentage with its spread."""
    return spread([share * 100 for share in shares]).text(2, " %")


def goal(sentence: str, mounted: list[float], alone: list[float], base: list[float], limit: float) -> None:
    """Whether a goal is met, by the median of what the edge costs around an application that does nothing."""
    share, around_django = spread(ratio(alone, base)), spread(ratio(mounted, base))
    verdict = "met   " if share.median <= limit else "MISSED"
    print(f"  {verdict} {sentence}: {share.median:.1%} ({around_django.median:.1%})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: a look, not a result")
    rounds, stack_rounds = (4, 2) if parser.parse_args().quick else (15, 15)
    started = perf_counter()
    loop = asyncio.new_event_loop()
    storages = settings.STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with open(os.devnull, "w") as devnull, override_settings(ROOT_URLCONF=__name__, STORAGES=storages):
        recorder_costs = by_turns(loop, recorders(devnull), rounds)
        stack_sides = stacks()
        hops = {key: hops_of(loop, side.call) for key, side in stack_sides.items()}
        stack_costs = by_turns(loop, stack_sides, stack_rounds, passes=2)
    loop.close()
    print("CPU time of the whole process, a request at a time, in microseconds.")
    print(f"Medians of {rounds} rounds by turns ({stack_rounds} in table 4), and the quartiles of the rounds.")
    print(f"Python {platform.python_version()}, Django {django.get_version()}, {os.cpu_count()} cores.")
    print_recorders(recorder_costs)
    print_stacks(stack_costs, hops)
    print(f"\nTook {perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
