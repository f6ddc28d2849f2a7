"""The forms of the library's pages in the admin: what may be saved together."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from observability.problems import Problem

from . import captions, files, publishing
from .models import Captions, FileKind, Item, Kind, MediaFile, Role

LANGUAGE = RegexValidator(
    r"\A[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", "A language is written as in HTML: en, de, pt-BR, zh-Hant."
)


class ItemForm(forms.ModelForm[Item]):
    """An item: what is published can be played."""

    class Meta:
        model = Item
        fields = "__all__"  # noqa: DJ007 -- the admin's fieldsets say which

    def clean_language(self) -> str:
        """As players and screen readers understand it."""
        LANGUAGE(self.cleaned_data["language"])
        return str(self.cleaned_data["language"])

    def clean(self) -> dict[str, Any] | None:
        """With its file, where it is to be published."""
        told = super().clean() or self.cleaned_data
        kind, media = told.get("kind"), self.instance.media if self.instance.pk else None
        if kind == Kind.ARTICLE and media is not None:
            self.add_error(
                "kind", f"An article has no recording or film, and this has one: “{media}”. Delete that first."
            )
        if kind in {Kind.AUDIO, Kind.VIDEO} and media is None and told.get("published_at") is not None:
            self.add_error("published_at", publishing.NO_FILE)
        return told


class CaptionsForm(forms.ModelForm[Captions]):
    """Captions that players can read."""

    class Meta:
        model = Captions
        fields = ["purpose", "language", "label", "is_default", "text"]
        widgets = {"text": forms.Textarea(attrs={"rows": 12, "placeholder": captions.EXAMPLE})}

    def clean_language(self) -> str:
        """As players understand it."""
        LANGUAGE(self.cleaned_data["language"])
        return str(self.cleaned_data["language"])

    def clean_text(self) -> str:
        """Valid WebVTT."""
        text = captions.plain(self.cleaned_data["text"])
        captions.expect_valid(text)
        return text


class MediaFileForm(forms.ModelForm[MediaFile]):
    """What a person may say of a file: where it belongs, and what it shows."""

    class Meta:
        model = MediaFile
        fields = ["item", "role", "description"]

    def clean(self) -> dict[str, Any] | None:
        """In a role that it fits, and that no other has."""
        told = super().clean() or self.cleaned_data
        item, role = told.get("item"), Role(told.get("role", self.instance.role))
        before = MediaFile.objects.select_related("item").get(pk=self.instance.pk)
        try:
            if (before.item, before.role) != (item, role):
                publishing.expect_may_leave(before)
            files.expect_fit(item, role, FileKind(before.kind))
        except Problem as problem:
            raise ValidationError(problem.detail) from None
        taken = MediaFile.objects.filter(item=item, role=role).exclude(pk=self.instance.pk)
        if item is not None and role != Role.ILLUSTRATION and (other := taken.first()) is not None:
            raise ValidationError(
                f"“{item}” has “{other}” in this role: upload a file in its place, or delete that first."
            )
        return told
