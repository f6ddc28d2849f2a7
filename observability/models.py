"""The snapshot of facts that every scrape reads."""

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
