"""Measures in the words and units that people read: "2 hours, 5 minutes", "1.4 a day", "better by 0.2 a day"."""

from datetime import timedelta

from django.utils import timezone
from django.utils.timesince import timesince

from .measures import Measure
from .models import Incident, Standing

TITLES = {
    "deployment_frequency": "Deployment frequency",
    "change_lead_time": "Change lead time",
    "change_fail_rate": "Change fail rate",
    "failed_deployment_recovery_time": "Failed deployment recovery time",
    "deployment_rework_rate": "Deployment rework rate",
}
EXCLUSIONS = {
    **{str(standing.value): str(standing.label) for standing in Standing},
    "not_caused_by_change": "not caused by a change",
    "unresolved": "not resolved yet",
}
MORE_IS_BETTER = frozenset({"deployment_frequency"})
DAY = 86_400


def duration(seconds: float | None) -> str:
    """Seconds as people say them, such as "2 hours, 5 minutes"; "–" for None."""
    if seconds is None:
        return "–"
    if abs(seconds) < 60:
        return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"
    now = timezone.now()
    sign = "−" if seconds < 0 else ""
    return sign + timesince(now - timedelta(seconds=abs(seconds)), now)


def amount(value: float | None, unit: str) -> str:
    """A measure's value, or the size of its trend, in the unit that gives the handiest number; "–" for None."""
    if value is None:
        return "–"
    if unit == "seconds":
        return duration(value)
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    for per_day, name in ((1.0, "a day"), (7.0, "a week"), (30.0, "a month")):
        if value * per_day >= 1:
            return f"{value * per_day:.3g} {name}"
    return f"{value * 365:.3g} a year"


def direction(name: str, measure: Measure) -> str:
    """Whether a measure went "better", "worse", "unchanged", or "" where there is nothing to compare."""
    if measure.trend is None or measure.value is None:
        return ""
    shown = amount(abs(measure.trend), measure.unit)
    if abs(measure.trend) < 1e-9 or shown in {"0 %", "0 seconds"}:
        return "unchanged"
    return "better" if (measure.trend > 0) == (name in MORE_IS_BETTER) else "worse"


def trend(name: str, measure: Measure, *, days: int) -> str:
    """The trend as a clause: "worse: 2 hours more than in the 30 days before"."""
    before = f"the {days} days before"
    word = direction(name, measure)
    if not word:
        return "" if measure.value is None else f"nothing to compare with in {before}"
    if word == "unchanged" or measure.trend is None:
        return f"unchanged from {before}"
    more = "more" if measure.trend > 0 else "less"
    return f"{word}: {_difference(abs(measure.trend), measure.unit)} {more} than in {before}"


def exclusion(reason: str) -> str:
    """Why a row is left out, for people."""
    return EXCLUSIONS.get(reason, reason.replace("_", " "))


def recovery_standing(incident: Incident) -> str:
    """Whether an incident counts towards recovery time, or why not."""
    if incident.deployment_id is None:
        return EXCLUSIONS["not_caused_by_change"]
    return EXCLUSIONS["unresolved"] if incident.resolved_at is None else "counted"


def _difference(size: float, unit: str) -> str:
    return f"{size * 100:.3g} percentage points" if unit == "ratio" else amount(size, unit)
