"""Which methods a view of a function takes: said once, for Django to hold and for the routes' series to know."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.views.decorators.http import require_http_methods

View = TypeVar("View", bound=Callable[..., Any])


def takes(*methods: str) -> Callable[[View], View]:
    """Let a view take these methods, and refuse others with 405; a view that changes something says so by this.

    A view that says nothing (`require_safe`) is known for GET.

    @takes("GET", "HEAD", "POST")
    def cancel(request): …
    """

    def decorate(view: View) -> View:
        taking: Any = require_http_methods(methods)(view)
        taking.methods = methods
        return taking  # type: ignore[no-any-return]

    return decorate
