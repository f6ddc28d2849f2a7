"""Errors as problem details, in one place (RFC 9457).

Raise a `Problem` from a subject function; the JSON API answers it as application/problem+json, and so do the handlers
for errors that never reach a view. Pages get an HTML error page.
"""

import errno
import sys
from http import HTTPStatus
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from . import security
from .http.exchange import request_id_of

DATABASE_AWAY = (OperationalError, InterfaceError)
DATABASE_AWAY_DETAIL = "The database does not answer. Try again in a moment."
DATABASE_AWAY_HEADERS = {"Retry-After": "5"}  # seconds
NO_DESCRIPTORS_DETAIL = "This process has too much to do at once. Try again in a moment."
log = structlog.get_logger("bambisleep.http")

CONTENT_TYPE = "application/problem+json"
JSON_PATHS = ("/auth/", "/dora", "/alerts", "/api/", "/metrics", "/health", "/stripe/")


class Problem(Exception):
    """An error that a client can do something about.

    Args:
        detail: one sentence for the person who reads it.
        errors: field name to list of sentences, where fields are at fault.
    """

    status = 400
    title = ""
    code = ""  # for programs, where one status has several reasons
    headers: dict[str, str] = {}

    def __init__(self, detail: str, *, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class Unauthorized(Problem):
    """Whoever asks has not shown who they are (401)."""

    status = 401
    headers = {"WWW-Authenticate": 'Bearer realm="api"'}


class Conflict(Problem):
    """What is asked contradicts what is stored (409)."""

    status = 409


def problem_body(status: int, *, detail: str = "", request_id: str = "-", **more: Any) -> dict[str, Any]:
    """The members of a problem document (RFC 9457, section 3.1), with the request id to quote to the operator."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    return {**body, "request_id": request_id, **{key: value for key, value in more.items() if value}}


def speaks_json(request: HttpRequest) -> bool:
    """Whether an error is answered as a problem document: on JSON endpoints, and to clients that ask for no HTML."""
    return request.path.startswith(JSON_PATHS) or "text/html" not in request.headers.get("Accept", "")


def error_response(
    request: HttpRequest, status: int, detail: str, headers: dict[str, str] | None = None
) -> HttpResponse:
    """An error page for people, or a problem document where JSON is spoken."""
    request_id = request_id_of(request)
    if speaks_json(request):
        body = problem_body(status, detail=detail, request_id=request_id)
        return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)
    context = {"status": status, "title": HTTPStatus(status).phrase, "detail": detail, "request_id": request_id}
    try:
        response = render(None, "error.html", context, status=status)
    except OSError:  # no file descriptor is left to read the page with; whoever asks is told all the same
        body = problem_body(status, detail=detail, request_id=request_id)
        return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)
    for name, value in (headers or {}).items():
        response[name] = value
    return response


def database_away(request: HttpRequest) -> HttpResponse:
    """503, to be tried again."""
    log.error("database_unavailable", error=str(sys.exc_info()[1]).strip()[:300])
    response = error_response(request, 503, DATABASE_AWAY_DETAIL, DATABASE_AWAY_HEADERS)
    response._has_been_logged = True  # type: ignore[attr-defined]  # a line says it; a traceback for each does not
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400."""
    return error_response(request, 400, "The request could not be understood.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403."""
    return error_response(request, 403, "You may not see this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW."""
    security.record(type="bad_origin" if reason.startswith("Origin checking") else "csrf_failure", detail=reason)
    return error_response(request, 403, "The form has expired or came from another site. Go back, reload, send again.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404."""
    return error_response(request, 404, "There is nothing at this address.")


def too_many_requests(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """handler429, which allauth calls where one of its limits is reached."""
    security.record(type="rate_limited", detail=request.path)
    detail = "That was too often. Wait a while, then try again."
    return error_response(request, 429, detail, {"Retry-After": "60"})  # seconds: the shortest window of its limits


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500; 503 where the database does not answer, or no descriptor is left, since that passes by itself."""
    error = sys.exc_info()[1]
    if isinstance(error, DATABASE_AWAY):
        return database_away(request)
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        log.error("descriptors_exhausted", path=request.path[:200])
        response = error_response(request, 503, NO_DESCRIPTORS_DETAIL, DATABASE_AWAY_HEADERS)
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response
    return error_response(request, 500, "Something went wrong on our side. It has been recorded.")
