"""The addresses of WebSockets."""

from typing import Any

from channels.routing import URLRouter
from django.urls import path

from observability.http.edge import refuse_websocket

from .connection import ROUTE, chat

ROUTES = [f"/{ROUTE}"]  # on which something listens

# ASGI applications where Django's types expect views.
_routes: list[tuple[str, Any]] = [(ROUTE, chat), ("<path:anything>", refuse_websocket), ("", refuse_websocket)]
websockets: Any = URLRouter([path(route, application) for route, application in _routes])  # type: ignore[no-untyped-call]
