"""The pages of the site as a whole: the description of its API, and whom to tell about a security problem."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from threading import Lock
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from observability.http.policy import content_security_policy

CONTACT_HOLDS = timedelta(days=90)
_describing = Lock()


@cache
def _description() -> dict[str, Any]:
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document


class ApiSchema(SpectacularAPIView):
    """The OpenAPI document, put together once: spectacular's parts are shared, and two threads at it fail."""

    permission_classes = [AllowAny]
    authentication_classes = []

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """YAML or JSON, as the client asks."""
        with _describing:
            document = _description()
        return Response(document)


class ApiDocs(SpectacularSwaggerView):
    """The OpenAPI document, drawn. Its stylesheet carries its own pictures, so this one page may load such."""

    http_method_names = ["get", "head", "options"]
    permission_classes = [AllowAny]
    authentication_classes = []

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The page."""
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        del response["Cross-Origin-Opener-Policy"]  # spectacular's, for sign-in windows of others, which we have not
        response["Content-Security-Policy"] = content_security_policy(
            settings.CONTENT_SECURITY_POLICY, img_src="'self' data:"
        )
        return response


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """Whom to tell about a security problem (RFC 9116); 404 where no contact is configured."""
    if not settings.SECURITY_CONTACT:
        raise Http404
    if settings.SECURITY_CONTACT_EXPIRES:
        last_day = date.fromisoformat(settings.SECURITY_CONTACT_EXPIRES)
    else:
        last_day = timezone.now().date() + CONTACT_HOLDS
    expires = datetime.combine(last_day, time(23, 59, 59), tzinfo=UTC)
    lines = [
        f"Contact: {settings.SECURITY_CONTACT}",
        f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en",
        f"Canonical: {settings.PUBLIC_URL}/.well-known/security.txt",
    ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")
