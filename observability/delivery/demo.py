"""Demo data: a few deployments and an incident of a service called "demo", so that nothing starts empty.

Recorded by the same functions as real ones, and never mixed with them.
"""

import hashlib
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from ..refresh import request_refresh
from . import deployments, incidents
from .deployments import Commit
from .models import Deployment, Incident, Kind, Pipeline, Severity, Status

SERVICE, ENVIRONMENT = "demo", "production"

# Days before now, status, kind, and the hours that each of its commits waited.
HISTORY: tuple[tuple[float, Status, Kind, tuple[float, ...]], ...] = (
    (27.2, Status.SUCCEEDED, Kind.PLANNED, (3, 9)),
    (21.1, Status.SUCCEEDED, Kind.PLANNED, (5, 26, 49)),
    (15.3, Status.SUCCEEDED, Kind.PLANNED, (2, 30)),
    (9.2, Status.FAILED, Kind.PLANNED, (4,)),
    (9.0, Status.SUCCEEDED, Kind.HOTFIX, (1, 9)),
    (4.1, Status.SUCCEEDED, Kind.PLANNED, (6, 20, 71)),
    (1.1, Status.SUCCEEDED, Kind.PLANNED, (7, 12)),
)


def load() -> int:
    """Record the demo data, unless it is there.

    Returns:
        How many deployments it has.
    """
    now = timezone.now()
    with transaction.atomic():
        if Pipeline.objects.filter(service=SERVICE).exists():
            return Deployment.objects.of(SERVICE, ENVIRONMENT).count()
        for number, (days, status, kind, waits) in enumerate(HISTORY, 1):
            finished_at = now - timedelta(days=days)
            commits = [_commit(number, index, finished_at, hours) for index, hours in enumerate(waits)]
            recorded = deployments.record(
                service=SERVICE,
                environment=ENVIRONMENT,
                version=f"0.{number}.0",
                sha=commits[0].sha,
                status=status,
                kind=kind,
                started_at=finished_at - timedelta(minutes=4),
                finished_at=finished_at,
                actor="demo",
                commits=commits,
            )
            if number == 3:
                incident = incidents.open_incident(
                    service=SERVICE,
                    environment=ENVIRONMENT,
                    title="Demo: pages answered slowly",
                    severity=Severity.WARNING,
                    started_at=finished_at + timedelta(minutes=20),
                    description="Demo data. `manage.py remove_demo` removes it.",
                    deployment=recorded.deployment,
                )
                incidents.resolve(incident, resolved_at=finished_at + timedelta(minutes=95))
    return len(HISTORY)


def remove() -> int:
    """Delete every row of the demo service.

    Returns:
        How many deployments were deleted.
    """
    with transaction.atomic():
        Incident.objects.filter(service=SERVICE).delete()
        number = Deployment.objects.filter(service=SERVICE).count()
        Deployment.objects.filter(service=SERVICE).delete()
        Pipeline.objects.filter(service=SERVICE).delete()
        request_refresh()
    return number


def _commit(number: int, index: int, finished_at: datetime, hours: float) -> Commit:
    sha = hashlib.sha1(f"demo {number} {index}".encode(), usedforsecurity=False).hexdigest()
    return Commit(sha, finished_at - timedelta(hours=hours))
