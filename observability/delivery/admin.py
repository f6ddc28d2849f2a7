"""Deployments and incidents in the admin."""

from datetime import timedelta

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.timesince import timesince

from ..admin import ReadOnly
from .models import DeployedCommit, Deployment, Incident, Pipeline, Standing


def duration(seconds: float | None) -> str:
    """Seconds as people say them, such as "2 hours, 5 minutes"; "–" for None."""
    if seconds is None:
        return "–"
    if abs(seconds) < 60:
        return f"{seconds:.0f} seconds"
    now = timezone.now()
    sign = "−" if seconds < 0 else ""
    return sign + timesince(now - timedelta(seconds=abs(seconds)), now)


class CommitInline(ReadOnly, admin.TabularInline[DeployedCommit, Deployment]):
    """A deployment's commits, with lead times."""

    model = DeployedCommit
    fields = readonly_fields = ("sha", "authored_at", "lead_time", "standing")
    extra = 0

    @admin.display(description="lead time")
    def lead_time(self, commit: DeployedCommit) -> str:
        """Authored to deployed."""
        return duration(commit.lead_seconds)


class IncidentInline(ReadOnly, admin.TabularInline[Incident, Deployment]):
    """The incidents laid at a deployment's door."""

    model = Incident
    fields = ["title", "severity", "started_at", "resolved_at"]
    extra = 0
    show_change_link = True


@admin.register(Deployment)
class DeploymentAdmin(ReadOnly, admin.ModelAdmin[Deployment]):
    """Deployments, newest first."""

    list_display = [
        "version", "service", "environment", "status", "kind", "finished_at", "commit_count", "incident_count", "actor",
    ]  # fmt: skip
    list_filter = ["service", "environment", "status", "kind"]
    search_fields = ["version", "sha", "external_id", "actor"]
    date_hierarchy = "finished_at"
    inlines = [CommitInline, IncidentInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        """With the numbers of commits that count and of incidents."""
        return (
            super()
            .get_queryset(request)
            .annotate(
                commit_number=Count("commits", filter=Q(commits__standing=Standing.COUNTED), distinct=True),
                incident_number=Count("incidents", distinct=True),
            )
        )

    @admin.display(description="commits counted", ordering="commit_number")
    def commit_count(self, deployment: Deployment) -> int:
        """Commits that count towards lead time."""
        return int(deployment.commit_number)

    @admin.display(description="incidents", ordering="incident_number")
    def incident_count(self, deployment: Deployment) -> int:
        """Incidents it caused."""
        return int(deployment.incident_number)


@admin.register(Incident)
class IncidentAdmin(ReadOnly, admin.ModelAdmin[Incident]):
    """Incidents, newest first."""

    list_display = [
        "title",
        "severity",
        "service",
        "environment",
        "started_at",
        "resolved_at",
        "recovery",
        "deployment",
    ]
    list_filter = ["severity", "service", "environment", ("resolved_at", admin.EmptyFieldListFilter)]
    list_select_related = ["deployment"]
    search_fields = ["title", "description", "fingerprint"]
    date_hierarchy = "started_at"

    @admin.display(description="recovery")
    def recovery(self, incident: Incident) -> str:
        """Start to resolution."""
        return duration(incident.recovery_seconds)


@admin.register(Pipeline)
class PipelineAdmin(ReadOnly, admin.ModelAdmin[Pipeline]):
    """Which services are deployed where."""

    list_display = ["service", "environment"]
    list_filter = ["environment"]
    search_fields = ["service"]
