"""POST /alerts: Alertmanager's webhook."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .. import security
from ..problems import Problem
from . import alerts
from .models import FINGERPRINT, Scope
from .tokens import PREFIX, DeployTokenAuthentication, HasScope

ALERTMANAGER = object()  # who holds ALERTS_TOKEN, as `request.auth`


class AlertsTokenAuthentication(DeployTokenAuthentication):
    """`Authorization: Bearer <ALERTS_TOKEN>`, or a deploy token."""

    def authenticate(self, request: Request) -> Any:
        """(None, who it is), or None where no token was sent.

        Raises:
            AuthenticationFailed: where the token is not good.
        """
        scheme, _, raw = get_authorization_header(request).partition(b" ")
        raw = raw.strip()
        if scheme.lower() != b"bearer" or not raw:
            return None
        if settings.ALERTS_TOKEN and constant_time_compare(raw, settings.ALERTS_TOKEN.encode()):
            return None, ALERTMANAGER
        if raw.startswith(PREFIX.encode()):
            return super().authenticate(request)
        security.record(type="invalid_token", detail="The token for alerts is not good.")
        raise AuthenticationFailed("The token is neither ALERTS_TOKEN nor a deploy token.")

    def authenticate_header(self, request: Request) -> str:
        """Makes a refusal 401."""
        return 'Bearer realm="alerts"'


class AlertsTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "observability.delivery.api_alerts.AlertsTokenAuthentication"
    name = "alertsToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A bearer token of yet another kind."""
        return {"type": "http", "scheme": "bearer", "description": "ALERTS_TOKEN, or a deploy token for alerts:write"}


class MayTellAlerts(HasScope):
    """Alertmanager itself, or a deploy token with the scope alerts:write."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the request may."""
        return request.auth is ALERTMANAGER or super().has_permission(request, view)


class UnusableDelivery(Problem):
    """No webhook of Alertmanager's."""


class AlertTold(serializers.Serializer[Any]):
    """One alert. It opens an incident where its label `opens_incident` is "true"."""

    status = serializers.ChoiceField(["firing", "resolved"])
    labels = serializers.DictField(child=serializers.CharField())
    annotations = serializers.DictField(child=serializers.CharField(), required=False)
    startsAt = serializers.DateTimeField()  # noqa: N815 - Alertmanager's names
    endsAt = serializers.DateTimeField(required=False)  # noqa: N815
    generatorURL = serializers.CharField(required=False, allow_blank=True)  # noqa: N815
    fingerprint = serializers.RegexField(FINGERPRINT)


class Delivery(serializers.Serializer[Any]):
    """Alertmanager's webhook, version 4, as far as it is read."""

    alerts = AlertTold(many=True)


class RejectedAlert(serializers.Serializer[Any]):
    """An alert that could not be understood, and why."""

    index = serializers.IntegerField(min_value=0)
    fingerprint = serializers.CharField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """`errors` is a word of the serializer's own."""
        errors = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
        return {**super().get_fields(), "errors": errors}


class DeliveryReceived(serializers.Serializer[Any]):
    """What became of the alerts."""

    opened = serializers.IntegerField(min_value=0)
    updated = serializers.IntegerField(min_value=0)
    resolved = serializers.IntegerField(min_value=0)
    ignored = serializers.IntegerField(min_value=0, help_text="opens no incident, or said nothing new")
    rejected = RejectedAlert(many=True)


class AlertsView(APIView):
    """Alertmanager's webhook."""

    authentication_classes = [AlertsTokenAuthentication]
    permission_classes = [MayTellAlerts]
    scopes = {"POST": Scope.ALERTS_WRITE}

    @extend_schema(request=Delivery, responses={200: DeliveryReceived})
    def post(self, request: Request) -> Response:
        """Firing alerts open incidents or update them, resolved ones close them.

        Alertmanager repeats what is answered with 5xx and gives up what is answered with 4xx. So an alert that is not
        understood is answered with 200 and named in the answer: repeating it would not help, and giving it up would
        cost the others. 4xx is for a body that is no delivery at all; 5xx, a database that is away, is repeated.
        """
        body = request.data
        told = body.get("alerts") if isinstance(body, dict) else None
        if not isinstance(told, list):
            raise UnusableDelivery("Send Alertmanager's webhook, version 4.", errors={"alerts": ["Must be a list."]})
        return Response(asdict(alerts.receive(told)))
