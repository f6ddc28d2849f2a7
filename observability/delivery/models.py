"""Deployment, DeployedCommit, Incident and Pipeline: what was shipped, and what came of it.

Invariants live in the database. Writes are in `deployments` and `incidents`; nothing else may change these rows, since
the fact counters read columns that are set once and never taken back.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django_prometheus.models import ExportModelOperationsMixin


class Status(models.TextChoices):
    """How a deployment stands. In this order a later word overrules an earlier one, whichever is delivered first."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class Kind(models.TextChoices):
    """Why a deployment was made. Hotfixes and rollbacks are rework (dora.dev, deployment rework rate)."""

    PLANNED = "planned"
    HOTFIX = "hotfix"
    ROLLBACK = "rollback"


class Standing(models.TextChoices):
    """Whether a deployed commit counts towards lead time, or why not."""

    COUNTED = "counted", "counted"
    FIRST_DEPLOYMENT = "first_deployment", "in the first deployment of its service"
    ROLLBACK = "rollback", "in a rollback"
    NEGATIVE = "negative", "authored after it was deployed"
    ALREADY_DEPLOYED = "already_deployed", "deployed before"
    PENDING = "pending", "not (yet) deployed with success"


EXCLUDED = (Standing.FIRST_DEPLOYMENT, Standing.ROLLBACK, Standing.NEGATIVE, Standing.ALREADY_DEPLOYED)


FINGERPRINT = r"^[0-9a-f]{16}$"  # Alertmanager's name for an alert, 64 bits


class Severity(models.TextChoices):
    """How bad an incident is, in the words of the alert rules."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class PipelineQuerySet(models.QuerySet["Pipeline"]):
    """Reads of pipelines."""

    def with_last_deployment(self) -> PipelineQuerySet:
        """Each with `last_version` and `last_finished_at` of its last finished deployment."""
        last = Deployment.objects.finished().filter(service=OuterRef("service"), environment=OuterRef("environment"))
        last = last.order_by("-finished_at", "-pk")
        return self.annotate(
            last_version=Subquery(last.values("version")[:1]),
            last_finished_at=Subquery(last.values("finished_at")[:1]),
        )


class Pipeline(models.Model):
    """One service in one environment. Its row is the lock under which deployments there are recorded."""

    service = models.CharField(max_length=100)
    environment = models.CharField(max_length=100)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = PipelineQuerySet.as_manager()

    class Meta:
        ordering = ["service", "environment"]
        constraints = [
            models.UniqueConstraint(fields=["service", "environment"], name="delivery_pipeline_once"),
        ]

    def __str__(self) -> str:
        return f"{self.service} ({self.environment})"


# Those that have not finished before the others, on every database.
NEWEST_FIRST = (F("finished_at").desc(nulls_first=True), "-pk")


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    """Reads of deployments."""

    def of(self, service: str, environment: str) -> DeploymentQuerySet:
        """Those of one pipeline."""
        return self.filter(service=service, environment=environment)

    def finished(self) -> DeploymentQuerySet:
        """Those that came to an end, whichever."""
        return self.filter(finished_at__isnull=False)

    def succeeded(self) -> DeploymentQuerySet:
        """Those that succeeded and still stand."""
        return self.filter(status=Status.SUCCEEDED)

    def shipping(self) -> DeploymentQuerySet:
        """Those whose commits were new: succeeded, and no rollback."""
        return self.succeeded().exclude(kind=Kind.ROLLBACK)

    def between(self, start: datetime, end: datetime) -> DeploymentQuerySet:
        """Those that finished in [start, end)."""
        return self.filter(finished_at__gte=start, finished_at__lt=end)

    def failed_changes(self) -> DeploymentQuerySet:
        """Those that failed, were rolled back, or caused an incident; each once."""
        caused = Incident.objects.filter(deployment=OuterRef("pk"))
        return self.filter(Q(status__in=[Status.FAILED, Status.ROLLED_BACK]) | Exists(caused))

    def rework(self) -> DeploymentQuerySet:
        """Those made to repair."""
        return self.filter(kind__in=[Kind.HOTFIX, Kind.ROLLBACK])

    def in_order(self) -> DeploymentQuerySet:
        """Oldest first, by the time they finished."""
        return self.order_by("finished_at", "pk")


class Deployment(ExportModelOperationsMixin("deployment"), models.Model):  # type: ignore[misc]
    """One attempt to bring one version of a service into one environment."""

    service = models.CharField(max_length=100)
    environment = models.CharField(max_length=100)
    version = models.CharField(max_length=200)
    sha = models.CharField("commit", max_length=64, blank=True)
    external_id = models.CharField(max_length=300, help_text="What the pipeline calls it; twice the same is one row.")
    status = models.CharField(max_length=12, choices=Status.choices)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.PLANNED)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    url = models.URLField("link to the run", max_length=1000, blank=True)
    actor = models.CharField(max_length=200, blank=True)
    previous_sha = models.CharField(
        "previous commit", max_length=64, blank=True, help_text="Where the range of its commits begins."
    )
    failure_recorded_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was first known as a failed change. Never taken back."
    )
    recorded_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        ordering = NEWEST_FIRST
        indexes = [
            models.Index(fields=["service", "environment", "finished_at"], name="delivery_deployment_window"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "environment", "external_id"], name="delivery_deployment_recorded_once"
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="delivery_deployment_status_known"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="delivery_deployment_kind_known"),
            models.CheckConstraint(
                condition=Q(status=Status.STARTED, finished_at=None)
                | (~Q(status=Status.STARTED) & Q(finished_at__isnull=False)),
                name="delivery_deployment_finished_with_status",
            ),
            models.CheckConstraint(
                condition=Q(started_at=None) | Q(finished_at=None) | Q(finished_at__gte=F("started_at")),
                name="delivery_deployment_finished_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.version} → {self.environment}"

    @property
    def is_failed_change(self) -> bool:
        """Whether it failed, was rolled back, or caused an incident."""
        return self.status in {Status.FAILED, Status.ROLLED_BACK} or self.incidents.exists()


class DeployedCommit(models.Model):
    """One commit as part of one deployment, with its lead time and whether that counts.

    Lead time is deploy finished − commit authored (dora.dev). `observed_lead_seconds` is what the histogram counts: set
    once for each commit of a pipeline, and never taken back.
    """

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="commits")
    service = models.CharField(max_length=100)
    environment = models.CharField(max_length=100)
    sha = models.CharField(max_length=64)
    authored_at = models.DateTimeField()
    deployed_at = models.DateTimeField(null=True)
    lead_seconds = models.FloatField(null=True)
    standing = models.CharField(max_length=16, choices=Standing.choices, default=Standing.PENDING)
    observed_lead_seconds = models.FloatField(null=True)

    class Meta:
        ordering = ["authored_at", "pk"]
        indexes = [
            models.Index(fields=["service", "environment", "sha"], name="delivery_commit_by_sha"),
            models.Index(fields=["service", "environment", "standing", "deployed_at"], name="delivery_commit_window"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "sha"], name="delivery_commit_once_a_deployment"),
            models.UniqueConstraint(
                fields=["service", "environment", "sha"],
                condition=Q(standing=Standing.COUNTED),
                name="delivery_commit_counted_once",
            ),
            models.UniqueConstraint(
                fields=["service", "environment", "sha"],
                condition=Q(observed_lead_seconds__isnull=False),
                name="delivery_commit_observed_once",
            ),
        ]

    def __str__(self) -> str:
        return self.sha[:12]


class IncidentQuerySet(models.QuerySet["Incident"]):
    """Reads of incidents."""

    def of(self, service: str, environment: str) -> IncidentQuerySet:
        """Those of one pipeline."""
        return self.filter(service=service, environment=environment)

    def open(self) -> IncidentQuerySet:
        """Those not yet resolved."""
        return self.filter(resolved_at=None)

    def caused_by_change(self) -> IncidentQuerySet:
        """Those linked to the deployment that caused them."""
        return self.filter(deployment__isnull=False)


class Incident(ExportModelOperationsMixin("incident"), models.Model):  # type: ignore[misc]
    """A time in which the service was not as it should be."""

    service = models.CharField(max_length=100)
    environment = models.CharField(max_length=100)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.WARNING)
    started_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    deployment = models.ForeignKey(
        Deployment,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="incidents",
        help_text="The deployment that caused it.",
    )
    fingerprint = models.CharField(
        max_length=64,
        blank=True,
        help_text="Alertmanager's name for the alert, or the external id that people gave it.",
    )
    url = models.URLField(max_length=1000, blank=True)
    observed_recovery_seconds = models.FloatField(
        null=True, blank=True, help_text="What mttr_seconds counted. Set once, never taken back."
    )
    reopenings = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How often it was not over after all. Never taken back."
    )
    recorded_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at", "-pk"]
        indexes = [
            models.Index(fields=["service", "environment", "resolved_at"], name="delivery_incident_window"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "environment", "fingerprint", "started_at"],
                condition=~Q(fingerprint=""),
                name="delivery_incident_told_once",
            ),
            models.CheckConstraint(condition=Q(severity__in=Severity.values), name="delivery_incident_severity_known"),
            models.CheckConstraint(
                condition=Q(resolved_at=None) | Q(resolved_at__gte=F("started_at")),
                name="delivery_incident_resolved_after_start",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def recovery_seconds(self) -> float | None:
        """Seconds from its start to its resolution; None while it is open."""
        return None if self.resolved_at is None else (self.resolved_at - self.started_at).total_seconds()


class Scope(models.TextChoices):
    """What a deploy token may do."""

    DEPLOYMENTS_WRITE = "deployments:write", "record deployments"
    INCIDENTS_WRITE = "incidents:write", "open and resolve incidents"
    ALERTS_WRITE = "alerts:write", "deliver Alertmanager's notifications"
    READ = "read", "read deployments and incidents"


def validate_scopes(scopes: object) -> None:
    """Raise ValidationError unless `scopes` is a list of one or more of `Scope`."""
    if not isinstance(scopes, list) or not scopes or not set(scopes) <= set(Scope.values):
        raise ValidationError("Choose one or more scopes.")


class DeployToken(models.Model):
    """A token for a pipeline: found by `lookup`, held against `digest`, limited to `scopes`."""

    name = models.CharField(max_length=100, help_text="Which pipeline has it.")
    lookup = models.CharField("begins with", max_length=8, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(validators=[validate_scopes])
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
