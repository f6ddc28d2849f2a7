"""What the chat's pages in the admin have in common: who sees them, who may act, and how rows lead to one another."""

from typing import Any, cast

from django import forms
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from accounts.models import User

from . import access, log
from .models import MOST_REASON, Entry, Room

NONE = "–"
GONE = "somebody whose account is gone"
WIDE = forms.TextInput(attrs={"class": "vTextField"})
TEXT_SHOWN = 120  # characters, in a list


class Moderated:
    """Seen by moderators, and by whoever has Django's permission to view; what is done, moderators do."""

    change_list_template: Any = "admin/realtime/change_list.html"
    search_hint = ""  # what the search of the list finds

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Moderators too."""
        return access.may_moderate(request.user) or super().has_module_permission(request)  # type: ignore[misc]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Moderators too."""
        return access.may_moderate(request.user) or super().has_view_permission(request, obj)  # type: ignore[misc]

    def has_state_permission(self, request: HttpRequest) -> bool:
        """Moderators alone, whatever else somebody may do."""
        return access.may_moderate(request.user)


class ReasonForm(forms.Form):
    """Why; it stands in the audit trail."""

    reason = forms.CharField(max_length=MOST_REASON, help_text="Stands in the audit trail.", widget=WIDE)

    def clean_reason(self) -> str:
        """Without what no database takes."""
        reason = log.clean(self.cleaned_data["reason"])
        if not reason:
            raise forms.ValidationError("Say why.")
        return reason


class OptionalReasonForm(ReasonForm):
    """Why, where it is worth a word."""

    reason = forms.CharField(
        max_length=MOST_REASON, required=False, help_text="Stands in the audit trail.", widget=WIDE
    )

    def clean_reason(self) -> str:
        """Likewise."""
        return log.clean(self.cleaned_data["reason"])


def staff(request: HttpRequest) -> User:
    """Whoever is signed in to the admin."""
    return cast(User, request.user)


def rows_url(model: str, **query: Any) -> str:
    """The list of a model of the chat, filtered."""
    address = reverse(f"admin:realtime_{model}_changelist")
    return f"{address}?{urlencode(query)}" if query else address


def chosen_id(value: str | None) -> int | None:
    """The id that an address names; None where it names none."""
    if value is None or not (value.isascii() and value.isdigit() and len(value) < 19):
        return None
    return int(value)


def person_link(user: User | None) -> SafeString | str:
    """Somebody, by what they said."""
    return format_html('<a href="{}">{}</a>', rows_url("entry", author__id__exact=user.pk), user) if user else GONE


def room_link(room: Room | None) -> SafeString | str:
    """A room's page in the admin."""
    if room is None:
        return NONE
    return format_html('<a href="{}">{}</a>', reverse("admin:realtime_room_change", args=[room.pk]), room)


def entry_link(entry: Entry, words: str) -> SafeString:
    """A message among those around it."""
    return format_html('<a href="{}">{}</a>', reverse("admin:realtime_entry_change", args=[entry.pk]), words)


def shown(text: str) -> str:
    """A text, as long as a list has room for."""
    return Truncator(" ".join(text.split())).chars(TEXT_SHOWN) or NONE
