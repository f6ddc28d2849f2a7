"""Feed, sitemap and robots.txt: what is public, for readers and machines.

All addresses are those of PUBLIC_URL, by whatever name the site was asked.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sitemaps import Sitemap
from django.contrib.sitemaps.views import sitemap as sitemap_of
from django.contrib.syndication.views import Feed
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.feedgenerator import Enclosure
from django.views.decorators.cache import cache_control
from django.views.decorators.http import conditional_page, require_safe

from . import links, reading
from .models import Collection, Item, ItemQuerySet

View = Callable[..., HttpResponse]

ITEMS_IN_FEED = 50
ITEMS_IN_SITEMAP = 5_000  # on one page of it; the protocol's limit is 50,000
FRESH_SECONDS = 300
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
KEPT_OUT = ("/admin/", "/accounts/", "/billing/", "/watch/", "/content/search/", "/content/continue/")


class PublicFeed(Feed[Item, None]):
    """The newest public items as RSS 2.0; recordings and films as enclosures, for podcast players."""

    title = "bambisleep: the library"
    description = "Articles, audio and video that are for everyone."
    language = "en-GB"

    def __call__(self, request: HttpRequest, *args: Any, **more: Any) -> HttpResponse:
        """Answer GET and HEAD; to whom has it already, that it did not change."""
        return _kept(super().__call__)(request, *args, **more)

    def link(self) -> str:
        """The library."""
        return _whole(reverse("content"))

    def feed_url(self) -> str:
        """Its own address."""
        return _whole(reverse("content_feed"))

    def items(self) -> ItemQuerySet:
        """What is public, newest first."""
        return reading.listed().public()[:ITEMS_IN_FEED]

    def item_title(self, item: Item) -> str:
        """As text: titles may hold anything."""
        return _text(item.title)

    def item_description(self, item: Item) -> str:
        """The summary."""
        return _text(item.summary)

    def item_link(self, item: Item) -> str:
        """Its page."""
        return _whole(item.get_absolute_url())

    def item_pubdate(self, item: Item) -> datetime | None:
        """When it was published."""
        return item.published_at

    def item_categories(self, item: Item) -> list[str]:
        """Its tags."""
        return [_text(tag.name) for tag in item.tags.all()]

    def item_enclosures(self, item: Item) -> list[Enclosure]:
        """The recording or film."""
        file = item.media
        if file is None:
            return []
        return [Enclosure(_whole(links.address_of(file, None)), str(file.size_bytes), file.content_type)]


class _OfThisSite(Sitemap[Any]):
    limit = ITEMS_IN_SITEMAP

    def get_protocol(self, protocol: str | None = None) -> str:
        """That of PUBLIC_URL."""
        return urlsplit(settings.PUBLIC_URL).scheme

    def get_domain(self, site: Any = None) -> str:
        """That of PUBLIC_URL."""
        return urlsplit(settings.PUBLIC_URL).netloc


class PagesSitemap(_OfThisSite):
    """The pages that there always are."""

    def items(self) -> list[str]:
        """Names of routes."""
        return ["home", "content", "billing_plans"]

    def location(self, item: str) -> str:
        """Its address."""
        return reverse(item)


class CollectionsSitemap(_OfThisSite):
    """Collections that hold something."""

    def items(self) -> Any:
        """In their order."""
        return reading.collections()

    def lastmod(self, item: Collection) -> datetime:
        """When it changed."""
        return item.updated_at


class ItemsSitemap(_OfThisSite):
    """Every published item; of members', everybody sees a teaser."""

    def items(self) -> ItemQuerySet:
        """Oldest first, so that pages of the sitemap keep what they hold."""
        return Item.objects.published().order_by("pk").only("slug", "updated_at")

    def lastmod(self, item: Item) -> datetime:
        """When it changed."""
        return item.updated_at


SITEMAPS: Mapping[str, type[_OfThisSite]] = {
    "pages": PagesSitemap,
    "collections": CollectionsSitemap,
    "items": ItemsSitemap,
}


def _kept(view: View) -> View:
    """For GET and HEAD; kept for minutes by whoever asks, who then asks whether it has changed."""
    kept: View = require_safe(conditional_page(cache_control(public=True, max_age=FRESH_SECONDS)(view)))
    return kept


@_kept
def sitemap(request: HttpRequest) -> HttpResponse:
    """All addresses; where there are too many for one document, an index of documents."""
    section = request.GET.get("section")
    made = {name: one() for name, one in SITEMAPS.items()}
    pages = {name: one.paginator.num_pages for name, one in made.items()}
    if section is None and any(number > 1 for number in pages.values()):
        whole = _whole(reverse("sitemap"))
        parts = [(name, page) for name, number in pages.items() for page in range(1, number + 1)]
        locations = [{"location": f"{whole}?section={name}&p={page}"} for name, page in parts]
        context = {"sitemaps": locations}
        return TemplateResponse(request, "sitemap_index.xml", context, content_type="application/xml")
    return sitemap_of(request, dict(made), section=section)


@_kept
def robots(request: HttpRequest) -> HttpResponse:
    """Where crawlers have no business, and where the sitemap is."""
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in KEPT_OUT), ""]
    lines.append(f"Sitemap: {_whole(reverse('sitemap'))}")
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


def _whole(path: str) -> str:
    return f"{settings.PUBLIC_URL}{path}"


def _text(text: str) -> str:
    """Without what XML cannot hold."""
    return NOT_IN_XML.sub("", text)
