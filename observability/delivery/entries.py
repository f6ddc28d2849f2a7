"""The import format: a deployment as one JSON object, the same over HTTP and from a file."""

from datetime import UTC
from typing import Any

from django.conf import settings
from rest_framework import serializers

from .deployments import Commit
from .models import Kind, Status

MAX_COMMITS = 20_000
SHA = r"^[0-9a-fA-F]{4,64}$"


class CommitEntry(serializers.Serializer[Any]):
    """A commit's id and when it was authored."""

    sha = serializers.RegexField(SHA, max_length=64)
    authored_at = serializers.DateTimeField(default_timezone=UTC)


class DeploymentEntry(serializers.Serializer[Any]):
    """A deployment; `version` and `sha` alone are enough.

    entry = DeploymentEntry(data={"version": "1.4.0", "sha": "3f2a9c1b"})
    entry.is_valid(raise_exception=True)
    deployments.record(**entry.told())
    """

    version = serializers.CharField(max_length=200)
    sha = serializers.RegexField(SHA, max_length=64)
    deployed_at = serializers.DateTimeField(
        default_timezone=UTC, required=False, allow_null=True, help_text="When it finished; by default now."
    )
    commits = CommitEntry(many=True, required=False, help_text="git log previous..this, with author times.")
    service = serializers.CharField(max_length=100, required=False)
    environment = serializers.CharField(max_length=100, required=False)
    status = serializers.ChoiceField(Status.choices, required=False)
    kind = serializers.ChoiceField(Kind.choices, required=False)
    external_id = serializers.CharField(max_length=300, required=False, allow_blank=True)
    started_at = serializers.DateTimeField(default_timezone=UTC, required=False, allow_null=True)
    url = serializers.URLField(max_length=1000, required=False, allow_blank=True)
    actor = serializers.CharField(max_length=200, required=False, allow_blank=True)
    previous = serializers.RegexField(
        SHA, max_length=64, required=False, allow_blank=True, help_text="The commit at which the range begins."
    )

    def validate_commits(self, commits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """No more than a deployment can sensibly bring."""
        if len(commits) > MAX_COMMITS:
            raise serializers.ValidationError([f"More than {MAX_COMMITS} commits: name a later previous commit."])
        return commits

    def told(self) -> dict[str, Any]:
        """The arguments of `deployments.record`; to be called once the entry is valid."""
        fields = self.validated_data
        return {
            "service": fields.get("service") or settings.DEPLOY_SERVICE,
            "environment": fields.get("environment") or settings.DEPLOY_ENVIRONMENT,
            "version": fields["version"],
            "sha": fields["sha"],
            "external_id": fields.get("external_id", ""),
            "status": fields.get("status", Status.SUCCEEDED.value),
            "kind": fields.get("kind", Kind.PLANNED.value),
            "started_at": fields.get("started_at"),
            "finished_at": fields.get("deployed_at"),
            "url": fields.get("url", ""),
            "actor": fields.get("actor", ""),
            "previous_sha": fields.get("previous", ""),
            "commits": [Commit(commit["sha"], commit["authored_at"]) for commit in fields.get("commits", ())],
        }
