"""Opening, resolving and linking incidents."""

import re
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from ..problems import Conflict, Problem
from ..refresh import request_refresh
from .deployments import CLOCK_TOLERANCE, lock_pipeline, unknown_names
from .models import FINGERPRINT, Deployment, Incident, Severity

LIKE_AN_ALERT = (
    "Is 16 hexadecimal digits, by which Alertmanager names its alerts: as none of that name fires, the incident would "
    "be closed. Put a word before them."
)


class InvalidIncident(Problem):
    """The incident contradicts itself or the clock; `errors` says where."""


class AlreadyResolved(Conflict):
    """It is recorded as resolved at another time."""


def open_incident(
    *,
    service: str,
    environment: str,
    title: str,
    severity: str = Severity.WARNING,
    started_at: datetime | None = None,
    description: str = "",
    deployment: Deployment | None = None,
    url: str = "",
    fingerprint: str = "",
) -> Incident:
    """Open an incident, by default starting now.

    Raises:
        InvalidIncident: a time in the future, an unknown severity, a text that is too long.
    """
    now = timezone.now()
    incident = Incident(
        service=service.strip(),
        environment=environment.strip(),
        title=title.strip(),
        severity=severity,
        started_at=started_at or now,
        description=description,
        url=url,
        fingerprint=fingerprint,
    )
    _check(incident, now)
    with transaction.atomic():
        incident.save(force_insert=True)
        if deployment is not None:
            link(incident, deployment)
        request_refresh()
    return incident


def tell(
    *,
    title: str,
    service: str = "",
    environment: str = "",
    external_id: str = "",
    resolved_at: datetime | None = None,
    **more: Any,
) -> tuple[Incident, bool]:
    """Open an incident, unless one of that external id is known there, and end it where `resolved_at` is given.

    Args:
        service, environment: by default the installation's own.
        more: what `open_incident` takes besides.

    Returns:
        The incident, and whether it is new.

    Raises:
        InvalidIncident: as `open_incident` and `resolve`, or where the pipeline is none that may be recorded, or
            `external_id` looks like an alert's; then nothing is written.
    """
    service, environment = service or settings.DEPLOY_SERVICE, environment or settings.DEPLOY_ENVIRONMENT
    if errors := unknown_names(service.strip(), environment.strip()):
        raise InvalidIncident("The incident was not recorded.", errors=errors)
    with transaction.atomic():
        lock_pipeline(service, environment)
        known = Incident.objects.of(service, environment).filter(fingerprint=external_id) if external_id else None
        incident = known.first() if known is not None else None
        created = incident is None
        if incident is None:
            if re.fullmatch(FINGERPRINT, external_id):
                raise InvalidIncident("The incident was not recorded.", errors={"external_id": [LIKE_AN_ALERT]})
            incident = open_incident(
                service=service, environment=environment, title=title, fingerprint=external_id, **more
            )
        if resolved_at is not None:
            resolve(incident, resolved_at=resolved_at)
            incident.refresh_from_db()
    return incident, created


UNCHANGED: Any = object()


def change(incident: Incident, *, resolved_at: datetime | None = None, deployment: Any = UNCHANGED) -> None:
    """Resolve an incident, link it to a deployment (or with None to none), or both, or neither.

    Raises:
        InvalidIncident: as `resolve` and `link`; then nothing is written.
        AlreadyResolved: at another time than `resolved_at`; then nothing is written either.
    """
    with transaction.atomic():
        if deployment is not UNCHANGED:
            link(incident, deployment)
        if resolved_at is not None and not resolve(incident, resolved_at=resolved_at):
            incident.refresh_from_db()
            if incident.resolved_at != resolved_at:
                raise AlreadyResolved(
                    f"It is recorded as resolved at {incident.resolved_at:%Y-%m-%d %H:%M:%S} UTC. Where that is wrong, "
                    f"reopen it first: manage.py reopen_incident {incident.pk}, or in the admin."
                )


def resolve(incident: Incident, *, resolved_at: datetime | None = None) -> bool:
    """Say that it is over, by default now.

    Returns:
        Whether that changed anything: an incident that is resolved stays as it is.

    Raises:
        InvalidIncident: where it would end before it started, or in the future.
    """
    now = timezone.now()
    resolved_at = resolved_at or now
    if resolved_at < incident.started_at or resolved_at > now + CLOCK_TOLERANCE:
        raise InvalidIncident("The end lies before the start, or in the future.")
    with transaction.atomic():
        # A conditional UPDATE: of two who say so at once, one is first, and the other changes nothing.
        if not Incident.objects.open().filter(pk=incident.pk).update(resolved_at=resolved_at, updated_at=now):
            return False
        incident.refresh_from_db()
        _observe(incident)
        request_refresh()
    return True


def reopen(incident: Incident) -> bool:
    """Say that it is not over after all. An alert that fires no longer does not close it again: a person does.

    What mttr_seconds has counted of it stays counted; incidents_reopened_total tells how often that was too soon.

    Returns:
        Whether that changed anything: an incident that is open stays as it is.
    """
    now = timezone.now()
    with transaction.atomic():
        resolved = Incident.objects.filter(pk=incident.pk, resolved_at__isnull=False)
        if not resolved.update(resolved_at=None, reopenings=F("reopenings") + 1, updated_at=now):
            return False
        incident.refresh_from_db()
        request_refresh()
    return True


def link(incident: Incident, deployment: Deployment | None) -> None:
    """Lay the incident at a deployment's door, or with None take it away again.

    Raises:
        InvalidIncident: where the deployment is of another service or environment, or has not finished.
    """
    if deployment is not None:
        if (deployment.service, deployment.environment) != (incident.service, incident.environment):
            raise InvalidIncident("The deployment is of another service or environment.")
        if deployment.finished_at is None:
            raise InvalidIncident("The deployment has not finished.")
    now = timezone.now()
    with transaction.atomic():
        incident.deployment = deployment
        incident.save(update_fields=["deployment", "updated_at"])
        if deployment is not None:
            unrecorded = Deployment.objects.filter(pk=deployment.pk, failure_recorded_at=None)
            unrecorded.update(failure_recorded_at=now, updated_at=now)
        _observe(incident)
        request_refresh()


def _observe(incident: Incident) -> None:
    """Count a recovery once it is known to have been caused by a change and to be over."""
    if incident.deployment_id and incident.resolved_at:
        unobserved = Incident.objects.filter(pk=incident.pk, observed_recovery_seconds=None)
        unobserved.update(observed_recovery_seconds=incident.recovery_seconds, updated_at=timezone.now())


def _check(incident: Incident, now: datetime) -> None:
    errors: dict[str, list[str]] = {}
    try:
        incident.full_clean(validate_constraints=False)
    except ValidationError as error:
        errors = {field: list(texts) for field, texts in error.message_dict.items()}
    if incident.started_at > now + CLOCK_TOLERANCE:
        errors.setdefault("started_at", []).append("Lies more than five minutes in the future.")
    if errors:
        raise InvalidIncident("The incident was not recorded.", errors=errors)
