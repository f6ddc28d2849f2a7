"""What the library's pages are asked by: filters, and a question to the search."""

from typing import Any

from django import forms

from . import questions, reading
from .models import ItemQuerySet, Kind


class FilterForm(forms.Form):
    """Which of the items to list; a choice that is none of these is an error."""

    kind = forms.ChoiceField(required=False, choices=[("", "Everything"), *((k.value, k.label) for k in Kind)])
    tag = forms.ChoiceField(label="Subject", required=False)
    collection = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **more})
        self.collections = list(reading.collections())
        self._choose("tag", "Any subject", [(tag.slug, tag.name) for tag in reading.tags()])
        self._choose("collection", "In any or none", [(one.slug, one.title) for one in self.collections])

    def narrowed(self, items: ItemQuerySet) -> ItemQuerySet:
        """Those of `items` that are asked for; none where the form is in error."""
        if not self.is_valid():
            return items.none()
        chosen = self.cleaned_data
        if chosen["kind"]:
            items = items.filter(kind=chosen["kind"])
        if chosen["tag"]:
            items = items.filter(tags__slug=chosen["tag"])
        if chosen["collection"]:
            items = items.filter(collection__slug=chosen["collection"])
        return items

    @property
    def is_narrow(self) -> bool:
        """Whether less than everything is asked for."""
        return not self.is_valid() or any(self.cleaned_data.values())

    def _choose(self, name: str, nothing: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type's sake
        field.choices = [("", nothing), *choices]
        field.error_messages["invalid_choice"] = "There is nothing of that name."
        if not choices:
            field.widget = forms.HiddenInput()


class SearchForm(forms.Form):
    """A question to the search."""

    q = forms.CharField(
        label="Search the library",
        required=False,
        max_length=questions.MOST_CHARACTERS,
        help_text="All of these words. “In quotes”: in a row. With a - before it: without that word.",
        error_messages={"max_length": f"That is too long: {questions.MOST_CHARACTERS} characters at most."},
        widget=forms.TextInput(attrs={"type": "search", "enterkeyhint": "search"}),
    )
