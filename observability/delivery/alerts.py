"""Incidents from alerts: what Alertmanager delivers, and what it would have delivered while nobody listened.

One incident per (fingerprint, start). Whatever is repeated, reordered or cut off, the rows come out the same: firing
opens, or corrects the texts of what is open; the earliest end told closes, and nothing opens again. An alert that fires
anew has ended before, whether or not that was told.
"""

import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError, close_old_connections, transaction
from django.db.models import Min
from django.utils import timezone

from ..problems import Problem
from ..refresh import request_refresh
from . import incidents
from .alertmanager import Alertmanager, AlertmanagerUnavailable
from .deployments import CLOCK_TOLERANCE, unknown_names
from .models import FINGERPRINT, Deployment, Incident, Severity

MAX_DESCRIPTION = 10_000  # characters
# After its own start Alertmanager does not know yet what fires: Prometheus repeats that each minute or so.
SETTLING = timedelta(minutes=5)
SYNC_EVERY = timedelta(minutes=5)

log = structlog.get_logger("bambisleep.alerts")


class InvalidAlert(Problem):
    """An alert that cannot be understood; `errors` says where."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, as far as an incident is made of it. `ended_at` is None while it fires."""

    fingerprint: str
    started_at: datetime
    ended_at: datetime | None
    service: str
    environment: str
    title: str
    description: str
    severity: str
    url: str
    change_linkable: bool


@dataclass(slots=True)
class Received:
    """What became of the alerts of one delivery; together as many as were in it."""

    opened: int = 0
    updated: int = 0
    resolved: int = 0
    ignored: int = 0  # opens no incident, or said nothing new
    rejected: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Synced:
    """What a comparison with Alertmanager changed, or with `dry_run` would have changed."""

    opened: list[str] = field(default_factory=list)  # titles
    resolved: list[str] = field(default_factory=list)
    settled_at: datetime | None = None  # None: all was compared. Else nothing was closed, and may be from then on.


def receive(alerts: Sequence[object]) -> Received:
    """Take in the alerts of one delivery of Alertmanager's webhook (version 4).

    Each has a transaction of its own, so that a bad one does not cost the others, and a delivery that was cut off is
    made whole by its repetition.

    Args:
        alerts: the webhook's `alerts`, as parsed from JSON.

    Raises:
        DatabaseError: where the database does not answer; Alertmanager then delivers again.
    """
    received = Received()
    for index, raw in enumerate(alerts):
        try:
            alert = read(raw)
            outcome = record(alert) if alert else "ignored"
        except InvalidAlert as problem:
            fingerprint = raw.get("fingerprint") if isinstance(raw, dict) else None
            fingerprint = _text(fingerprint, 64) if isinstance(fingerprint, str) else None
            received.rejected.append({"index": index, "fingerprint": fingerprint, "errors": problem.errors})
            log.warning("alert_rejected", fingerprint=fingerprint, errors=problem.errors)
        else:
            setattr(received, outcome, getattr(received, outcome) + 1)
    return received


def record(alert: Alert) -> str:
    """Bring the incident of an alert up to date.

    Returns:
        What that was: "opened", "updated", "resolved", or "ignored" where the row stays as it is.
    """
    now = timezone.now()
    key = {"fingerprint": alert.fingerprint, "started_at": alert.started_at}
    with transaction.atomic():
        _close_earlier(alert)
        stored = Incident.objects.select_for_update().filter(**key).first()
        if stored is None:
            try:
                with transaction.atomic():
                    _create(alert)
            except IntegrityError:  # another delivery got there first
                stored = Incident.objects.select_for_update().get(**key)
            else:
                request_refresh()
                return "resolved" if alert.ended_at else "opened"
        outcome = _merge(stored, alert, now)
        if outcome != "ignored":
            request_refresh()
    return outcome


def _close_earlier(alert: Alert) -> None:
    """What fires anew has ended before. Alertmanager tells no end of it where it was inhibited or silenced then.

    What a person opened again is a person's to close.
    """
    earlier = Incident.objects.open().filter(fingerprint=alert.fingerprint, started_at__lt=alert.started_at)
    for incident in earlier.filter(reopenings=0).select_for_update():
        _close(incident, {alert.fingerprint: alert.started_at})


def sync(*, url: str = "", dry_run: bool = False) -> Synced:
    """Compare with what fires now: open what is not known, and close what fires no longer.

    What came and went while we were down is never delivered, and what ended then may not be. When it ended is told by
    nobody: it is taken to have been when the same alert fired again, else now; an end that is delivered after all, and
    is earlier, corrects that. Silenced and inhibited alerts open nothing, as nothing of them is delivered, and close
    nothing, since they fire. What a person opened again is a person's to close.

    Args:
        url: of Alertmanager; by default ALERTMANAGER_URL.

    Raises:
        AlertmanagerUnavailable: where it does not answer; then nothing was changed.
    """
    alertmanager = Alertmanager(url or settings.ALERTMANAGER_URL)
    # In this order: what is delivered after the first line is not taken for over by the second, nor is an Alertmanager
    # that restarts after the second taken for one that knows that nothing fires.
    alerts_own = Incident.objects.open().filter(fingerprint__regex=FINGERPRINT, reopenings=0)
    open_before = list(alerts_own.order_by("started_at", "pk"))
    firing = alertmanager.alerts()
    settled_at = alertmanager.up_since() + SETTLING

    synced = Synced()
    fires: dict[str, datetime] = {}
    for raw in firing:
        alert = _read_firing(raw)
        if alert is None:
            continue
        fires[alert.fingerprint] = alert.started_at
        if (raw.get("status") or {}).get("state") == "active":
            known = Incident.objects.filter(fingerprint=alert.fingerprint, started_at=alert.started_at).exists()
            if not known if dry_run else record(alert) == "opened":
                synced.opened.append(alert.title)
    if timezone.now() < settled_at:
        synced.settled_at = settled_at
        return synced
    for incident in open_before:
        if fires.get(incident.fingerprint) != incident.started_at and (dry_run or _close(incident, fires)):
            synced.resolved.append(incident.title)
    return synced


def sync_at_start(*, patience: timedelta = timedelta(minutes=15)) -> bool:
    """Compare until all was compared, waiting for an Alertmanager that starts later than we do. For a thread.

    Returns:
        Whether that came to its end within `patience`.
    """
    deadline = time.monotonic() + patience.total_seconds()
    wait_seconds, said = 1.0, ""
    while True:
        try:
            synced = sync()
            problem = f"Nothing is closed before {synced.settled_at}." if synced.settled_at else ""
            if synced.opened or synced.resolved:
                log.info("incidents_synced", opened=synced.opened, resolved=synced.resolved)
        except (AlertmanagerUnavailable, DatabaseError) as error:
            problem = str(error).strip()[:300]
        finally:
            close_old_connections()
        if not problem:
            return True
        if problem != said:
            log.warning("incidents_not_synced", reason=problem)
            said = problem
        if time.monotonic() + wait_seconds > deadline:
            return False
        time.sleep(wait_seconds)
        wait_seconds = min(wait_seconds * 2, 60.0)


def keep_synced(until: threading.Event, *, every: timedelta = SYNC_EVERY) -> None:
    """Compare at the start and again and again, since nobody tells of what ends while it is silenced. For a thread."""
    while not until.is_set():
        sync_at_start()
        until.wait(every.total_seconds())


def read(raw: object) -> Alert | None:
    """Understand one alert of the webhook; None for one that opens no incident.

    Raises:
        InvalidAlert: where it lacks what an incident needs.
    """
    labels = _strings(raw, "labels")
    if labels.get("opens_incident") != "true":
        return None
    annotations = _strings(raw, "annotations")
    told: dict[str, Any] = raw if isinstance(raw, dict) else {}
    now = timezone.now()
    errors: dict[str, list[str]] = {}

    fingerprint = told.get("fingerprint")
    if not isinstance(fingerprint, str) or not re.fullmatch(FINGERPRINT, fingerprint):
        errors["fingerprint"] = ["Must be 16 hexadecimal digits."]
    status = told.get("status")
    if status not in ("firing", "resolved"):
        errors["status"] = ["Must be firing or resolved."]
    started_at = ended_at = None
    try:
        started_at = _moment(told.get("startsAt"))
        if started_at is None or started_at > now + CLOCK_TOLERANCE:
            errors["startsAt"] = ["Is missing, or more than five minutes in the future."]
    except ValueError:
        errors["startsAt"] = ["Must be a time with offset, such as 2026-01-01T12:00:00Z."]
    try:
        ended_at = _moment(told.get("endsAt"))
    except ValueError:
        errors["endsAt"] = ["Must be a time with offset, such as 2026-01-01T12:00:00Z."]
    pipeline = {
        "service": _text(labels.get("service"), 101) or settings.DEPLOY_SERVICE,
        "environment": _text(labels.get("environment"), 101) or settings.DEPLOY_ENVIRONMENT,
    }
    errors.update({name: ["Has more than 100 characters."] for name, value in pipeline.items() if len(value) > 100})
    errors.update(unknown_names(**pipeline))
    if errors or not isinstance(fingerprint, str) or started_at is None:
        raise InvalidAlert("The alert was not recorded.", errors=errors)
    severity = labels.get("severity")
    return Alert(
        fingerprint=fingerprint,
        started_at=started_at,
        ended_at=max(started_at, min(ended_at or now, now)) if status == "resolved" else None,
        title=_text(annotations.get("summary"), 200)
        or _text(labels.get("alertname"), 200)
        or "An alert without a name",
        description=_text(annotations.get("description"), MAX_DESCRIPTION),
        severity=severity if severity in {"critical", "warning"} else Severity.INFO.value,
        url=_link(told.get("generatorURL")),
        change_linkable=labels.get("change_linkable") == "true",
        **pipeline,
    )


def _read_firing(raw: dict[str, Any]) -> Alert | None:
    """An alert of the API, which tells when a firing one would time out where the webhook tells no end."""
    try:
        return read({**raw, "status": "firing", "endsAt": None})
    except InvalidAlert as problem:
        log.warning("alert_rejected", fingerprint=str(raw.get("fingerprint"))[:64], errors=problem.errors)
        return None


def _create(alert: Alert) -> None:
    """Insert its row, linked once and for all: what a person unlinks later stays unlinked."""
    ends = [end for end in (alert.ended_at, _next_start(alert.fingerprint, alert.started_at)) if end]
    incident = Incident(
        service=alert.service,
        environment=alert.environment,
        started_at=alert.started_at,
        resolved_at=min(ends, default=None),
        fingerprint=alert.fingerprint,
        **_texts(alert),
    )
    incident.save(force_insert=True)
    cause = _suspect(alert) if alert.change_linkable else None
    if cause is not None:
        incidents.link(incident, cause)


def _suspect(alert: Alert) -> Deployment | None:
    """The last deployment of its service that finished within the blast window before it began."""
    window = {"finished_at__lte": alert.started_at, "finished_at__gte": alert.started_at - settings.BLAST_WINDOW}
    return Deployment.objects.of(alert.service, alert.environment).finished().filter(**window).in_order().last()


def _merge(stored: Incident, alert: Alert, now: datetime) -> str:
    """Merge an alert into its row, which is locked.

    The texts are those of the earliest end told, else of the last word while it fired.
    """
    if stored.resolved_at is not None and (alert.ended_at is None or alert.ended_at >= stored.resolved_at):
        return "ignored"  # repeated or late; or a person said earlier that it was over
    row = Incident.objects.filter(pk=stored.pk)
    texts = _texts(alert)
    changed = {name: value for name, value in texts.items() if getattr(stored, name) != value}
    if changed:
        row.update(**changed, updated_at=now)
    if alert.ended_at is None:
        return "updated" if changed else "ignored"
    if stored.resolved_at is None:
        incidents.resolve(stored, resolved_at=alert.ended_at)
        return "resolved"
    row.update(resolved_at=alert.ended_at, updated_at=now)
    return "updated"


def _texts(alert: Alert) -> dict[str, str]:
    return {
        "title": alert.title,
        "description": alert.description,
        "severity": alert.severity,
        "url": alert.url,
    }


def _close(incident: Incident, fires: dict[str, datetime]) -> bool:
    """Close what fires no longer, at the latest that it can have ended."""
    starts: Iterable[datetime | None] = (
        timezone.now(),
        fires.get(incident.fingerprint),
        _next_start(incident.fingerprint, incident.started_at),
    )
    ended_at = min((start for start in starts if start and start >= incident.started_at), default=incident.started_at)
    return incidents.resolve(incident, resolved_at=ended_at)


def _next_start(fingerprint: str, started_at: datetime) -> datetime | None:
    """When the same alert fired for the next time, as far as is known."""
    later = Incident.objects.filter(fingerprint=fingerprint, started_at__gt=started_at)
    first: datetime | None = later.aggregate(first=Min("started_at"))["first"]
    return first


def _strings(raw: object, name: str) -> dict[str, str]:
    """Labels or annotations.

    Raises:
        InvalidAlert: where they are no object of strings.
    """
    if not isinstance(raw, dict):
        raise InvalidAlert("The alert was not recorded.", errors={"alert": ["Must be an object."]})
    found = raw.get(name) or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidAlert("The alert was not recorded.", errors={name: ["Must be an object of strings."]})
    return found


def _moment(value: object) -> datetime | None:
    """A time in UTC; None for none, which Go writes as the year 1.

    To the millisecond, cut off: the webhook tells nanoseconds and the API milliseconds of the same time.

    Raises:
        ValueError: where it is no time with an offset.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("A time is a text.")
    told = datetime.fromisoformat(value)
    if told.tzinfo is None:
        raise ValueError("A time has an offset.")
    if told.year == 1:
        return None
    if told.year == 9999:
        raise ValueError("A time lies within what every zone can say.")
    told = told.astimezone(UTC)
    return told.replace(microsecond=told.microsecond // 1000 * 1000)


def _text(value: str | None, length: int) -> str:
    """At most `length` characters, without what a database refuses."""
    text = (value or "").replace("\0", "\ufffd").encode("utf-8", "replace").decode().strip()
    return text if len(text) <= length else text[: length - 1] + "…"


def _link(value: object) -> str:
    """An address that can be a link; empty for anything else. (Prometheus knows itself by a host without dots.)"""
    if not isinstance(value, str) or len(value) > 1000 or not value.isascii() or not value.isprintable():
        return ""
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and " " not in value
    except ValueError:
        good = False
    return value if good else ""
