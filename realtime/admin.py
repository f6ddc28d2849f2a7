"""The chat in the admin: rooms, mutes and bans, and the audit trail. What was said and reported: `admin_messages`."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from observability.admin import ReadOnly, number_of
from observability.delivery.admin import Stated, WindowFilter

from . import access, admin_messages, log, moderation, presence  # noqa: F401  (registers entries and reports)
from .admin_shared import GONE, NONE, Moderated, chosen_id, person_link, room_link, rows_url, staff
from .models import Action, Entry, EntryKind, ModerationAction, Report, Restriction, RestrictionKind, Room

MOST_SLOW_SECONDS = 86_400


class SlowModeForm(forms.Form):
    """How long people wait between two messages."""

    seconds = forms.IntegerField(
        min_value=0, max_value=MOST_SLOW_SECONDS, help_text="Between two messages of a person; 0: none."
    )


@admin.register(Room)
class RoomAdmin(Moderated, Stated, admin.ModelAdmin[Room]):
    """Rooms, in their order: who is there now, what is said, and what waits for a moderator."""

    list_filter = ["audience", "is_archived"]
    search_fields = ["name", "slug", "topic"]
    prepopulated_fields = {"slug": ["name"]}
    actions = ["archive", "open_again", "slow_mode"]
    fieldsets = [
        (None, {"fields": ["name", "slug", "topic", "audience"]}),
        ("Order", {"fields": ["slow_mode_seconds", "is_archived", "position"]}),
        ("The row", {"fields": ["last_number", "created_at", "updated_at"], "classes": ["collapse"]}),
    ]
    readonly_fields = ["last_number", "created_at", "updated_at"]

    def has_change_permission(self, request: HttpRequest, obj: Room | None = None) -> bool:
        """Moderators, and whoever has the permission."""
        return self.has_state_permission(request) or request.user.has_perm("realtime.change_room")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever has the permission: a new room is more than moderation."""
        return request.user.has_perm("realtime.add_room")

    def has_delete_permission(self, request: HttpRequest, obj: Room | None = None) -> bool:
        """A room in which something was said is archived instead."""
        return request.user.has_perm("realtime.delete_room") and (obj is None or not obj.last_number)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Room]:
        """With the numbers of messages since midnight, and of open reports."""
        midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        today = Entry.objects.filter(kind=EntryKind.MESSAGE, created_at__gte=midnight)
        return (
            super()
            .get_queryset(request)
            .annotate(
                today_number=number_of(today, "room"),
                report_number=number_of(Report.objects.open(), "entry__room"),
            )
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        """With how many are there, asked for once."""
        present = presence.present(list(Room.objects.values_list("pk", flat=True)))

        @admin.display(description="there now")
        def there_now(room: Room) -> str:
            found = present.get(room.pk)
            if found is None or not (found.people or found.guests):
                return "nobody"
            return f"{found.people} + {found.guests} guest{'' if found.guests == 1 else 's'}"

        return ["name", there_now, "today", "open_reports", "audience", "slow", "is_archived", "position"]

    @admin.display(description="slow mode", ordering="slow_mode_seconds")
    def slow(self, room: Room) -> str:
        """In seconds."""
        return f"{room.slow_mode_seconds} s" if room.slow_mode_seconds else NONE

    @admin.display(description="messages today", ordering="today_number")
    def today(self, room: Any) -> SafeString:
        """How many; the list of all."""
        return format_html('<a href="{}">{}</a>', rows_url("entry", room__id__exact=room.pk), room.today_number)

    @admin.display(description="open reports", ordering="report_number")
    def open_reports(self, room: Any) -> SafeString | int:
        """How many; the list of them."""
        if not room.report_number:
            return 0
        url = rows_url("report", entry__room__id__exact=room.pk, resolution__exact="")
        return format_html('<a href="{}">{}</a>', url, room.report_number)

    def save_model(self, request: HttpRequest, obj: Room, form: Any, change: bool) -> None:
        """Open it, or change what the form changed and nothing else."""
        if change:
            values = {name: form.cleaned_data[name] for name in form.changed_data}
            moderation.change_room(obj, by=staff(request), **values)
        else:
            moderation.open_room(obj, by=staff(request))

    def delete_model(self, request: HttpRequest, obj: Room) -> None:
        """Delete one in which nothing was said."""
        try:
            moderation.remove_room(obj, by=staff(request))
        except moderation.Refused as refused:
            messages.error(request, f"{obj}: {refused.detail}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Room]) -> None:
        """Likewise."""
        for room in queryset:
            self.delete_model(request, room)

    @admin.action(description="Archive…", permissions=["change"])
    def archive(self, request: HttpRequest, queryset: QuerySet[Room]) -> HttpResponse | None:
        """Can be read, and no longer written in."""
        question = "Archive these rooms? They can be read, and no longer written in."
        return self._change(request, queryset, question, "Archive", lambda: {"is_archived": True}, "archived.")

    @admin.action(description="Open again…", permissions=["change"])
    def open_again(self, request: HttpRequest, queryset: QuerySet[Room]) -> HttpResponse | None:
        """Take out of the archive."""
        question = "Open these rooms again?"
        return self._change(request, queryset, question, "Open again", lambda: {"is_archived": False}, "open again.")

    @admin.action(description="Slow mode…", permissions=["change"])
    def slow_mode(self, request: HttpRequest, queryset: QuerySet[Room]) -> HttpResponse | None:
        """Have people wait between two messages."""
        form = self.bound(request, SlowModeForm)

        def values() -> dict[str, Any]:
            return {"slow_mode_seconds": form.cleaned_data["seconds"]}

        return self._change(request, queryset, "Slow mode?", "Set", values, "slow mode set.", form)

    def _change(
        self,
        request: HttpRequest,
        queryset: QuerySet[Room],
        question: str,
        button: str,
        values: Callable[[], dict[str, Any]],
        done: str,
        form: forms.Form | None = None,
    ) -> HttpResponse | None:
        def act(room: Room) -> str | None:
            return done if moderation.change_room(room, by=staff(request), **values()) else None

        return self.state(request, queryset, question=question, button=button, act=act, form=form)


class RestrictionForm(forms.ModelForm[Restriction]):
    """Whom, where, what, until when and why."""

    name = forms.CharField(max_length=254, label="Person", help_text="A name, or a verified e-mail address.")

    until = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="UTC; empty: until it is lifted.",
    )

    class Meta:
        model = Restriction
        fields = ["room", "kind", "until", "reason"]

    def clean_name(self) -> str:
        """Somebody, and no moderator."""
        name: str = self.cleaned_data["name"]
        user = User.objects.by_name_or_email(name.replace("\x00", ""))
        if user is None:
            raise ValidationError("There is no such person.")
        if access.may_moderate(user):
            raise ValidationError("Moderators are neither muted nor banned.")
        self.instance.user = user
        return name

    def clean_until(self) -> datetime | None:
        """The end, which lies ahead."""
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise ValidationError("The end must lie ahead.")
        return until

    def clean_reason(self) -> str:
        """Without what no database takes."""
        reason = log.clean(self.cleaned_data["reason"])
        if not reason:
            raise ValidationError("Say why.")
        return reason


class RestrictionStateFilter(admin.SimpleListFilter):
    """By whether they hold."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """In the order of a life."""
        return [("in_force", "in force"), ("lifted", "lifted"), ("over", "over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The chosen ones, now."""
        if self.value() not in {"in_force", "lifted", "over"}:
            return queryset
        chosen: QuerySet[Any] = getattr(queryset, str(self.value()))()
        return chosen


@admin.register(Restriction)
class RestrictionAdmin(Moderated, Stated, admin.ModelAdmin[Restriction]):
    """Mutes and bans, the newest first; they are made and lifted, not rewritten."""

    form = RestrictionForm
    change_form_template = "admin/realtime/restriction.html"
    list_display = ["kind_name", "person", "place", "standing", "until", "reason", "created_at", "created_by"]
    list_filter = [RestrictionStateFilter, "kind", "room", ("created_at", WindowFilter)]
    list_select_related = ["room", "user", "created_by", "lifted_by"]
    search_fields = ["user__username", "reason", "created_by__username"]
    search_hint = "part of a name or of a reason"
    date_hierarchy = "created_at"
    list_per_page = 50
    actions = ["lift"]
    readonly_fields = ["person", "place", "standing", "created_at", "created_by", "lifted_at", "lifted_by"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Moderators."""
        return self.has_state_permission(request)

    def get_fieldsets(self, request: HttpRequest, obj: Restriction | None = None) -> Any:
        """The form; of one that is there, all that is known."""
        if obj is None:
            return [(None, {"fields": ["name", "room", "kind", "until", "reason"]})]
        told = ["person", "place", "kind", "standing", "until", "reason"]
        return [
            (None, {"fields": told}),
            ("Who did it, and when", {"fields": ["created_by", "created_at", "lifted_by", "lifted_at"]}),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Its facts, and what may be done."""
        row = self.get_object(request, unquote(object_id))
        may_lift = self.has_state_permission(request) and row is not None and row.is_in_force()
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "may_lift": may_lift})

    def save_model(self, request: HttpRequest, obj: Restriction, form: Any, change: bool) -> None:
        """As in the room."""
        made, _ = moderation.restrict(
            obj.room, obj.user, RestrictionKind(obj.kind), by=staff(request), until=obj.until, reason=obj.reason
        )
        obj.pk = made.pk

    @admin.action(description="Lift…", permissions=["state"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Restriction]) -> HttpResponse | None:
        """End them now."""

        def act(restriction: Restriction) -> str | None:
            if not restriction.is_in_force():
                return None
            moderation.lift(restriction, by=staff(request))
            return "lifted."

        return self.state(
            request,
            queryset.select_related("room", "user"),
            question="Lift these now?",
            button="Lift",
            act=act,
            detail=lambda row: f"{row}, {self.place(row)}: {row.reason}",
        )

    @admin.display(description="person", ordering="user__username")
    def person(self, restriction: Restriction) -> SafeString | str:
        """Who, by what they said."""
        return person_link(restriction.user)

    @admin.display(description="kind", ordering="kind")
    def kind_name(self, restriction: Restriction) -> str:
        """In a word."""
        return restriction.kind

    @admin.display(description="room", ordering="room")
    def place(self, restriction: Restriction) -> str:
        """Where."""
        return restriction.room.name if restriction.room else "all rooms"

    @admin.display(description="state")
    def standing(self, restriction: Restriction) -> SafeString | str:
        """Whether it holds, or how it ended."""
        if restriction.is_in_force():
            return format_html('<strong class="bad">{}</strong>', "in force")
        if restriction.lifted_at is None:
            return "over"
        return f"lifted by {restriction.lifted_by or GONE}"


class ActorFilter(admin.SimpleListFilter):
    """By moderator."""

    title = "moderator"
    parameter_name = "actor__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Who stands in the trail."""
        actors = ModerationAction.objects.exclude(actor=None).order_by().values("actor").distinct()
        return [(str(user.pk), user.username) for user in User.objects.filter(pk__in=actors).order_by("username")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ModerationAction]) -> QuerySet[ModerationAction]:
        """What they did."""
        return queryset.filter(actor=chosen_id(self.value()) or 0) if self.value() else queryset


@admin.register(ModerationAction)
class ModerationActionAdmin(Moderated, ReadOnly, admin.ModelAdmin[ModerationAction]):
    """The audit trail, the newest first."""

    list_display = ["at", "moderator", "action", "person", "room_name", "entry", "reason", "detail"]
    list_filter = ["action", ActorFilter, "room", ("at", WindowFilter)]
    list_select_related = ["actor", "subject", "room"]
    search_fields = ["actor_name", "subject__username", "reason", "detail"]
    search_hint = "part of a name, of a reason or of what was done"
    date_hierarchy = "at"
    list_per_page = 50
    fieldsets = [
        (None, {"fields": ["at", "moderator", "action", "person", "room_name", "entry", "reason", "detail"]}),
    ]
    readonly_fields = ["at", "moderator", "action", "person", "room_name", "entry", "reason", "detail"]

    @admin.display(description="moderator", ordering="actor_name")
    def moderator(self, row: ModerationAction) -> str:
        """By the name of that time."""
        return row.actor_name or GONE

    @admin.display(description="done to", ordering="subject__username")
    def person(self, row: ModerationAction) -> SafeString | str:
        """Whom it was done to, where it was somebody."""
        return NONE if row.subject is None and row.action == Action.ROOM else person_link(row.subject)

    @admin.display(description="room", ordering="room")
    def room_name(self, row: ModerationAction) -> SafeString | str:
        """Where."""
        return room_link(row.room) if row.room else NONE

    @admin.display(description="entry", ordering="entry_number")
    def entry(self, row: ModerationAction) -> SafeString | str:
        """The message or the notice, among what was said around it."""
        if row.entry_number is None or row.room_id is None:
            return NONE
        url = rows_url("entry", room__id__exact=row.room_id, number__exact=row.entry_number)
        return format_html('<a href="{}">{}</a>', url, row.entry_number)
