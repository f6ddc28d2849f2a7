"""POST /stripe/webhook/: Stripe's side door. No part of the documented API: only Stripe speaks to it."""

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from observability.http.exchange import request_id_of
from observability.problems import CONTENT_TYPE, Problem, error_response, problem_body

from . import webhooks

log = structlog.get_logger("bambisleep.payments")


@csrf_exempt
def webhook(request: HttpRequest) -> HttpResponse:
    """Take an event in; Stripe repeats whatever is not answered with 2xx, for three days."""
    if request.method != "POST":
        return error_response(request, 405, "Events are posted.", {"Allow": "POST"})
    try:
        outcome = webhooks.receive(body=request.body, signature=request.headers.get("Stripe-Signature", ""))
    except Problem as problem:
        body = problem_body(problem.status, detail=problem.detail, request_id=request_id_of(request), code=problem.code)
        response = JsonResponse(body, status=problem.status, content_type=CONTENT_TYPE, headers=problem.headers)
        response._has_been_logged = True  # type: ignore[attr-defined]  # with what it was about
        return response
    return JsonResponse({"outcome": outcome})
