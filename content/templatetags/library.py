"""Items in templates: {% load library %}.

{% newest_items 3 as items %}, {% address_of item.poster as address %}; {{ seconds|duration }} is "12 min",
{{ seconds|clock }} "1:02:03".
"""

from typing import Any

from django import template

from observability.problems import DATABASE_AWAY

from .. import links, reading
from ..models import Item, MediaFile

register = template.Library()


@register.simple_tag
def newest_items(number: int) -> list[Item] | None:
    """The newest that are published; None where the database does not answer, for the start page stands without it."""
    try:
        return list(reading.newest(number))
    except DATABASE_AWAY:
        return None


@register.simple_tag(takes_context=True)
def address_of(context: dict[str, Any], file: MediaFile | None) -> str:
    """The address by which whoever looks at the page gets the file; "" for none."""
    return links.address_of(file, context["request"].user) if file else ""


@register.filter
def duration(seconds: float | None) -> str:
    """How long it is, in words: "40 s", "12 min", "1 h 5 min"; "" where nobody knows."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@register.filter
def clock(seconds: float) -> str:
    """A moment in a recording: "3:07", "1:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
