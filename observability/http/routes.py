"""The `route` label: one bounded name for each URL pattern."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import ResolverMatch

from .exchange import UNMATCHED
from .recording import OTHER, expect, serve

# Not counted as traffic: Prometheus and load balancers ask for these all day.
SILENT = frozenset({"/metrics", "/health", "/health/live", "/health/ready"})
# Answered without Django's middleware: to any Host header, never redirected to TLS, with no session and no database.
OPERATIONAL = SILENT | {"/alerts"}

_labels: dict[str, str] = {}


def label(match: ResolverMatch) -> str:
    """The route label of a resolved URL: its pattern, the admin's grouped by model."""
    name = _labels.get(match.route)
    if name is None:
        name = _labels[match.route] = _label(match.route, match.namespaces)
    return name


def _label(route: str, namespaces: list[str]) -> str:
    if namespaces[:1] == ["admin"]:
        segments = route.split("/")
        is_model = len(segments) > 3 and not any(character in segments[1] for character in "<^(")
        return f"/admin/{segments[1]}/{segments[2]}/" if is_model and "<" not in segments[2] else "/admin/"
    return "/" + route


def expect_known_routes(*, sockets: Iterable[str] = ()) -> None:
    """Create the series of every API and page route at 0; let the admin's, which are many, come as they are visited.

    Args:
        sockets: the routes of WebSockets, which the URL table does not know; a handshake is a GET.
    """
    for method in ("GET", OTHER):
        expect(method, UNMATCHED)
    serve("GET", settings.STATIC_URL)
    for route in sockets:
        expect("GET", route)
    for route, callback in _leaves(get_resolver().url_patterns, ""):
        if route.startswith("/admin/"):
            for method in {"GET", "POST", *getattr(callback, "methods", ())} - {"HEAD"}:
                serve(method, _label(route.removeprefix("/"), ["admin"]))
        elif route not in SILENT:
            for method in _methods(callback):
                expect(method, route)


def _leaves(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _leaves(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield "/" + route, pattern.callback


def _methods(callback: Any) -> list[str]:
    view_class = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    if view_class is None:
        named = getattr(callback, "methods", ("GET",))  # http.methods
    else:
        named = [name.upper() for name in view_class.http_method_names if hasattr(view_class, name)]
    return [name for name in named if name not in {"OPTIONS", "HEAD", "TRACE"}]
