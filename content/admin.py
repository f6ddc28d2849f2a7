"""The library in the admin: items with their files and captions, collections, tags, uploads, and what was watched.

Uploading has its pages in `admin_uploads`, an item's audience in `admin_audience`.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import Confirmed
from observability.admin import ReadOnly, number_of
from observability.delivery.admin import WindowFilter
from observability.problems import Problem

from . import admin_columns, publishing
from .admin_audience import AudienceMixin
from .admin_columns import NONE, StateFilter
from .admin_forms import CaptionsForm, ItemForm, MediaFileForm
from .admin_uploads import UploadPages
from .models import Captions, Collection, Item, MediaFile, Role, Tag, Upload, Viewing

TWENTIETHS = 20


class FilesInline(admin.TabularInline[MediaFile, Item]):
    """An item's files; they come by the upload page, and have pages of their own."""

    model = MediaFile
    template = "admin/content/item/files.html"
    extra = 0
    can_delete = False
    ordering = ["role", "pk"]
    fields = ["file", "role", "preview", "size", "length", "dimensions", "snippet"]
    readonly_fields = ["file", "role", "preview", "size", "length", "dimensions", "snippet"]
    user: Any = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[MediaFile]:
        """With who asks, by whom previews are signed; an inline is made for each request."""
        self.user = request.user
        return super().get_queryset(request).select_related("item")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not here."""
        return False

    @admin.display(description="file")
    def file(self, file: MediaFile) -> SafeString:
        """Its page."""
        return admin_columns.file_link(file)

    @admin.display(description="preview")
    def preview(self, file: MediaFile) -> SafeString:
        """A picture as such."""
        return admin_columns.preview(file, self.user)

    @admin.display(description="size")
    def size(self, file: MediaFile) -> str:
        """In units that people read."""
        return admin_columns.size(file)

    @admin.display(description="length")
    def length(self, file: MediaFile) -> str:
        """By the clock."""
        return admin_columns.length(file.duration_seconds)

    @admin.display(description="pixels")
    def dimensions(self, file: MediaFile) -> str:
        """Width and height."""
        return admin_columns.dimensions(file)

    @admin.display(description="for the text")
    def snippet(self, file: MediaFile) -> SafeString | str:
        """What to copy into the body."""
        return admin_columns.snippet(file)


class CaptionsInline(admin.StackedInline[Captions, Item]):
    """An item's captions."""

    model = Captions
    form = CaptionsForm
    extra = 0


@admin.register(Item)
class ItemAdmin(Confirmed, AudienceMixin, admin.ModelAdmin[Item]):
    """Items, the newest first: what is out, what is to come, and what is missing."""

    form = ItemForm
    list_display = [
        "title", "state", "kind", "visibility", "collection", "published_at", "length", "file_count", "audience_link",
    ]  # fmt: skip
    list_filter = [
        StateFilter, "kind", "visibility", "collection", "tags", ("published_at", WindowFilter),
    ]  # fmt: skip
    list_select_related = ["collection"]
    search_fields = ["title", "slug", "summary"]
    date_hierarchy = "published_at"
    ordering = ["-created_at", "-pk"]
    list_per_page = 50
    prepopulated_fields = {"slug": ["title"]}
    filter_horizontal = ["tags"]
    inlines = [FilesInline, CaptionsInline]
    actions = ["publish", "unpublish"]
    save_on_top = True
    view_on_site = False  # its previews take that place: they show drafts too
    fieldsets = [
        (None, {"fields": ["title", "slug", "kind", "summary", "body", "transcript", "language"]}),
        ("Who sees it, and when", {"fields": ["state", "visibility", "published_at"]}),
        ("Where it stands", {"fields": ["collection", "position", "tags"]}),
        ("The row", {"fields": ["created_at", "updated_at"], "classes": ["collapse"]}),
    ]
    readonly_fields = ["state", "created_at", "updated_at"]

    class Media:
        css = {"all": ["content/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Item]:
        """With what the list shows of an item's files."""
        main = MediaFile.objects.filter(item=OuterRef("pk"), role=Role.MAIN).order_by()
        numbers = {"file_number": number_of(MediaFile.objects.all(), "item")}
        return super().get_queryset(request).annotate(seconds=Subquery(main.values("duration_seconds")[:1]), **numbers)

    @admin.display(description="state", ordering="published_at")
    def state(self, item: Item) -> SafeString:
        """Draft, scheduled or published."""
        return admin_columns.badge(item)

    @admin.display(description="length", ordering="seconds")
    def length(self, item: Any) -> str:
        """Of its recording or film."""
        return admin_columns.length(item.seconds)

    @admin.display(description="files", ordering="file_number")
    def file_count(self, item: Any) -> int:
        """How many it has."""
        return int(item.file_number)

    @admin.action(description="Publish now…", permissions=["change"])
    def publish(self, request: HttpRequest, queryset: QuerySet[Item]) -> HttpResponse | None:
        """For those whom each is for, from now on."""
        page = self.confirmed(request, queryset, button="Publish now", question="Publish these items now?")
        return page or self._each(request, queryset, publishing.publish, "published.")

    @admin.action(description="Make drafts again…", permissions=["change"])
    def unpublish(self, request: HttpRequest, queryset: QuerySet[Item]) -> HttpResponse | None:
        """Seen by staff alone, from now on."""
        question = "Make drafts of these items again? Nobody but staff will see them."
        page = self.confirmed(request, queryset, button="Make drafts", question=question)
        return page or self._each(request, queryset, publishing.unpublish, "a draft again.")

    def _each(
        self, request: HttpRequest, queryset: QuerySet[Item], act: Callable[[Item], bool], done: str
    ) -> HttpResponse | None:
        for item in queryset.prefetch_related("files"):
            try:
                changed = act(item)
            except Problem as problem:
                messages.error(request, f"{item}: {problem.detail}")
                continue
            if changed:
                self.log_change(request, item, done.capitalize())
            messages.success(request, f"{item}: {done if changed else 'nothing to change.'}")
        return None


@admin.register(MediaFile)
class MediaFileAdmin(UploadPages, admin.ModelAdmin[MediaFile]):
    """Files, the newest first, those without an item among them; they come in by the upload page."""

    form = MediaFileForm
    list_display_links = ["__str__"]
    list_filter = ["kind", "role", ("item", admin.EmptyFieldListFilter), ("created_at", WindowFilter)]
    list_select_related = ["item", "uploaded_by"]
    search_fields = ["original_name", "item__title", "sha256__startswith"]
    date_hierarchy = "created_at"
    list_per_page = 50
    autocomplete_fields = ["item"]
    fieldsets = [
        (None, {"fields": ["original_name", "item", "role", "description", "snippet"]}),
        ("What it is", {"fields": ["kind", "content_type", "size", "length", "dimensions", "sha256"]}),
        ("The row", {"fields": ["key", "name", "uploaded_by", "created_at", "updated_at"], "classes": ["collapse"]}),
    ]
    readonly_fields = [
        "original_name", "snippet", "kind", "content_type", "size", "length", "dimensions", "sha256", "key", "name",
        "uploaded_by", "created_at", "updated_at",
    ]  # fmt: skip

    class Media:
        css = {"all": ["content/admin.css"]}

    def get_list_display(self, request: HttpRequest) -> Any:
        """With previews, whose addresses are made for who asks."""

        @admin.display(description="preview")
        def preview(file: MediaFile) -> SafeString:
            return admin_columns.preview(file, request.user)

        return ["__str__", preview, "kind", "role", "item", "size", "length", "dimensions", "uploaded_by", "created_at"]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With its preview."""
        context = dict(extra_context or {})
        file = self.get_object(request, unquote(object_id))
        if file is not None and self.has_view_permission(request, file):
            context["preview"] = admin_columns.preview(file, request.user)
        return super().change_view(request, object_id, form_url, context)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What a published item plays is not among what may go."""
        found, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        for file in objs:
            try:
                publishing.expect_may_leave(file)
            except Problem as problem:
                protected.append(problem.detail)
        return found, counts, perms_needed, protected

    @admin.display(description="size", ordering="size_bytes")
    def size(self, file: MediaFile) -> str:
        """In units that people read."""
        return admin_columns.size(file)

    @admin.display(description="length", ordering="duration_seconds")
    def length(self, file: MediaFile) -> str:
        """By the clock."""
        return admin_columns.length(file.duration_seconds)

    @admin.display(description="pixels", ordering="width")
    def dimensions(self, file: MediaFile) -> str:
        """Width and height."""
        return admin_columns.dimensions(file)

    @admin.display(description="for the text")
    def snippet(self, file: MediaFile) -> SafeString | str:
        """What to copy into the body of its item."""
        return admin_columns.snippet(file)


class WithItems:
    """Rows that items belong to, with how many."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the number of items."""
        found: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        counted: QuerySet[Any] = found.annotate(item_number=Count("items"))
        return counted

    @admin.display(description="items", ordering="item_number")
    def item_count(self, row: Any) -> SafeString:
        """How many; the list of them."""
        name = type(row)._meta.model_name
        query = f"{'tags' if name == 'tag' else name}__id__exact={row.pk}"
        return format_html('<a href="../item/?{}">{}</a>', query, row.item_number)


@admin.register(Collection)
class CollectionAdmin(WithItems, admin.ModelAdmin[Collection]):
    """Collections, in their order."""

    list_display = ["title", "slug", "position", "item_count", "updated_at"]
    search_fields = ["title", "slug"]
    prepopulated_fields = {"slug": ["title"]}


@admin.register(Tag)
class TagAdmin(WithItems, admin.ModelAdmin[Tag]):
    """Tags, by name."""

    list_display = ["name", "slug", "item_count"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Upload)
class UploadAdmin(ReadOnly, admin.ModelAdmin[Upload]):
    """Uploads that are on their way, or stuck; what is deleted here is given up."""

    list_display = ["original_name", "owner", "item", "role", "arrived", "created_at", "updated_at"]
    list_filter = ["role", ("updated_at", WindowFilter)]
    list_select_related = ["owner", "item"]
    search_fields = ["original_name", "owner__username"]
    ordering = ["updated_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        """Those that go on."""
        return super().get_queryset(request).filter(became=None)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever has the right."""
        return bool(request.user.has_perm("content.delete_upload"))

    @admin.display(description="arrived", ordering="received_bytes")
    def arrived(self, upload: Upload) -> str:
        """Of how many bytes."""
        return f"{100 * upload.received_bytes // upload.size_bytes} % of {upload.size_bytes:,} bytes"


@admin.register(Viewing)
class ViewingAdmin(ReadOnly, admin.ModelAdmin[Viewing]):
    """What was watched and heard, the last first."""

    list_display = ["item", "user", "started_at", "last_beacon_at", "played", "reached", "watched_part"]
    list_display_links = ["started_at"]
    list_filter = [
        "item__kind", ("user", admin.EmptyFieldListFilter), ("started_at", WindowFilter),
    ]  # fmt: skip
    list_select_related = ["item", "user"]
    search_fields = ["item__title", "user__username"]
    date_hierarchy = "started_at"
    ordering = ["-started_at", "-pk"]
    show_full_result_count = False
    list_per_page = 50
    fields = ["item", "user", "started_at", "last_beacon_at", "played", "reached", "watched_part"]
    readonly_fields = ["played", "reached", "watched_part"]

    @admin.display(description="played", ordering="played_seconds")
    def played(self, viewing: Viewing) -> str:
        """By the clock on the wall."""
        return admin_columns.length(viewing.played_seconds)

    @admin.display(description="stood at last")
    def reached(self, viewing: Viewing) -> str:
        """In the recording, of how long it is."""
        return f"{admin_columns.length(viewing.position_seconds)} of {admin_columns.length(viewing.duration_seconds)}"

    @admin.display(description="of the recording", ordering="watched")
    def watched_part(self, viewing: Viewing) -> str:
        """How much of it was played, in twentieths."""
        return f"{100 * viewing.watched.bit_count() // TWENTIETHS} %" if viewing.watched >= 0 else NONE
