"""Under which method a request is counted, held against the table of who may do what: what a view takes, or OTHER."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import resolve

from accounts.models import User
from bambisleep.permissions import expected
from bambisleep.tests.client import AsgiClient
from bambisleep.tests.objects import objects_of
from bambisleep.tests.routes import Route, every_route
from observability.http.routes import SILENT, label

Metric = Callable[..., float]

CHANGING = {"GET", "POST", "PUT", "PATCH", "DELETE"}
UPLOAD = "/admin/content/mediafile/uploads/00000000-0000-4000-8000-000000000000/"


def _taken() -> dict[str, set[str]]:
    """Of each route, what nobody is told is not served."""
    found: dict[str, set[str]] = defaultdict(set)
    for (route, method), words in expected().items():
        if "–" not in words.values():
            found[route].add(method)
    return found


def _is_function(route: Route) -> bool:
    """Whether Django cannot read from the view which methods it takes."""
    is_class = any(hasattr(route.callback, name) for name in ("view_class", "cls"))
    return not is_class and not route.template.startswith("admin/") and f"/{route.template}" not in SILENT


@pytest.mark.django_db
def test_a_function_s_requests_are_counted_and_timed_by_the_methods_that_it_takes(
    asgi: AsgiClient, metric: Metric
) -> None:
    owner = User.objects.create_user("mara", "mara@example.org", "a long enough phrase")
    values, taken, wrong = objects_of(owner=owner), _taken(), []
    functions = [route for route in every_route() if _is_function(route)]
    assert {"/billing/checkout/", "/billing/change/", "/accounts/data/keep/"} <= {route.group for route in functions}
    for route in functions:
        path = route.path(values.of(route))
        name = label(resolve(path))
        for method in sorted(CHANGING):
            counted = method if method in taken[route.group] else "OTHER"
            timed = (counted, name) if counted != "OTHER" else ("OTHER", "unmatched")
            before = _counts(metric, counted, name, timed)
            asgi.request(method, path)
            if _counts(metric, counted, name, timed) != [number + 1 for number in before]:
                wrong.append(f"{method} {name} is not counted as {counted}")

    assert not wrong, "\n".join(wrong)


def _counts(metric: Metric, method: str, route: str, timed: tuple[str, str]) -> list[float]:
    return [
        metric("http_requests_total", method=method, route=route),
        metric("http_request_duration_seconds_count", method=timed[0], route=timed[1]),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "counted"), [("PATCH", "PATCH"), ("DELETE", "DELETE"), ("PUT", "OTHER")])
def test_the_pieces_of_an_upload_are_counted_as_what_they_are(
    asgi: AsgiClient, metric: Metric, method: str, counted: str
) -> None:
    labels: dict[str, Any] = {"method": counted, "route": "/admin/content/mediafile/"}
    before = metric("http_requests_total", **labels)

    asgi.request(method, UPLOAD)

    assert metric("http_requests_total", **labels) == before + 1
