"""Items and files of a library, made by hand: for tests that look at what is made of them."""

import hashlib
import uuid
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import timezone

from content.models import Collection, Item, Kind, MediaFile, Role, Viewing, Visibility

numbers = count(1)


def days_ago(days: float) -> datetime:
    """That long before now."""
    return timezone.now() - timedelta(days=days)


def item(title: str = "", **more: Any) -> Item:
    """A public article, published yesterday."""
    number = next(numbers)
    values = {"slug": f"item-{number}", "title": title or f"Item {number}", "visibility": Visibility.PUBLIC}
    return Item.objects.create(**{**values, "published_at": days_ago(1), "body": "A *body*.", **more})


def members_item(title: str = "", **more: Any) -> Item:
    """An article for members, published yesterday."""
    return item(title, **{"visibility": Visibility.MEMBERS, **more})


def media(of: Item | None, content: bytes = b"0123456789" * 100, **more: Any) -> MediaFile:
    """A file in the library's storage, by default an item's film, which no player would play."""
    name = f"{uuid.uuid4().hex}.bin"
    storages["library"].save(name, ContentFile(content))
    values = {
        "item": of,
        "role": Role.MAIN,
        "name": name,
        "original_name": "film.webm",
        "kind": "video",
        "content_type": "video/webm",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return MediaFile.objects.create(**{**values, **more})


def film(**more: Any) -> Item:
    """A public film with its file."""
    made = item(**{"kind": Kind.VIDEO, **more})
    media(made)
    return made


def collection(**more: Any) -> Collection:
    """A collection."""
    number = next(numbers)
    return Collection.objects.create(**{"slug": f"collection-{number}", "title": f"Collection {number}", **more})


def viewing(of: Item | None, **more: Any) -> Viewing:
    """A minute that somebody watched an hour ago."""
    at = timezone.now() - timedelta(hours=1)
    values = {"item": of, "device": uuid.uuid4().hex, "started_at": at, "last_beacon_at": at + timedelta(minutes=1)}
    values["credited_until"] = values["last_beacon_at"]
    told = {"played_seconds": 60.0, "position_seconds": 60.0, "duration_seconds": 600.0, "watched": 0b11}
    return Viewing.objects.create(**{**values, **told, **more})
