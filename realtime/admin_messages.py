"""What was said and what was reported, in the admin: among what was said around it, with what a moderator may do."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Count, F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.models import User
from observability.admin import number_of
from observability.delivery.admin import Stated, WindowFilter

from . import moderation
from .admin_shared import (
    GONE,
    NONE,
    Moderated,
    OptionalReasonForm,
    ReasonForm,
    chosen_id,
    entry_link,
    person_link,
    room_link,
    rows_url,
    shown,
    staff,
)
from .models import Action, Entry, EntryKind, ModerationAction, Report, Resolution, Restriction

AROUND = 5  # messages shown before, and after
AUTHORS_OFFERED = 10
LATELY = timedelta(days=7)


class AuthorFilter(admin.SimpleListFilter):
    """By author: those who said most lately, and whoever was chosen by a link."""

    title = "author"
    parameter_name = "author__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Their names."""
        lately = Entry.objects.filter(created_at__gt=timezone.now() - LATELY, kind=EntryKind.MESSAGE)
        counted = lately.exclude(author=None).order_by().values_list("author_id", "author__username")
        most = counted.annotate(number=Count("pk")).order_by("-number", "author_id")[:AUTHORS_OFFERED]
        names = {str(pk): name for pk, name, _ in most}
        chosen = chosen_id(request.GET.get(self.parameter_name))
        if chosen is not None and str(chosen) not in names:
            names |= {str(user.pk): user.username for user in User.objects.filter(pk=chosen)}
        return list(names.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        """What they said."""
        return queryset.filter(author=chosen_id(self.value()) or 0) if self.value() else queryset


class AmongOthers(Moderated, Stated):
    """A page that shows a message with what was said around it, and what else is known of its author."""

    def entry_of(self, row: Any) -> Entry:
        """The message that a row is about."""
        raise NotImplementedError

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Its facts, its surroundings, and what may be done."""
        context = {**(extra_context or {}), "may_state": self.has_state_permission(request)}
        model_admin: Any = self
        row = model_admin.get_object(request, unquote(object_id))
        if row is not None and model_admin.has_view_permission(request, row):
            context |= _around(self.entry_of(row), None if isinstance(row, Entry) else row)
        response: HttpResponse = super().change_view(request, object_id, form_url, context)  # type: ignore[misc]
        return response

    def delete_messages(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Ask why, then delete the messages that the rows are about."""
        form = self.bound(request, ReasonForm)

        def act(row: Any) -> str | None:
            entry = self.entry_of(row)
            was_deleted, was_open = entry.deleted_at is not None, entry.reports.open().exists()
            moderation.delete(entry.room, entry.number, by=staff(request), reason=form.cleaned_data["reason"])
            if was_deleted:
                return "acted upon; the message was deleted already." if was_open else None
            return "deleted."

        return self.state(
            request,
            queryset,
            question="Delete? What it says is gone for good; reports keep it.",
            button="Delete",
            act=act,
            detail=lambda row: f"{self.entry_of(row)}, by {self.entry_of(row).author or GONE}: {_said(row)}",
            form=form,
        )


def _said(row: Entry | Report) -> str:
    return shown(row.text)


def _around(entry: Entry, report: Report | None) -> dict[str, Any]:
    near = Entry.objects.filter(room=entry.room_id, number__range=(entry.number - AROUND, entry.number + AROUND))
    author = entry.author
    return {
        "entry": entry,
        "report": report,
        "around": list(near.select_related("author", "deleted_by").order_by("number")),
        "reports": list(entry.reports.select_related("reporter", "resolved_by").order_by("created_at", "pk")),
        "is_message": entry.kind == EntryKind.MESSAGE,
        "has_open_reports": entry.reports.open().exists(),
        "about_author": _record(author) if author else [],
        "restrict_url": f"{reverse('admin:realtime_restriction_add')}?{_prefilled(entry)}" if author else "",
    }


def _prefilled(entry: Entry) -> str:
    name = entry.author.username if entry.author else ""
    return urlencode({"name": name, "room": str(entry.room_id), "reason": f"Message {entry.number}"})


def _record(user: User) -> list[tuple[str, str]]:
    """What moderators have had to do with somebody: how often, in words, and the rows."""
    restrictions = Restriction.objects.filter(user=user)
    deleted = ModerationAction.objects.filter(subject=user, action=Action.DELETE)
    theirs = {"user__id__exact": user.pk}
    counted: list[tuple[QuerySet[Any], str, str]] = [
        (restrictions.in_force(), "Mutes and bans in force", rows_url("restriction", **theirs, state="in_force")),
        (restrictions, "Mutes and bans in all", rows_url("restriction", **theirs)),
        (
            deleted,
            "Messages deleted by moderators",
            rows_url("moderationaction", subject__id__exact=user.pk, action__exact=Action.DELETE),
        ),
        (
            Report.objects.filter(entry__author=user),
            "Reports of their messages",
            rows_url("report", entry__author__id__exact=user.pk),
        ),
    ]
    numbers = [(rows.count(), words, url) for rows, words, url in counted]
    return [(f"{words}: {number}", url) for number, words, url in numbers if number]


@admin.register(Entry)
class EntryAdmin(AmongOthers, admin.ModelAdmin[Entry]):
    """What was said and what happened in the rooms, the newest first."""

    change_form_template = "admin/realtime/entry.html"
    list_display = ["number", "said", "by", "room", "created_at", "deletion", "report_count", "kind"]
    list_filter = [
        "room", "kind", AuthorFilter, ("deleted_at", admin.EmptyFieldListFilter), ("created_at", WindowFilter),
    ]  # fmt: skip
    list_select_related = ["room", "author", "deleted_by"]
    search_fields = ["text", "author__username"]
    search_hint = "part of a text, or of its author’s name"
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-pk"]
    show_full_result_count = False
    list_per_page = 50
    actions = ["delete_messages"]
    fieldsets = [
        (None, {"fields": ["room_name", "number", "kind", "by", "created_at", "whole_text", "deletion", "target"]})
    ]
    readonly_fields = ["room_name", "number", "kind", "by", "created_at", "whole_text", "deletion", "target"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        """With the number of open reports."""
        found: QuerySet[Entry] = super().get_queryset(request).select_related(*self.list_select_related)
        return found.annotate(report_number=number_of(Report.objects.open(), "entry"))

    def entry_of(self, row: Any) -> Entry:
        """Itself."""
        entry: Entry = row
        return entry

    @admin.action(description="Delete…", permissions=["state"])
    def delete_messages(self, request: HttpRequest, queryset: QuerySet[Entry]) -> HttpResponse | None:
        """Messages only; what else happened stays."""
        return super().delete_messages(request, queryset.filter(kind=EntryKind.MESSAGE))

    @admin.display(description="author", ordering="author__username")
    def by(self, entry: Entry) -> SafeString | str:
        """Who, by what they said."""
        if entry.author is None and entry.kind != EntryKind.MESSAGE:
            return "the moderators"
        return person_link(entry.author)

    @admin.display(description="room")
    def room_name(self, entry: Entry) -> SafeString | str:
        """Its page."""
        return room_link(entry.room)

    @admin.display(description="text")
    def said(self, entry: Entry) -> str:
        """Its beginning; of a deletion, of what."""
        return f"message {entry.target}" if entry.kind == EntryKind.DELETION else shown(entry.text)

    @admin.display(description="text")
    def whole_text(self, entry: Entry) -> SafeString:
        """All of it, with its lines."""
        return format_html('<div class="said">{}</div>', entry.text)

    @admin.display(description="deleted", ordering="deleted_at")
    def deletion(self, entry: Entry) -> str:
        """Who took it away, where somebody did."""
        if entry.deleted_at is None:
            return NONE
        if entry.deleted_by_id is None and entry.author_id is None:
            return "with its author’s account"
        return "by its author" if entry.deleted_by_id == entry.author_id else f"by {entry.deleted_by or GONE}"

    @admin.display(description="open reports", ordering="report_number")
    def report_count(self, entry: Any) -> SafeString | int:
        """How many; the list of them."""
        if not entry.report_number:
            return 0
        return format_html('<a href="{}">{}</a>', rows_url("report", entry__id__exact=entry.pk), entry.report_number)


@admin.register(Report)
class ReportAdmin(AmongOthers, admin.ModelAdmin[Report]):
    """The queue: what waits for a moderator, the oldest first; then what was dealt with, the newest first."""

    change_form_template = "admin/realtime/entry.html"
    list_display = ["created_at", "said", "reason", "standing", "author", "room", "reporter"]
    list_filter = ["resolution", "entry__room", ("created_at", WindowFilter)]
    list_select_related = ["entry__room", "entry__author", "entry__deleted_by", "reporter", "resolved_by"]
    search_fields = ["text", "reason", "entry__author__username", "reporter__username"]
    search_hint = "part of a text, of a reason, or of the name of the author or of whoever reported it"
    date_hierarchy = "created_at"
    ordering = [F("resolved_at").desc(nulls_first=True), "created_at", "pk"]
    list_per_page = 50
    actions = ["delete_messages", "dismiss"]
    fieldsets = [
        (None, {"fields": ["whole_text", "message", "author", "room", "reporter", "reason", "created_at", "standing"]})
    ]
    readonly_fields = ["whole_text", "message", "author", "room", "reporter", "reason", "created_at", "standing"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        """With the message, its room and everybody concerned."""
        found: QuerySet[Report] = super().get_queryset(request)
        return found.select_related(*self.list_select_related)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """By author too, to which a message's page leads."""
        return lookup == "entry__author__id__exact" or super().lookup_allowed(lookup, value, request)

    def entry_of(self, row: Any) -> Entry:
        """The message that was reported."""
        entry: Entry = row.entry
        return entry

    @admin.action(description="Delete the message…", permissions=["state"])
    def delete_messages(self, request: HttpRequest, queryset: QuerySet[Report]) -> HttpResponse | None:
        """And settle every report of it."""
        return super().delete_messages(request, queryset)

    @admin.action(description="Dismiss…", permissions=["state"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[Report]) -> HttpResponse | None:
        """Leave the messages as they are."""
        form = self.bound(request, OptionalReasonForm)

        def act(report: Report) -> str | None:
            found = moderation.dismiss(report.entry, by=staff(request), reason=form.cleaned_data["reason"])
            return "dismissed." if found else None

        return self.state(
            request,
            queryset,
            question="Dismiss every report of these messages?",
            button="Dismiss",
            act=act,
            detail=lambda report: f"{report}: {_said(report)}",
            form=form,
        )

    @admin.display(description="message as it was")
    def said(self, report: Report) -> str:
        """Its beginning."""
        return shown(report.text)

    @admin.display(description="message as it was")
    def whole_text(self, report: Report) -> SafeString:
        """All of it, with its lines."""
        return format_html('<div class="said">{}</div>', report.text)

    @admin.display(description="message")
    def message(self, report: Report) -> SafeString:
        """Its page."""
        return entry_link(report.entry, str(report.entry))

    @admin.display(description="author", ordering="entry__author__username")
    def author(self, report: Report) -> SafeString | str:
        """Who said it."""
        return person_link(report.entry.author)

    @admin.display(description="room", ordering="entry__room")
    def room(self, report: Report) -> SafeString | str:
        """Where."""
        return room_link(report.entry.room)

    @admin.display(description="state", ordering="resolved_at")
    def standing(self, report: Report) -> SafeString | str:
        """What became of it; of an open one, whether the message is there still."""
        if report.resolution == Resolution.OPEN:
            gone = ", deleted by its author" if report.entry.deleted_at else ""
            return format_html('<strong class="bad">open</strong>{}', gone)
        return f"{report.get_resolution_display()} by {report.resolved_by or GONE}".lower()
