"""Django's ASGI handler, telling the edge which route and which user a request had."""

from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponseBadRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, set_urlconf
from django.utils.functional import LazyObject

from .. import security
from ..problems import CONTENT_TYPE, error_response, problem_body, speaks_json
from .exchange import SCOPE_KEY, UNMATCHED, exchange_of
from .routes import OPERATIONAL, label

TECHNICAL_PAGES = {400, 404, 500}


class Handler(ASGIHandler):
    """Writes the route into the exchange, at no cost in thread hops, and lets operational paths past the middleware."""

    chunk_size = 2**18  # bytes; of what is streamed, each piece is copied once more where it is larger

    def __init__(self) -> None:
        super().__init__()
        without_middleware: Any = super()._get_response_async  # type: ignore[misc]
        self._operational = convert_exception_to_response(without_middleware)

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Resolve as Django does, and note the pattern."""
        exchange = exchange_of(request)
        try:
            match = super().resolve_request(request)
        except Resolver404:
            if exchange:
                exchange.route = UNMATCHED
            raise
        if exchange:
            exchange.route = label(match)
        return match

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """Django's; what cannot be made into a request is refused with a problem document."""
        try:
            request, refusal = super().create_request(scope, body_file)
        except ValueError:  # a charset with a NUL
            body_file.close()
            request, refusal = None, HttpResponseBadRequest()
        if refusal is not None:
            exchange = scope.get(SCOPE_KEY)
            body = problem_body(refusal.status_code, request_id=exchange.request_id if exchange else "-")
            refusal = JsonResponse(body, status=refusal.status_code, content_type=CONTENT_TYPE)
        return request, refusal

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, and note the user where the request came to know one (never loading it for that)."""
        response: Any
        if request.path_info in OPERATIONAL:
            set_urlconf(settings.ROOT_URLCONF)
            response = await self._operational(request)  # type: ignore[misc]
            response._resource_closers.append(request.close)
            if not response.streaming:
                response.headers.setdefault("Content-Length", str(len(response.content)))
        elif not _host_is_allowed(request):
            response = error_response(request, 400, "This site is not served under that host name.")
        else:
            response = await super().get_response_async(request)
        if settings.DEBUG and response.status_code in TECHNICAL_PAGES:
            response = _for_clients(request, response) if speaks_json(request) else _for_developers(response)
        exchange = exchange_of(request)
        if exchange:
            exchange.user_id = _known_user_id(request)
        return response  # type: ignore[no-any-return]


def _host_is_allowed(request: HttpRequest) -> bool:
    try:
        request.get_host()
    except DisallowedHost:
        security.record(type="bad_host", exchange=exchange_of(request), detail=request.headers.get("Host", ""))
        return False
    return True


def _for_clients(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Of Django's pages for developers, what a client of the JSON API gets in production."""
    if response.headers.get("Content-Type") == CONTENT_TYPE:
        return response
    return error_response(request, response.status_code, "")


def _for_developers(response: HttpResponseBase) -> HttpResponseBase:
    """Django's own technical pages hold inline styles and scripts; they exist in development only."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'unsafe-inline'; frame-ancestors 'none'")
    return response


def _known_user_id(request: HttpRequest) -> int | None:
    attributes: dict[str, Any] = request.__dict__
    user = attributes.get("_cached_user") or attributes.get("user")
    return None if isinstance(user, LazyObject) else getattr(user, "pk", None)
