"""Deploy tokens in the admin: made, shown once, and revoked."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from . import tokens
from .models import DeployToken, Scope


class NewToken(forms.ModelForm[DeployToken]):
    """What a token is for, what it may do, and until when."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=[Scope.DEPLOYMENTS_WRITE, Scope.READ]
    )

    class Meta:
        model = DeployToken
        fields = ["name", "scopes", "expires_at"]

    def clean_expires_at(self) -> Any:
        """A token that has expired already is of no use."""
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("Lies in the past.")
        return expires_at


@admin.register(DeployToken)
class DeployTokenAdmin(admin.ModelAdmin[DeployToken]):
    """Tokens, newest first. A token is not changed: revoke it and make another."""

    form = NewToken
    list_display = ["name", "begins_with", "scopes", "state", "last_used_at", "expires_at", "created_by", "created_at"]
    list_filter = ["revoked_at", "expires_at"]
    list_select_related = ["created_by"]
    search_fields = ["name", "lookup"]
    actions = ["revoke"]

    @admin.display(description="begins with", ordering="lookup")
    def begins_with(self, token: DeployToken) -> str:
        """By which a token found in a pipeline is recognised."""
        return f"{tokens.PREFIX}{token.lookup}…"

    @admin.display(description="state")
    def state(self, token: DeployToken) -> str:
        """Whether it may be used."""
        if token.revoked_at is not None:
            return "revoked"
        if token.expires_at is not None and token.expires_at <= timezone.now():
            return "expired"
        return "good"

    @admin.action(description="Revoke the chosen tokens at once", permissions=["add"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[DeployToken]) -> None:
        """End them; pipelines that use them are refused from the next request on."""
        number = sum(tokens.revoke(token) for token in queryset)
        self.message_user(request, f"{number} revoked.", messages.SUCCESS if number else messages.WARNING)

    def save_model(self, request: HttpRequest, obj: DeployToken, form: Any, change: bool) -> None:
        """Make the token, and show it this once."""
        made, raw = tokens.issue(name=obj.name, scopes=obj.scopes, expires_at=obj.expires_at, created_by=request.user)
        obj.pk, obj.lookup = made.pk, made.lookup
        text = format_html("The token, which is not shown again: <code>{}</code>", raw)
        self.message_user(request, text, messages.WARNING)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: a revoked token says who had what, and until when."""
        return False
