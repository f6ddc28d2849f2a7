"""The snapshot of facts that every scrape reads, and the security events."""

from django.conf import settings
from django.db import models


class FactSample(models.Model):
    """What one fact function last returned. One row a function, replaced whole.

    `samples` is a list of `[metric, [label values], value]`, where a histogram's value is `[[counts], sum]`.
    """

    fact = models.CharField(max_length=100, primary_key=True)
    samples = models.JSONField(default=list)
    mark = models.CharField(max_length=500, blank=True, help_text="The state of the tables when it was computed.")
    computed_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField()
    duration_seconds = models.FloatField(default=0)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "observability_fact_sample"

    def __str__(self) -> str:
        return self.fact


class FactRefresh(models.Model):
    """The one row whose conditional UPDATE decides which process brings the facts up to date."""

    lease_until = models.DateTimeField()
    due_at = models.DateTimeField()
    requested = models.PositiveBigIntegerField(default=0, help_text="Counts requests for a refresh at once.")

    class Meta:
        db_table = "observability_fact_refresh"

    def __str__(self) -> str:
        return f"due {self.due_at:%Y-%m-%d %H:%M:%S}"


class SecurityEvent(models.Model):
    """Something that looked like an attack: when, from where, and in which request."""

    at = models.DateTimeField("time", db_index=True)
    type = models.CharField(max_length=30)
    address = models.GenericIPAddressField(null=True, blank=True, help_text="The client, as our proxies saw it.")
    path = models.CharField(max_length=200, blank=True, help_text="The beginning of the path, as decoded.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_constraint=False,  # stored after the response, when the account may be gone
    )
    request_id = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "observability_security_event"
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["type", "-id"], name="security_event_by_type"),
            models.Index(fields=["address", "-id"], name="security_event_by_address"),
        ]

    def __str__(self) -> str:
        return f"{self.type} from {self.address or 'unknown'}"


class MaintenanceTask(models.Model):
    """A periodic command, and how its last runs ended. One row a task."""

    task = models.CharField(max_length=50, primary_key=True)
    started_at = models.DateTimeField("last started")
    succeeded_at = models.DateTimeField("last succeeded", null=True)
    failed_at = models.DateTimeField("last failed", null=True)
    duration_seconds = models.FloatField(null=True, help_text="Of the last run that succeeded.")
    detail = models.CharField(max_length=200, blank=True, help_text="What came of it.")
    error = models.CharField(max_length=500, blank=True, help_text="Why the last run failed; empty where it did not.")
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        db_table = "observability_maintenance_task"
        ordering = ["task"]

    def __str__(self) -> str:
        return self.task
