"""The library's items, the files they are made of, and what was looked at: data and invariants.

An item is one article, recording or film under one address. Its files are kept in the storage `library` under names of
our own; nothing that an uploader chose is ever part of a path.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django_prometheus.models import ExportModelOperationsMixin

# Words that stand where an item's slug would: /content/search/ is no item.
RESERVED_SLUGS = frozenset({"search", "feed", "collections", "tags", "continue"})


def not_reserved(slug: str) -> None:
    """Raise ValidationError where an address of the library's own would hide the item."""
    if slug in RESERVED_SLUGS:
        raise ValidationError(f"“{slug}” is an address of the library itself: choose another.")


class Kind(models.TextChoices):
    """What an item is."""

    ARTICLE = "article"
    AUDIO = "audio"
    VIDEO = "video"


class Visibility(models.TextChoices):
    """Whom an item is for, once it is published."""

    PUBLIC = "public", "everyone"
    MEMBERS = "members", "members"


class State(models.TextChoices):
    """Where an item stands on its way to its readers; follows from `published_at`."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PUBLISHED = "published"


class Collection(models.Model):
    """Items that belong together, in an order of their own: a course, a series."""

    slug = models.SlugField(max_length=80, unique=True)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, help_text="Markdown.")
    position = models.IntegerField(default=0, help_text="Smaller numbers come first.")
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        ordering = ["position", "title"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("content_collection", args=[self.slug])


class Tag(models.Model):
    """What an item is about."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=60)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """The list of what carries it."""
        return reverse("content_tag", args=[self.slug])


class ItemQuerySet(models.QuerySet["Item"]):
    """Reads of items."""

    def published(self, at: datetime | None = None) -> ItemQuerySet:
        """Those whose time has come, by default now; members' among them, which everybody may know of."""
        return self.filter(published_at__lte=at or timezone.now())

    def public(self) -> ItemQuerySet:
        """Those for everyone."""
        return self.filter(visibility=Visibility.PUBLIC)

    def for_lists(self) -> ItemQuerySet:
        """Newest first, with what a list shows of each."""
        return self.select_related("collection").prefetch_related("tags", "files").order_by("-published_at", "-pk")


class Item(ExportModelOperationsMixin("item"), models.Model):  # type: ignore[misc]
    """An article, a recording or a film."""

    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.ARTICLE)
    slug = models.SlugField(max_length=80, unique=True, validators=[not_reserved])
    title = models.CharField(max_length=200)
    summary = models.CharField(
        max_length=500, blank=True, help_text="Shown to everyone, in lists and to search engines."
    )
    body = models.TextField(blank=True, help_text="Markdown. Of members' items, for members alone.")
    transcript = models.TextField(blank=True, help_text="Markdown: what is said, for who reads it instead.")
    language = models.CharField(max_length=10, default="en", help_text="As in HTML: en, de, pt-BR.")
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.MEMBERS)
    published_at = models.DateTimeField(
        null=True, blank=True, db_index=True, help_text="Empty: a draft. In the future: scheduled. UTC."
    )
    collection = models.ForeignKey(Collection, models.SET_NULL, null=True, blank=True, related_name="items")
    position = models.IntegerField(default=0, help_text="Its place in the collection.")
    tags = models.ManyToManyField(Tag, blank=True, related_name="items")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = ItemQuerySet.as_manager()

    class Meta:
        ordering = ["-published_at", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="item_kind_known"),
            models.CheckConstraint(condition=Q(visibility__in=Visibility.values), name="item_visibility_known"),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("content_item", args=[self.slug])

    @property
    def state(self) -> State:
        """Draft, scheduled or published, now."""
        if self.published_at is None:
            return State.DRAFT
        return State.PUBLISHED if self.published_at <= timezone.now() else State.SCHEDULED

    @property
    def is_public(self) -> bool:
        """Whether it is for everyone, once it is published."""
        return self.visibility == Visibility.PUBLIC

    @property
    def media(self) -> MediaFile | None:
        """The recording or film itself; one query, none where `files` was prefetched."""
        return self._file(Role.MAIN)

    @property
    def poster(self) -> MediaFile | None:
        """The picture that stands for it."""
        return self._file(Role.POSTER)

    def _file(self, role: Role) -> MediaFile | None:
        return next((file for file in self.files.all() if file.role == role), None)


class Role(models.TextChoices):
    """What a file is to its item."""

    MAIN = "main", "the recording or film"
    POSTER = "poster", "the picture in lists"
    ILLUSTRATION = "illustration", "a picture in the text"


class FileKind(models.TextChoices):
    """What a file holds, as its content says."""

    AUDIO = "audio"
    VIDEO = "video"
    IMAGE = "image"


class MediaFile(models.Model):
    """A file in the storage `library`. Without an item, only staff see it."""

    key = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)  # by which its address names it
    item = models.ForeignKey(Item, models.SET_NULL, null=True, blank=True, related_name="files")
    role = models.CharField(max_length=15, choices=Role.choices, default=Role.MAIN)
    name = models.CharField(max_length=120, unique=True, editable=False)  # in the storage; made by us
    original_name = models.CharField(max_length=200, blank=True, help_text="As it was uploaded; for people only.")
    description = models.CharField(max_length=300, blank=True, help_text="What a picture shows, for who cannot see it.")
    kind = models.CharField(max_length=10, choices=FileKind.choices)
    content_type = models.CharField(max_length=100)
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64, db_index=True)
    duration_seconds = models.FloatField(null=True, blank=True)
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["item", "role"], condition=Q(role__in=["main", "poster"]), name="one_file_in_each_role"
            ),
            models.CheckConstraint(condition=Q(size_bytes__gte=0), name="media_file_size_not_negative"),
        ]

    def __str__(self) -> str:
        return self.original_name or self.name


class Captions(models.Model):
    """What is said in a recording or film, with its times (WebVTT)."""

    class Purpose(models.TextChoices):
        """As HTML's <track kind>."""

        CAPTIONS = "captions"
        SUBTITLES = "subtitles"
        DESCRIPTIONS = "descriptions"
        CHAPTERS = "chapters"

    item = models.ForeignKey(Item, models.CASCADE, related_name="captions")
    purpose = models.CharField(max_length=15, choices=Purpose.choices, default=Purpose.CAPTIONS)
    language = models.CharField(max_length=10, default="en")
    label = models.CharField(max_length=60, help_text="As the player's menu shows it.")
    text = models.TextField(help_text="WebVTT.")
    is_default = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "captions"
        ordering = ["language", "purpose"]
        constraints = [
            models.UniqueConstraint(fields=["item", "purpose", "language"], name="captions_once_per_language"),
        ]

    def __str__(self) -> str:
        return self.label


class Upload(models.Model):
    """A file on its way in, piece by piece; its bytes wait in `incoming/`, where nothing is served from."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    item = models.ForeignKey(Item, models.CASCADE, null=True, blank=True, related_name="+")
    role = models.CharField(max_length=15, choices=Role.choices, default=Role.MAIN)
    original_name = models.CharField(max_length=200)
    size_bytes = models.BigIntegerField()
    received_bytes = models.BigIntegerField(default=0)
    # Key of the file that was in the library already, once it is finished. One that became a file of its own is gone:
    # the file has its key.
    became = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(received_bytes__gte=0, received_bytes__lte=models.F("size_bytes")),
                name="upload_within_its_size",
            ),
        ]


class ViewingQuerySet(models.QuerySet["Viewing"]):
    """Reads of viewings."""

    def finished(self, at: datetime | None = None) -> ViewingQuerySet:
        """Those whose player has been silent for so long that they do not go on any more."""
        return self.filter(last_beacon_at__lt=(at or timezone.now()) - settings.VIEWING_IDLE)


class Viewing(models.Model):
    """One sitting of one viewer before one item: from the first beacon until the player was silent for VIEWING_IDLE.

    Once it is finished it never changes. `user` is empty for who is not signed in, and once an account is erased.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    item = models.ForeignKey(Item, models.SET_NULL, null=True, related_name="viewings")
    device = models.CharField(max_length=64)  # tells a viewer's devices, and strangers, apart; says nothing of them
    started_at = models.DateTimeField()
    last_beacon_at = models.DateTimeField()
    credited_until = models.DateTimeField()  # to what moment of the clock its playing has been counted
    played_seconds = models.FloatField(default=0)  # by the clock on the wall, while the player played
    position_seconds = models.FloatField(default=0)  # in the recording, where it stood last
    duration_seconds = models.FloatField(null=True)  # of the recording
    watched = models.IntegerField(default=0)  # bit i: some of the i-th twentieth of the recording was played
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = ViewingQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["user", "item", "-last_beacon_at"], name="viewing_of_user"),
            models.Index(fields=["item", "started_at"], name="viewing_of_item"),
            models.Index(fields=["device", "item", "-last_beacon_at"], name="viewing_of_device"),
            # With what the metric adds up, which is then read from the index alone.
            models.Index(fields=["last_beacon_at", "played_seconds"], name="viewing_finished"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(played_seconds__gte=0), name="viewing_played_not_negative"),
        ]


class Player(models.Model):
    """One page load of a player: what it has told so far, so that nothing is counted twice."""

    id = models.UUIDField(primary_key=True, editable=False)
    viewing = models.ForeignKey(Viewing, models.CASCADE, related_name="players")
    sequence = models.IntegerField(default=0)
    played_seconds = models.FloatField(default=0)  # as told, before the bounds
    updated_at = models.DateTimeField(auto_now=True, db_index=True)


class Opening(models.Model):
    """How often an item's page was opened on one day (UTC), by one member, or by everybody who is not signed in."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="openings")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    day = models.DateField()
    number = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "day", "user"], condition=Q(user__isnull=False), name="opened_by_user"
            ),
            models.UniqueConstraint(fields=["item", "day"], condition=Q(user__isnull=True), name="opened_by_strangers"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id} on {self.day}"


class SearchEntry(models.Model):
    """The words by which the search finds an item, without markup (`content.search` writes and reads them).

    The database's own full-text index stands on this table (migration 0003): one that holds what everybody may read, so
    that nothing of members' texts shows in what others find, and one that holds all.
    """

    item = models.OneToOneField(Item, models.CASCADE, primary_key=True, related_name="+")
    title = models.TextField()
    summary = models.TextField(blank=True)
    tags = models.TextField(blank=True)
    body = models.TextField(blank=True)  # of what is for everyone
    members_body = models.TextField(blank=True)  # of what is for members

    class Meta:
        verbose_name_plural = "search entries"

    def __str__(self) -> str:
        return self.title


def label(item: Any) -> str:
    """The item's address without the site, as the label `path` shows it."""
    return f"/content/{item.slug}/"
