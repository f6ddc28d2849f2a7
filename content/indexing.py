"""Keeping the search's entries in step with items and their tags."""

from typing import Any

from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete
from django.dispatch import receiver

from . import search
from .models import Item, Tag


@receiver(post_save, sender=Item)
def item_saved(instance: Item, raw: bool, **_: Any) -> None:
    """A fixture that is loaded brings the entries along."""
    if not raw:
        search.index(instance)


@receiver(m2m_changed, sender=Item.tags.through)
def tags_changed(instance: Item | Tag, action: str, pk_set: set[int] | None, **_: Any) -> None:
    """From either side: an item's tags, or a tag's items."""
    if isinstance(instance, Tag) and action == "pre_clear":
        _remember(instance)
    elif action in {"post_add", "post_remove", "post_clear"}:
        if isinstance(instance, Item):
            search.index(instance)
        else:
            search.index_all(Item.objects.filter(pk__in=_remembered(instance) if pk_set is None else pk_set))


@receiver(post_save, sender=Tag)
def tag_saved(instance: Tag, created: bool, raw: bool, **_: Any) -> None:
    """It may have another name."""
    if not raw and not created:
        search.index_all(instance.items.all())


@receiver(pre_delete, sender=Tag)
def tag_goes(instance: Tag, **_: Any) -> None:
    """Afterwards nobody knows what carried it."""
    _remember(instance)


@receiver(post_delete, sender=Tag)
def tag_is_gone(instance: Tag, **_: Any) -> None:
    """It is not found by it any more."""
    search.index_all(Item.objects.filter(pk__in=_remembered(instance)))


def _remember(tag: Tag) -> None:
    tag._carried_by = list(tag.items.values_list("pk", flat=True))  # type: ignore[attr-defined]


def _remembered(tag: Tag) -> list[int]:
    return getattr(tag, "_carried_by", [])
