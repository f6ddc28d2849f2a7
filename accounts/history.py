"""The admin's history of somebody who is erased: that something was done stays, and when, and not to whom."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

ERASED = "somebody whose account is gone"


def forget(rows: QuerySet[Any], *, names: tuple[str, ...] = ()) -> None:
    """Take the person out of what the history says about these rows, which are to be deleted.

    Args:
        names: messages that hold one of these go, too.
    """
    kind = ContentType.objects.get_for_model(rows.model)
    numbers = [str(pk) for pk in rows.values_list("pk", flat=True)]
    about = LogEntry.objects.filter(content_type=kind, object_id__in=numbers)
    about.update(object_repr=ERASED)
    for name in filter(None, names):
        about.filter(change_message__icontains=name).update(change_message="")
