"""What a viewer gets to see of an item: all of it, its teaser, or nothing; and what stands beside it.

Who may is for `access` to say. Here it is asked, refusals are counted, and the texts are made of what may be shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from . import access, links, markdown
from .access import Refusal
from .models import Captions, Collection, Item, ItemQuerySet, MediaFile, Role, Tag

Preview = Literal["", "member", "visitor"]
PREVIEWS: Mapping[str, Preview] = {"member": "member", "visitor": "visitor"}
WORDS_A_MINUTE = 220
DESCRIPTION_CHARACTERS = 160
NOTHING = SafeString("")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What comes before and after an item in its collection, and where it stands there, from 1."""

    previous: Item | None = None
    next: Item | None = None
    place: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """An item as one viewer sees it. Where there is a `refusal`, it is the teaser: the texts are empty then."""

    item: Item
    refusal: Refusal | None
    preview: Preview  # "": the real thing
    neighbours: Neighbours
    body: SafeString = NOTHING
    transcript: SafeString = NOTHING

    @property
    def address(self) -> str:
        """The page's one address, whole."""
        return f"{settings.PUBLIC_URL}{self.item.get_absolute_url()}"

    @property
    def picture(self) -> str:
        """The whole address of the poster, which everybody may see; "" where there is none."""
        poster = self.item.poster
        return f"{settings.PUBLIC_URL}{links.address_of(poster, None)}" if poster else ""

    @property
    def description(self) -> str:
        """A sentence for search engines and for who is sent the link; of members' texts, nothing."""
        if self.item.summary or not self.item.is_public:
            return self.item.summary
        words = " ".join(markdown.plain(self.item.body).split())
        return Truncator(words).chars(DESCRIPTION_CHARACTERS)

    @property
    def minutes(self) -> int:
        """How long the text takes to read, about; 0 where there is none."""
        return math.ceil(len(self.item.body.split()) / WORDS_A_MINUTE)


def read(slug: str, user: Any, *, preview: Preview = "") -> Reading | None:
    """The item of that slug as `user`, who may be anonymous, sees it; None where there is none that they may know of.

    Args:
        preview: as whom staff want to see it, whatever its state; without a meaning for anybody else.
    """
    item = Item.objects.for_lists().filter(slug=slug).first()
    if item is None:
        return None
    if not access.may_preview(user):
        preview = ""
    refusal: Refusal | None
    if preview:
        refusal = "sign_in" if preview == "visitor" and not item.is_public else None
    else:
        refusal = access.refusal(item, user)
        if refusal is not None:
            links.count(refusal)
        if refusal == "not_published":
            return None
    beside = neighbours(item)
    if refusal is not None:
        return Reading(item, refusal, preview, beside)
    pictures = illustrations(item, user)
    return Reading(
        item,
        refusal,
        preview,
        beside,
        body=markdown.html(item.body, pictures=pictures),
        transcript=markdown.html(item.transcript, pictures=pictures, name="transcript", headings_below=2),
    )


def read_captions(pk: int, user: Any) -> tuple[Captions, Refusal | None] | None:
    """Captions, and why `user` may not have them, as of the item's recording; None where they may not know of them."""
    captions = Captions.objects.select_related("item").filter(pk=pk).first()
    if captions is None:
        return None
    refusal = None if access.may_preview(user) else access.refusal(captions.item, user)
    if refusal is not None:
        links.count(refusal)
    return None if refusal == "not_published" else (captions, refusal)


def illustrations(item: Item, user: Any) -> dict[str, markdown.Picture]:
    """The pictures that the item's texts may show, by their keys."""
    files = [file for file in item.files.all() if file.role == Role.ILLUSTRATION]
    return {str(file.key): _picture(file, user) for file in files}


def neighbours(item: Item) -> Neighbours:
    """What stands beside it in its collection, of what is published."""
    if item.collection_id is None:
        return Neighbours()
    row = list(in_order(Item.objects.published().filter(collection=item.collection_id)).only("slug", "title"))
    at = next((at for at, one in enumerate(row) if one.pk == item.pk), None)
    if at is None:
        return Neighbours()
    before, after = row[at - 1] if at else None, row[at + 1] if at + 1 < len(row) else None
    return Neighbours(before, after, at + 1, len(row))


def listed() -> ItemQuerySet:
    """What is published, newest first, with what lists show; the long texts stay where they are."""
    return Item.objects.published().for_lists().defer("body", "transcript")


def newest(number: int) -> ItemQuerySet:
    """The newest of what is published, with no more than their titles."""
    only = Item.objects.published().only("slug", "title", "language", "visibility")
    return only.order_by("-published_at", "-pk")[:number]


def in_order(items: ItemQuerySet) -> ItemQuerySet:
    """As a collection has them."""
    return items.order_by("position", "published_at", "pk")


def collections() -> QuerySet[Collection]:
    """Those that hold something published, with its `number`."""
    published = Q(items__published_at__lte=timezone.now())
    held = Collection.objects.annotate(number=Count("items", filter=published)).filter(number__gt=0)
    return held.order_by("position", "title")


def tags() -> QuerySet[Tag]:
    """Those that something published carries, with its `number`."""
    published = Q(items__published_at__lte=timezone.now())
    carried = Tag.objects.annotate(number=Count("items", filter=published)).filter(number__gt=0)
    return carried.order_by("name")


def _picture(file: MediaFile, user: Any) -> markdown.Picture:
    return markdown.Picture(links.address_of(file, user), file.description, file.width, file.height)
