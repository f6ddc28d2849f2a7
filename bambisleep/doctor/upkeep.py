"""What has to happen again and again: backups, prune, reconcile_stripe, facts; and whether the files are there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from content import storage
from content.models import MediaFile
from observability.health import FACTS_STALE_SECONDS
from observability.models import FactSample, MaintenanceTask

from .findings import Finding, check, error, note, ok, warning

FILES = 20  # the newest, which are looked for


@dataclass(frozen=True, slots=True)
class Chore:
    """A periodic task, and how long ago it may have succeeded."""

    task: str
    every: timedelta
    timer: str


CHORES = (
    Chore("backup", timedelta(hours=26), "bambisleep-backup.timer"),
    Chore("prune", timedelta(days=3), "bambisleep-prune.timer"),
    Chore("erase_accounts", timedelta(days=3), "bambisleep-erase-accounts.timer"),
)
RECONCILE = Chore("reconcile_stripe", timedelta(days=3), "bambisleep-reconcile-stripe.timer")


@check("periodic tasks")
def chores_are_done() -> Iterator[Finding]:
    """As far as they are recorded; see the admin, Maintenance tasks."""
    rows = MaintenanceTask.objects.in_bulk()
    for chore in (*CHORES, RECONCILE) if settings.STRIPE_SECRET_KEY else CHORES:
        yield _chore(chore, rows.get(chore.task))


def _chore(chore: Chore, row: MaintenanceTask | None) -> Finding:
    task, remedy = chore.task, f"Run manage.py {chore.task}, and have {chore.timer} run it from now on."
    if row is None or (row.succeeded_at is None and not row.error):
        return (note if settings.DEBUG else warning)(f"{task} was never run.", remedy)
    if row.error:
        since = f"; it succeeded last {row.succeeded_at:%Y-%m-%d %H:%M} UTC" if row.succeeded_at else ""
        return error(f"{task} failed when it was run last{since}: {row.error}", f"Mend what it says. {remedy}")
    ago = timezone.now() - row.succeeded_at  # type: ignore[operator]
    hours = ago / timedelta(hours=1)
    said = f"{task} succeeded {hours:.0f} hours ago{f' ({row.detail})' if row.detail else ''}."
    if ago <= chore.every:
        return ok(said)
    return (note if settings.DEBUG else warning)(f"Overdue: {said}", f"Is {chore.timer} enabled? {remedy}")


@check("facts")
def facts_are_fresh() -> Iterator[Finding]:
    """A process that serves brings them up to date."""
    rows = list(FactSample.objects.all())
    remedy = "Is a process of the site up? Runbook FactsStale."
    if not rows:
        yield warning("None was ever computed.", remedy)
        return
    for row in rows:
        if row.error:
            yield error(f"{row.fact} fails: {row.error}", "See the admin, Fact samples. Runbook FactFailing.")
    age = (timezone.now() - min(row.checked_at for row in rows)).total_seconds()
    if age > FACTS_STALE_SECONDS:
        yield (note if settings.DEBUG else warning)(f"They were looked at {age / 60:.0f} minutes ago.", remedy)
    else:
        yield ok(f"All {len(rows)} were looked at within {max(age, 0):.0f} seconds.")


@check("library", seconds=15)
def files_are_there() -> Iterator[Finding]:
    """The newest, one by one: a library that was not mounted, or not restored, has none of them."""
    names = list(MediaFile.objects.order_by("-pk").values_list("name", flat=True)[:FILES])
    missing = [name for name in names if not _is_there(name)]
    if missing:
        yield error(
            f"{len(missing)} of the newest {len(names)} files are not in the library, such as {missing[0]}.",
            "Is its disk mounted at LIBRARY_DIR? Else restore them from a backup.",
        )
    else:
        yield ok(f"The newest {len(names)} files are in the library." if names else "It is empty.")


def _is_there(name: str) -> bool:
    bucket = storage.in_bucket()
    if bucket is not None:
        return bucket.exists(name)
    try:
        storage.opened(name).close()
    except storage.Missing:
        return False
    return True
