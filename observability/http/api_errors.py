"""DRF's exception hook. Apart from `problems`, because DRF itself imports what it needs while it is being loaded."""

from typing import Any

import structlog
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler
from rest_framework.views import set_rollback

from ..problems import (
    CONTENT_TYPE,
    DATABASE_AWAY,
    DATABASE_AWAY_DETAIL,
    DATABASE_AWAY_HEADERS,
    Problem,
    problem_body,
)
from .exchange import request_id_of

log = structlog.get_logger("bambisleep.http")


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: every exception that has an answer becomes a problem document; None leaves it to Django (500)."""
    request = context["request"]
    request_id = request_id_of(request._request)
    # A problem is JSON, whatever else the view speaks (the schema's speaks YAML first).
    request.accepted_renderer, request.accepted_media_type = JSONRenderer(), CONTENT_TYPE
    if isinstance(exception, Problem):
        set_rollback()
        more = {"code": exception.code, "errors": exception.errors}
        body = problem_body(exception.status, detail=exception.detail, request_id=request_id, **more)
        return Response(body, status=exception.status, headers=exception.headers, content_type=CONTENT_TYPE)
    if isinstance(exception, DATABASE_AWAY):
        set_rollback()
        log.error("database_unavailable", error=str(exception).strip()[:300])
        body = problem_body(503, detail=DATABASE_AWAY_DETAIL, request_id=request_id)
        return Response(body, status=503, headers=DATABASE_AWAY_HEADERS, content_type=CONTENT_TYPE)
    response = drf_exception_handler(exception, context)
    if response is None:
        return None
    errors = response.data if isinstance(exception, exceptions.ValidationError) else None
    if isinstance(errors, list):
        errors = {"non_field_errors": errors}
    detail = "The request is not valid." if errors else str(getattr(response, "data", {}).get("detail", ""))
    response.data = problem_body(response.status_code, detail=detail, request_id=request_id, errors=errors)
    response.content_type = CONTENT_TYPE
    return response
