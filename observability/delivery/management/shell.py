"""What the commands of delivery share: reading times, naming rows, and turning problems into plain words."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.conf import settings
from django.core.management.base import CommandError

from observability.delivery.models import Deployment, Incident
from observability.problems import Problem

NOTHING = "Nothing was recorded."


def moment(text: str) -> datetime:
    """A time of today's from ISO 8601 or from seconds since 1970; without an offset it is UTC. For arguments.

    Raises:
        ValueError: where it is no time.
        ArgumentTypeError: where it lies before 2000: a number that was meant as something else.
    """
    at = instant(text)
    if at.year < 2000:
        raise ArgumentTypeError(f"{text} is {at:%Y-%m-%d %H:%M} UTC, before anything here can have been.")
    return at


def instant(text: str) -> datetime:
    """Any time from ISO 8601 or from seconds since 1970; without an offset it is UTC. Eight digits are a date.

    Raises:
        ValueError: where it is no time.
    """
    try:
        if not re.fullmatch(r"\d{8}", text):
            return datetime.fromtimestamp(float(text), UTC)
    except (OverflowError, OSError):
        raise ValueError(f"{text} lies outside of what a date can be.") from None
    except ValueError:
        pass  # then it is ISO 8601
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def add_pipeline_arguments(parser: ArgumentParser) -> None:
    """Declare --service and --environment, with the installation's own as defaults."""
    parser.add_argument("--service", default=settings.DEPLOY_SERVICE, help="default: %(default)s")
    parser.add_argument("--environment", default=settings.DEPLOY_ENVIRONMENT, help="default: %(default)s")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Make a Problem a CommandError with each field's sentence, and the word that nothing was recorded."""
    try:
        yield
    except Problem as problem:
        raise CommandError(f"{said(problem)}\n{NOTHING}") from None


def said(problem: Problem) -> str:
    """What a problem says, a line for each field at fault."""
    lines = [f"  {field}: {' '.join(texts)}" for field, texts in (problem.errors or {}).items()]
    return "\n".join([problem.detail, *lines])


def find_deployment(name: str, *, service: str, environment: str) -> Deployment:
    """The deployment that has `name` as its external id, or else as its version.

    Raises:
        CommandError: where there is none, or where several have that version.
    """
    rows = Deployment.objects.of(service, environment)
    found = list(rows.filter(external_id=name)) or list(rows.filter(version=name).order_by("-pk")[:6])
    if not found:
        raise CommandError(f"{service} in {environment} has no deployment {name}. {NOTHING}")
    if len(found) > 1:
        ids = "\n".join(f"  {row.external_id} ({row.status}, {row.finished_at or 'not finished'})" for row in found)
        raise CommandError(
            f"Several deployments have the version {name}; name one by its external id:\n{ids}\n{NOTHING}"
        )
    return found[0]


def find_incident(number: int) -> Incident:
    """The incident of that number.

    Raises:
        CommandError: where there is none; it names those that are open.
    """
    incident = Incident.objects.filter(pk=number).first()
    if incident is None:
        rows = Incident.objects.open()[:20]
        listed = "\n".join(f"  {row.pk} {row.title} ({row.service}, {row.environment})" for row in rows)
        listed = f"Open are:\n{listed}" if listed else "None is open."
        raise CommandError(f"There is no incident {number}. {listed}\n{NOTHING}")
    return incident
