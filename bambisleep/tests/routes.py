"""Every route that the URL table knows, with an address of it that is about a real object."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.urls.resolvers import RegexPattern
from django.utils.regex_helper import normalize
from django.views.generic import RedirectView

from observability.http.routes import label

NO_UUID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the URL table: its pattern, whole, with `%(name)s` where an argument goes."""

    template: str
    arguments: tuple[str, ...]
    callback: Callable[..., Any]

    def path(self, values: dict[str, str]) -> str:
        """An address of it; raises KeyError for an argument without a value."""
        path = "/" + self.template % values
        assert resolve(path).func == self.callback, f"{path} leads elsewhere than the pattern {self.template}"
        return path

    @property
    def group(self) -> str:
        """Its row in the table: the pattern; the admin's pages by model, and apart from them their short addresses,
        which redirect all of the staff, whether or not they may see what stands there."""
        if self.template.startswith("admin/") and getattr(self.callback, "view_class", None) is RedirectView:
            return "/admin/<app>/<model>/<object_id>/"
        group = label(resolve("/" + self.template % {name: _anything(name) for name in self.arguments}))
        if group.startswith("/admin/") and group != "/admin/":
            return group
        return "/" + re.sub(r"%\((\w+)\)s", r"<\1>", self.template)

    @property
    def model(self) -> type[Model] | None:
        """The model whose admin page it is."""
        labels = {f"admin/{model._meta.label_lower.replace('.', '/')}/": model for model in admin.site._registry}
        return next((model for prefix, model in labels.items() if self.template.startswith(prefix)), None)


def every_route() -> Iterator[Route]:
    """All of them, in the table's order; of two with the same pattern the first, which is the one that is reached."""
    seen: set[str] = set()
    for route in _walk(get_resolver().url_patterns, "", ()):
        if route.template not in seen:
            seen.add(route.template)
            yield route


def _walk(patterns: list[Any], prefix: str, given: tuple[str, ...]) -> Iterator[Route]:
    for pattern in patterns:
        template, arguments = _template(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, prefix + template, given + arguments)
        elif isinstance(pattern, URLPattern):
            yield Route(prefix + template, given + arguments, pattern.callback)


def _template(pattern: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(pattern, RegexPattern):
        template, arguments = normalize(str(pattern))[0]
        return template, tuple(arguments)
    text = str(pattern).replace("%", "%%")
    names = re.findall(r"<(?:\w+:)?(\w+)>", text)
    return re.sub(r"<(?:\w+:)?(\w+)>", r"%(\1)s", text), tuple(names)


def _anything(name: str) -> str:
    """A value by which a pattern is matched, whether or not there is such an object."""
    return {"app_label": "accounts", "key": NO_UUID, "upload": NO_UUID}.get(name, "1")
