"""Publishing an item, and taking it back: what must be there before its readers come."""

from django.utils import timezone

from observability.problems import Conflict, Problem

from .models import Item, Kind, MediaFile, Role, State

NO_FILE = "A film or recording is published once its file is there: save it as a draft, upload the file, then publish."


def publish(item: Item) -> bool:
    """Publish it now; whether that changed anything. Raises Problem where its file is missing."""
    if item.state == State.PUBLISHED:
        return False
    if lacks_file(item):
        raise Problem(NO_FILE)
    item.published_at = timezone.now()
    item.save(update_fields=["published_at", "updated_at"])
    return True


def unpublish(item: Item) -> bool:
    """Make it a draft again; whether that changed anything."""
    if item.published_at is None:
        return False
    item.published_at = None
    item.save(update_fields=["published_at", "updated_at"])
    return True


def lacks_file(item: Item) -> bool:
    """Whether it is a film or recording of which there is nothing to play."""
    return item.kind != Kind.ARTICLE and (item.pk is None or item.media is None)


def expect_may_leave(file: MediaFile) -> None:
    """Raise Conflict where a published item would be left without its film or recording."""
    item = file.item
    if item is not None and file.role == Role.MAIN and item.published_at is not None:
        raise Conflict(
            f"“{file}” is what “{item}” plays, which is published or scheduled. Upload another in its place, or "
            "make the item a draft first."
        )
