"""What waits for a moderator, for the admin's home page."""

from dataclasses import dataclass

from django.urls import reverse

from .models import Report


@dataclass(frozen=True, slots=True)
class Link:
    """Something to look at, in words, and where."""

    text: str
    url: str


def links() -> list[Link]:
    """Nothing where nothing waits."""
    number = Report.objects.open().count()
    if not number:
        return []
    address = reverse("admin:realtime_report_changelist")
    return [Link(f"{number} open report{'' if number == 1 else 's'} in the chat", f"{address}?resolution__exact=")]
