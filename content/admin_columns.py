"""Columns and filters that several pages of the library in the admin have."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User

from . import links
from .models import FileKind, Item, MediaFile, Role, State
from .templatetags.library import clock

NONE = "–"


class StateFilter(admin.SimpleListFilter):
    """By where an item stands on its way to its readers."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        """In the order of a life."""
        return State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Item]) -> QuerySet[Item]:
        """The items in it, now."""
        now = timezone.now()
        choices: dict[str, dict[str, Any]] = {
            State.DRAFT.value: {"published_at": None},
            State.SCHEDULED.value: {"published_at__gt": now},
            State.PUBLISHED.value: {"published_at__lte": now},
        }
        return queryset.filter(**choices.get(str(self.value()), {}))


def badge(item: Item) -> SafeString:
    """Where an item stands, and since or until when."""
    marks = {State.DRAFT: "warn", State.SCHEDULED: "quiet", State.PUBLISHED: "good"}
    return format_html('<span class="state {}">{}</span>', marks[item.state], item.state.label)


def length(seconds: float | None) -> str:
    """Of a recording, by the clock."""
    return NONE if seconds is None else clock(seconds)


def size(file: MediaFile) -> str:
    """In units that people read."""
    return filesizeformat(file.size_bytes)


def dimensions(file: MediaFile) -> str:
    """In pixels."""
    return f"{file.width} × {file.height}" if file.width and file.height else NONE


def preview(file: MediaFile, user: User | AnonymousUser) -> SafeString:
    """A picture as a small one, anything else as a link to it."""
    address = links.address_of(file, user)
    if file.kind == FileKind.IMAGE:
        picture = '<a class="thumbnail" href="{0}"><img src="{0}" alt="{1}" loading="lazy"></a>'
        return format_html(picture, address, file.description or f"Preview of {file}")
    return format_html('<a href="{}" aria-label="Play {}">Play</a>', address, file)


def snippet(file: MediaFile) -> SafeString | str:
    """What to write in the text of an item where this picture is to stand."""
    if file.role != Role.ILLUSTRATION:
        return NONE
    text = (file.description or "What it shows").replace("[", "(").replace("]", ")")
    return format_html('<code class="snippet">![{}](media:{})</code>', text, file.key)


def file_link(file: MediaFile) -> SafeString:
    """The file's page in the admin."""
    return format_html('<a href="{}">{}</a>', reverse("admin:content_mediafile_change", args=[file.pk]), file)
