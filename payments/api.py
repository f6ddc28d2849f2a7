"""POST /stripe/webhook/: Stripe's side door. No part of the documented API: only Stripe speaks to it."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from observability.http.exchange import request_id_of
from observability.problems import CONTENT_TYPE, Problem, error_response, problem_body

from . import webhooks


@method_decorator(csrf_exempt, name="dispatch")
class WebhookView(View):
    """Takes events in; Stripe repeats whatever is not answered with 2xx, for three days."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        """What became of the event: 200 and its outcome, or a problem document."""
        try:
            outcome = webhooks.receive(body=request.body, signature=request.headers.get("Stripe-Signature", ""))
        except Problem as problem:
            more = {"detail": problem.detail, "code": problem.code}
            body = problem_body(problem.status, request_id=request_id_of(request), **more)
            response = JsonResponse(body, status=problem.status, content_type=CONTENT_TYPE, headers=problem.headers)
            response._has_been_logged = True  # type: ignore[attr-defined]  # with what it was about
            return response
        return JsonResponse({"outcome": outcome})

    def http_method_not_allowed(self, request: HttpRequest) -> HttpResponse:
        """405, as a problem document."""
        return error_response(request, 405, "Events are posted.", {"Allow": "POST"})
