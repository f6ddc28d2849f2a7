"""GET /dora: the five measures as JSON."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from . import measures

MAX_DAYS = 3660
DAYS = {"type": "integer", "minimum": 1, "maximum": MAX_DAYS}
NAME = {"type": "string", "minLength": 1, "maxLength": 100}


class IsPublicOrStaff(BasePermission):
    """Open, unless DORA_PUBLIC is off; then staff only."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the request may read the measures."""
        return settings.DORA_PUBLIC or bool(request.user and request.user.is_staff)


class Question(serializers.Serializer[Any]):
    """Which pipeline, and which window."""

    service = serializers.CharField(max_length=100, required=False)
    environment = serializers.CharField(max_length=100, required=False)
    days = serializers.IntegerField(min_value=1, max_value=MAX_DAYS, required=False)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, so the two dates are declared here."""
        return {
            **super().get_fields(),
            "from": serializers.DateField(required=False),
            "to": serializers.DateField(required=False),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Either `days`, or both dates in order and no more than ten years apart."""
        start, end = attrs.get("from"), attrs.get("to")
        if (start is None) != (end is None):
            raise serializers.ValidationError({"from" if start is None else "to": ["Give both dates, or neither."]})
        if start is not None and end is not None:
            if "days" in attrs:
                raise serializers.ValidationError({"days": ["Give days, or two dates."]})
            if end < start:
                raise serializers.ValidationError({"to": ["Lies before from."]})
            if (end - start).days >= MAX_DAYS:
                raise serializers.ValidationError({"to": [f"The window is longer than {MAX_DAYS} days."]})
            if start.year < 1971 or end.year > 9998:
                raise serializers.ValidationError({"from": ["Choose dates between 1971 and 9998."]})
        return attrs


class Tier(serializers.Serializer[Any]):
    """The published bucket that a value falls into, and the year of the table it is from."""

    name = serializers.CharField()
    year = serializers.IntegerField()


class MeasureReport(serializers.Serializer[Any]):
    """One measure. `value` is null without data, and `reason` says why; for the two times it is the median."""

    value = serializers.FloatField(allow_null=True)
    unit = serializers.ChoiceField(choices=["deployments/day", "seconds", "ratio"])
    samples = serializers.IntegerField(min_value=0, help_text="the number of rows behind the value")
    p90 = serializers.FloatField(allow_null=True)
    excluded = serializers.DictField(child=serializers.IntegerField(min_value=0), help_text="rows left out, by reason")
    reason = serializers.CharField(allow_null=True)
    tier = Tier(allow_null=True)
    trend = serializers.FloatField(allow_null=True, help_text="minus the value of the window of equal length before")


class MeasureReports(serializers.Serializer[Any]):
    """All five."""

    deployment_frequency = MeasureReport()
    change_lead_time = MeasureReport()
    change_fail_rate = MeasureReport()
    failed_deployment_recovery_time = MeasureReport()
    deployment_rework_rate = MeasureReport()


class WindowReport(serializers.Serializer[Any]):
    """From the first instant to the last, which is not included."""

    days = serializers.FloatField(min_value=0)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's."""
        return {"from": serializers.DateTimeField(), "to": serializers.DateTimeField(), **super().get_fields()}


class Report(serializers.Serializer[Any]):
    """What the measures say about one pipeline over one window."""

    service = serializers.CharField()
    environment = serializers.CharField()
    window = WindowReport()
    measures = MeasureReports()
    services = serializers.ListField(child=serializers.CharField(), help_text="every service that has records")
    definitions = serializers.URLField()


class DoraView(APIView):
    """The five measures of a pipeline."""

    permission_classes = (IsPublicOrStaff,)

    @extend_schema(
        parameters=[
            OpenApiParameter("service", NAME, description="default: the installation's own"),
            OpenApiParameter("environment", NAME, description="default: production"),
            OpenApiParameter(
                "days",
                {"type": "integer", "minimum": 1, "maximum": MAX_DAYS},
                description="the last so many days (default: 30)",
            ),
            OpenApiParameter("from", date, description="first day, UTC, included"),
            OpenApiParameter("to", date, description="last day, UTC, included"),
        ],
        responses={200: Report},
        auth=[{}, {"bearer": []}],  # type: ignore[list-item]
    )
    def get(self, request: Request) -> Response:
        """Deployment frequency, change lead time, change fail rate, recovery time and rework rate."""
        question = Question(data=request.query_params.dict())
        question.is_valid(raise_exception=True)
        asked = question.validated_data
        service = asked.get("service") or settings.DEPLOY_SERVICE
        environment = asked.get("environment") or settings.DEPLOY_ENVIRONMENT
        return Response(measures.answer(service=service, environment=environment, window=_window(asked)))


def _window(asked: dict[str, Any]) -> measures.Window:
    if asked.get("from") is not None:
        start = datetime.combine(asked["from"], time(), UTC)
        return measures.Window(start, datetime.combine(asked["to"], time(), UTC) + timedelta(days=1))
    return measures.days_before(timezone.now(), asked.get("days") or 30)
