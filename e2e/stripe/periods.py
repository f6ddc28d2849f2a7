"""When a billing period ends, by the calendar."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

from e2e.stripe.wire import Object


def after(anchor: int, recurring: Object, periods: int = 1) -> int:
    """The end of the nth period from `anchor`; a month that is too short ends on its last day."""
    moment = datetime.fromtimestamp(anchor, UTC)
    count, interval = recurring["interval_count"] * periods, recurring["interval"]
    if interval in {"day", "week"}:
        return int((moment + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())
    months = moment.month - 1 + count * (12 if interval == "year" else 1)
    year, month = moment.year + months // 12, months % 12 + 1
    return int(moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1])).timestamp())
