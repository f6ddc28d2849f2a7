"""Recording deployments: one row however often and in whatever order the same one is told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from ..problems import Problem
from ..refresh import request_refresh
from .models import DeployedCommit, Deployment, Kind, Pipeline, Standing, Status

RANK = {Status.STARTED: 0, Status.SUCCEEDED: 1, Status.FAILED: 2, Status.ROLLED_BACK: 3}
FAILURES = {Status.FAILED, Status.ROLLED_BACK}
CLOCK_TOLERANCE = timedelta(minutes=5)


class InvalidDeployment(Problem):
    """The deployment contradicts itself or the clock; `errors` says where."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit's id and the time, with offset, at which it was authored."""

    sha: str
    authored_at: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """The row, and what telling it changed: it was "created", "updated", or stayed "unchanged"."""

    deployment: Deployment
    outcome: str


def record(
    *,
    service: str,
    environment: str,
    version: str,
    sha: str = "",
    external_id: str = "",
    status: str = Status.SUCCEEDED,
    kind: str = Kind.PLANNED,
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
    url: str = "",
    actor: str = "",
    previous_sha: str = "",
    commits: Sequence[Commit] = (),
) -> Recorded:
    """Record a deployment, or what has become of one recorded before.

    Told twice, it is one row. Told again with a later status (started < succeeded < failed < rolled_back), it takes
    that status; with an earlier or the same one, nothing changes, so that order and repetition do not matter.

    Args:
        external_id: unique with service and environment; by default version and commit.
        finished_at: by default now, unless `status` is "started".
        commits: what this deployment brought, `git log previous..this`.

    Raises:
        InvalidDeployment: a time in the future or out of order, an unknown status or kind, a name that is too long; a
            rollback by the external id of a deployment that was none.
    """
    now = timezone.now()
    if status != Status.STARTED and finished_at is None:
        finished_at = now
    told = Deployment(
        service=service.strip(),
        environment=environment.strip(),
        version=version.strip(),
        sha=sha.strip().lower(),
        external_id=external_id.strip() or default_external_id(version=version, sha=sha),
        status=status,
        kind=kind,
        started_at=started_at,
        finished_at=None if status == Status.STARTED else finished_at,
        url=url,
        actor=actor,
        previous_sha=previous_sha.strip().lower(),
        failure_recorded_at=now if status in FAILURES else None,
    )
    _check(told, commits, now)
    with transaction.atomic():
        lock_pipeline(told.service, told.environment)
        stored = Deployment.objects.of(told.service, told.environment).filter(external_id=told.external_id).first()
        if stored is None:
            _refuse_cycle(told)
            told.save(force_insert=True)
            outcome = "created"
            stored = told
        elif RANK[Status(status)] > RANK[Status(stored.status)]:
            _advance(stored, told)
            outcome = "updated"
        else:
            _refuse_rollback_of_that_name(told, stored)
            return Recorded(stored, "unchanged")
        _add_commits(stored, commits)
        _hand_on(stored)
        _attribute(stored, created=outcome == "created")
        request_refresh()
    return Recorded(stored, outcome)


def default_external_id(*, version: str, sha: str) -> str:
    """What a deployment is called when its pipeline gave it no name: version and commit."""
    return f"{version.strip()}+{sha.strip().lower()}" if sha else version.strip()


def previous_commit(*, service: str, environment: str, external_id: str) -> str:
    """The commit of the last succeeded deployment there, other than `external_id`; empty where there is none."""
    succeeded = Deployment.objects.of(service, environment).succeeded().exclude(external_id=external_id)
    last = succeeded.exclude(sha="").in_order().last()
    return last.sha if last else ""


def mark_failed(deployment: Deployment, *, status: str = Status.FAILED) -> bool:
    """Say of a finished deployment that it failed, or was rolled back, after all.

    Returns:
        Whether that changed anything.

    Raises:
        InvalidDeployment: where it has not finished, or `status` is no failure.
    """
    if status not in FAILURES:
        raise InvalidDeployment("A deployment is marked as failed or as rolled_back.")
    with transaction.atomic():
        lock_pipeline(deployment.service, deployment.environment)
        deployment.refresh_from_db()
        if deployment.finished_at is None:
            raise InvalidDeployment("The deployment has not finished yet: record how it ended.")
        if RANK[Status(status)] <= RANK[Status(deployment.status)]:
            return False
        deployment.status = status
        deployment.failure_recorded_at = deployment.failure_recorded_at or timezone.now()
        deployment.save(update_fields=["status", "failure_recorded_at", "updated_at"])
        _hand_on(deployment)
        _attribute(deployment)
        request_refresh()
    return True


def _check(told: Deployment, commits: Iterable[Commit], now: datetime) -> None:
    errors: dict[str, list[str]] = {}
    try:
        told.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        errors = {field: list(texts) for field, texts in error.message_dict.items()}
    for name, at in (("started_at", told.started_at), ("finished_at", told.finished_at)):
        if at and at > now + CLOCK_TOLERANCE:
            errors.setdefault(name, []).append("Lies more than five minutes in the future.")
    if told.started_at and told.finished_at and told.finished_at < told.started_at:
        errors.setdefault("finished_at", []).append("Lies before the start.")
    for name, texts in unknown_names(told.service, told.environment).items():
        errors.setdefault(name, []).extend(texts)
    if told.previous_sha and told.previous_sha == told.sha and told.kind != Kind.ROLLBACK:
        errors.setdefault("previous", []).append("Is the deployed commit itself.")
    if any(not commit.sha or len(commit.sha) > 64 for commit in commits):
        errors.setdefault("commits", []).append("Each commit needs an id of 1 to 64 characters.")
    if errors:
        raise InvalidDeployment("The deployment was not recorded.", errors=errors)


def _refuse_rollback_of_that_name(told: Deployment, stored: Deployment) -> None:
    """Going back to a version is a deployment of its own; by the id of the way there it would be lost."""
    if told.kind == Kind.ROLLBACK != stored.kind and told.finished_at is not None:
        raise InvalidDeployment(
            "The deployment was not recorded.",
            errors={
                "external_id": [
                    f"{stored.external_id} is known as {stored.kind}; give the rollback an external id of its own."
                ]
            },
        )


def _refuse_cycle(told: Deployment) -> None:
    """Follow the previous commits back; a chain that comes round to a commit deployed only now is a mistake.

    (A commit that was deployed before may well follow itself: a rollback, and the way forward again.)
    """
    pipeline = Deployment.objects.of(told.service, told.environment)
    if not told.sha or pipeline.filter(sha=told.sha).exists():
        return
    seen, sha = set(), told.previous_sha
    while sha and sha not in seen:
        seen.add(sha)
        sha = pipeline.filter(sha=sha).order_by("finished_at").values_list("previous_sha", flat=True).first() or ""
        if sha == told.sha:
            raise InvalidDeployment(
                "The deployment was not recorded.",
                errors={"previous": ["Follows, over other deployments, this very one: the chain is a cycle."]},
            )


def unknown_names(service: str, environment: str) -> dict[str, list[str]]:
    """What is wrong with a pipeline's names, by field, where settings list those that may be recorded.

    Each pipeline is some sixty series for good, so it is asked before one is made.
    """
    listed = (
        ("service", service, "DEPLOY_SERVICES", settings.DEPLOY_SERVICES),
        ("environment", environment, "DEPLOY_ENVIRONMENTS", settings.DEPLOY_ENVIRONMENTS),
    )
    return {
        field: [f"Is none of {', '.join(known)} ({setting})."]
        for field, name, setting, known in listed
        if known and name not in known
    }


def lock_pipeline(service: str, environment: str) -> None:
    """Serialise what is recorded of one pipeline until the transaction ends."""
    try:
        with transaction.atomic():
            Pipeline.objects.get_or_create(service=service, environment=environment)
    except IntegrityError:
        pass  # another process made it first, and that is all we need
    Pipeline.objects.select_for_update().get(service=service, environment=environment)


def _advance(stored: Deployment, told: Deployment) -> None:
    stored.status = told.status
    stored.finished_at = stored.finished_at or told.finished_at
    stored.started_at = stored.started_at or told.started_at
    if stored.started_at and stored.finished_at and stored.finished_at < stored.started_at:
        raise InvalidDeployment("The deployment was not recorded.", errors={"finished_at": ["Lies before the start."]})
    stored.failure_recorded_at = stored.failure_recorded_at or told.failure_recorded_at
    for name in ("url", "actor", "previous_sha", "sha"):
        if not getattr(stored, name):
            setattr(stored, name, getattr(told, name))
    if stored.kind == Kind.PLANNED:
        stored.kind = told.kind
    stored.save()


def _add_commits(deployment: Deployment, commits: Sequence[Commit]) -> None:
    DeployedCommit.objects.bulk_create(
        [
            DeployedCommit(
                deployment=deployment,
                service=deployment.service,
                environment=deployment.environment,
                sha=commit.sha.lower(),
                authored_at=commit.authored_at,
            )
            for commit in {commit.sha.lower(): commit for commit in commits}.values()
        ],
        batch_size=1000,
        ignore_conflicts=True,
    )


def _hand_on(deployment: Deployment) -> None:
    """What failed, and was not taken back, is shipped by the next: give that its commits.

    Where it was built upon, the range of the next begins at its commit, so that git does not name them there.
    """
    failures = Deployment.objects.of(deployment.service, deployment.environment).filter(status__in=FAILURES)
    failures = failures.exclude(sha="")
    concerned = failures.filter(sha__in=[deployment.sha, deployment.previous_sha])
    waiting = set(concerned.values_list("pk", flat=True))
    # The earliest first, so that each has been given everything when its turn comes.
    while failed := failures.filter(pk__in=waiting).in_order().first():
        waiting.remove(failed.pk)
        commits = [Commit(commit.sha, commit.authored_at) for commit in failed.commits.all()]
        for later in _next(failed):
            _add_commits(later, commits)
            waiting.add(later.pk)


def _next(failed: Deployment) -> list[Deployment]:
    """Those that shipped what `failed` did not: its commit tried again, and until then what was built on it.

    Ways back ship nothing. One that was recorded as planned, as by an old job run again, is known by its commit: that
    was there before.
    """
    pipeline = Deployment.objects.of(failed.service, failed.environment)
    there_before = pipeline.filter(finished_at__lte=failed.finished_at).exclude(sha="")
    after = pipeline.filter(finished_at__gt=failed.finished_at).exclude(kind=Kind.ROLLBACK)
    built_on_it = after.filter(previous_sha=failed.sha).exclude(sha__in=there_before.values("sha"))
    again = after.filter(sha=failed.sha).in_order().first()
    return [*built_on_it.filter(finished_at__lt=again.finished_at), again] if again else list(built_on_it)


def _attribute(deployment: Deployment, *, created: bool = False) -> None:
    """Decide anew which deployment each commit counts for, wherever `deployment` has a say in it.

    The result depends on the rows alone, not on the order in which they were told: a commit counts at the first
    succeeded deployment that brought it, unless that is a rollback, or the first of the pipeline.
    """
    pipeline = Deployment.objects.of(deployment.service, deployment.environment)
    first, second = [*pipeline.shipping().in_order().values_list("pk", flat=True)[:2], None, None][:2]
    concerned = {deployment.pk}
    if first == deployment.pk and second:
        concerned.add(second)  # it was the first until now
    elif first and not created:  # a new row that is not the first does not make another the first
        concerned.add(first)  # it may have become the first now
    shas = list(
        DeployedCommit.objects.filter(deployment__in=concerned).order_by().values_list("sha", flat=True).distinct()
    )
    for start in range(0, len(shas), 10_000):
        _attribute_commits(deployment, shas[start : start + 10_000], first)


def _attribute_commits(deployment: Deployment, shas: Sequence[str], first: int | None) -> None:
    rows = list(
        DeployedCommit.objects.filter(service=deployment.service, environment=deployment.environment, sha__in=shas)
        .select_related("deployment")
        .order_by("deployment__finished_at", "deployment_id")
    )
    observed = {row.sha for row in rows if row.observed_lead_seconds is not None}
    shipped: set[str] = set()
    changed = []
    for row in rows:
        before = (row.standing, row.deployed_at, row.observed_lead_seconds)
        _judge(row, shipped, first)
        if row.standing == Standing.COUNTED and row.sha not in observed:
            row.observed_lead_seconds = row.lead_seconds
            observed.add(row.sha)
        if before != (row.standing, row.deployed_at, row.observed_lead_seconds):
            changed.append(row)
    fields = ["standing", "deployed_at", "lead_seconds", "observed_lead_seconds"]
    # First those that give the place up, then those that take it: never two counted at once.
    for batch in (
        [row for row in changed if row.standing != Standing.COUNTED],
        [row for row in changed if row.standing == Standing.COUNTED],
    ):
        DeployedCommit.objects.bulk_update(batch, fields, batch_size=500)


def _judge(row: DeployedCommit, shipped: set[str], first: int | None) -> None:
    deployment = row.deployment
    row.deployed_at = deployment.finished_at
    if deployment.finished_at is not None:
        row.lead_seconds = (deployment.finished_at - row.authored_at).total_seconds()
    if deployment.status != Status.SUCCEEDED or row.lead_seconds is None:
        row.standing = Standing.PENDING
    elif deployment.kind == Kind.ROLLBACK:
        row.standing = Standing.ROLLBACK
    elif row.sha in shipped:
        row.standing = Standing.ALREADY_DEPLOYED
    else:
        shipped.add(row.sha)
        if deployment.pk == first:
            row.standing = Standing.FIRST_DEPLOYMENT
        elif row.lead_seconds < 0:
            row.standing = Standing.NEGATIVE
        else:
            row.standing = Standing.COUNTED
