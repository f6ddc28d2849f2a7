"""/dora/deployments and /dora/incidents: recording over HTTP, with a deploy token, and reading it back in pages."""

from datetime import UTC
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from ..http.openapi import link
from . import deployments, incidents
from .entries import DeploymentEntry
from .models import NEWEST_FIRST, Deployment, Incident, Scope, Severity, Status
from .tokens import DeployTokenAuthentication, HasScope


class DeployTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "observability.delivery.tokens.DeployTokenAuthentication"
    name = "deployToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A bearer token of another kind."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "bsd_…"}


class Pages(LimitOffsetPagination):
    """?limit= and ?offset=."""

    default_limit = 50
    max_limit = 500


def pages_of(component: str) -> dict[str, Any]:
    """The schema of a page of that component's rows."""
    rows = {"type": "array", "items": {"$ref": f"#/components/schemas/{component}"}}
    return Pages().get_paginated_response_schema(rows)


class DeploymentShown(serializers.ModelSerializer[Deployment]):
    """A deployment as it is stored."""

    url = serializers.CharField(read_only=True, help_text="an address, or empty")

    class Meta:
        model = Deployment
        fields = [
            "id", "service", "environment", "version", "sha", "external_id", "status", "kind", "started_at",
            "finished_at", "url", "actor", "previous_sha", "recorded_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = fields


class RecordedShown(serializers.Serializer[Any]):
    """What telling a deployment did: `outcome` is created, updated or unchanged."""

    outcome = serializers.ChoiceField(["created", "updated", "unchanged"])
    deployment = DeploymentShown()


class DeploymentChange(serializers.Serializer[Any]):
    """What has become of a deployment."""

    status = serializers.ChoiceField([status for status in Status.choices if status[0] != Status.STARTED])
    deployed_at = serializers.DateTimeField(
        default_timezone=UTC, required=False, allow_null=True, help_text="When it finished; by default now."
    )
    url = serializers.URLField(max_length=1000, required=False, allow_blank=True)


class IncidentEntry(serializers.Serializer[Any]):
    """An incident to open; `title` alone is enough. With an `external_id`, told twice it is one row."""

    title = serializers.CharField(max_length=200)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    service = serializers.CharField(max_length=100, required=False)
    environment = serializers.CharField(max_length=100, required=False)
    severity = serializers.ChoiceField(Severity.choices, required=False)
    started_at = serializers.DateTimeField(default_timezone=UTC, required=False, allow_null=True)
    resolved_at = serializers.DateTimeField(default_timezone=UTC, required=False, allow_null=True)
    external_id = serializers.CharField(max_length=64, required=False, allow_blank=True)
    url = serializers.URLField(max_length=1000, required=False, allow_blank=True)
    deployment = serializers.PrimaryKeyRelatedField(
        queryset=Deployment.objects.all(), required=False, allow_null=True, help_text="The deployment that caused it."
    )


class IncidentChange(serializers.Serializer[Any]):
    """What has become of an incident: its end, or the deployment that caused it (null takes the link away)."""

    resolved_at = serializers.DateTimeField(default_timezone=UTC, required=False, allow_null=False)
    deployment = serializers.PrimaryKeyRelatedField(queryset=Deployment.objects.all(), required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Something must change."""
        if not attrs:
            raise serializers.ValidationError({"resolved_at": ["Give resolved_at, deployment, or both."]})
        return attrs


class IncidentShown(serializers.ModelSerializer[Incident]):
    """An incident as it is stored."""

    url = serializers.CharField(read_only=True, help_text="an address, or empty")

    class Meta:
        model = Incident
        fields = [
            "id", "service", "environment", "title", "description", "severity", "started_at", "resolved_at",
            "deployment", "fingerprint", "url", "recorded_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = fields


class Records(APIView):
    """A view for pipelines."""

    authentication_classes: Any = [DeployTokenAuthentication, *api_settings.DEFAULT_AUTHENTICATION_CLASSES]
    permission_classes = [HasScope]
    scopes: dict[str, Scope] = {}

    def page(self, request: Request, rows: Any, shown: type[serializers.BaseSerializer[Any]]) -> Response:
        """One page of `rows`, narrowed by the query's service, environment, status and severity."""
        for name in ("service", "environment", "status", "kind", "severity"):
            value = request.query_params.get(name, "")
            if value and any(field.name == name for field in rows.model._meta.get_fields()):
                rows = rows.filter(**{name: value})
        if request.query_params.get("open") == "true" and rows.model is Incident:
            rows = rows.filter(resolved_at=None)
        pages = Pages()
        found: Any = pages.paginate_queryset(rows, request, view=self)
        return pages.get_paginated_response(shown(found, many=True).data)


NARROWED = [
    OpenApiParameter("service", str),
    OpenApiParameter("environment", str),
    OpenApiParameter("limit", int, description="rows a page, 500 at most (default: 50)"),
    OpenApiParameter("offset", int),
]


class DeploymentsView(Records):
    """All deployments."""

    scopes = {"POST": Scope.DEPLOYMENTS_WRITE}
    links = {
        "GET": {
            "read": link("dora_deployments_read", parameters={"id": "$response.body#/results/0/id"}),
            "change": link("dora_deployments_change", parameters={"id": "$response.body#/results/0/id"}),
        }
    }

    @extend_schema(
        operation_id="dora_deployments_list",
        parameters=[*NARROWED, OpenApiParameter("status", str), OpenApiParameter("kind", str)],
        responses={200: pages_of("DeploymentShown")},
    )
    def get(self, request: Request) -> Response:
        """Deployments: those that run, then the last finished first."""
        return self.page(request, Deployment.objects.order_by(*NEWEST_FIRST), DeploymentShown)

    @extend_schema(
        operation_id="dora_deployments_record",
        request=DeploymentEntry,
        responses={200: RecordedShown, 201: RecordedShown},
    )
    def post(self, request: Request) -> Response:
        """Record a deployment: 201 where it is new, 200 where it was known."""
        entry = DeploymentEntry(data=request.data)
        entry.is_valid(raise_exception=True)
        recorded = deployments.record(**entry.told())
        status = 201 if recorded.outcome == "created" else 200
        return Response(RecordedShown(recorded).data, status=status)


class DeploymentView(Records):
    """One deployment."""

    scopes = {"PATCH": Scope.DEPLOYMENTS_WRITE}

    @extend_schema(operation_id="dora_deployments_read", responses={200: DeploymentShown})
    def get(self, request: Request, pk: int) -> Response:
        """The deployment."""
        return Response(DeploymentShown(get_object_or_404(Deployment, pk=pk)).data)

    @extend_schema(operation_id="dora_deployments_change", request=DeploymentChange, responses={200: RecordedShown})
    def patch(self, request: Request, pk: int) -> Response:
        """Say how it ended, or that it failed after all."""
        row = get_object_or_404(Deployment, pk=pk)
        change = DeploymentChange(data=request.data)
        change.is_valid(raise_exception=True)
        fields = change.validated_data
        recorded = deployments.record(
            service=row.service,
            environment=row.environment,
            version=row.version,
            sha=row.sha,
            external_id=row.external_id,
            status=fields["status"],
            finished_at=fields.get("deployed_at"),
            url=fields.get("url", ""),
        )
        return Response(RecordedShown(recorded).data)


class IncidentsView(Records):
    """All incidents."""

    scopes = {"POST": Scope.INCIDENTS_WRITE}
    links = {
        "GET": {
            "read": link("dora_incidents_read", parameters={"id": "$response.body#/results/0/id"}),
            "change": link("dora_incidents_change", parameters={"id": "$response.body#/results/0/id"}),
        }
    }

    @extend_schema(
        operation_id="dora_incidents_list",
        parameters=[*NARROWED, OpenApiParameter("severity", str), OpenApiParameter("open", bool)],
        responses={200: pages_of("IncidentShown")},
    )
    def get(self, request: Request) -> Response:
        """Incidents, last started first."""
        return self.page(request, Incident.objects.order_by("-started_at", "-pk"), IncidentShown)

    @extend_schema(
        operation_id="dora_incidents_open", request=IncidentEntry, responses={200: IncidentShown, 201: IncidentShown}
    )
    def post(self, request: Request) -> Response:
        """Open an incident: 201 where it is new, 200 where its external id was known."""
        entry = IncidentEntry(data=request.data)
        entry.is_valid(raise_exception=True)
        incident, created = incidents.tell(**entry.validated_data)
        return Response(IncidentShown(incident).data, status=201 if created else 200)


class IncidentView(Records):
    """One incident."""

    scopes = {"PATCH": Scope.INCIDENTS_WRITE}
    conflicts = {"PATCH": "The incident has ended already, at another time."}

    @extend_schema(operation_id="dora_incidents_read", responses={200: IncidentShown})
    def get(self, request: Request, pk: int) -> Response:
        """The incident."""
        return Response(IncidentShown(get_object_or_404(Incident, pk=pk)).data)

    @extend_schema(operation_id="dora_incidents_change", request=IncidentChange, responses={200: IncidentShown})
    def patch(self, request: Request, pk: int) -> Response:
        """Resolve it, or say which deployment caused it."""
        incident = get_object_or_404(Incident, pk=pk)
        change = IncidentChange(data=request.data)
        change.is_valid(raise_exception=True)
        incidents.change(incident, **change.validated_data)
        incident.refresh_from_db()
        return Response(IncidentShown(incident).data)
