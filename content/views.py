"""The pages of the library. What a viewer may see of an item is for `reading` to say."""

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from observability.problems import error_response

from . import access, catalogue, markdown, players, reading, viewings
from . import search as searching
from .forms import FilterForm, SearchForm
from .models import Collection, Tag

ITEMS_A_PAGE = 20
UNFINISHED_SHOWN = 3
MOST_UNFINISHED = 200


@require_safe
def library(request: HttpRequest) -> HttpResponse:
    """What there is, newest first; and what somebody has begun."""
    form = FilterForm(request.GET)
    page = _page(request, form.narrowed(reading.listed()))
    is_start = not form.is_narrow and page.number == 1
    context = {
        "form": form,
        "search": SearchForm(),
        "page": page,
        "is_start": is_start,
        "collections": form.collections if is_start else [],
        "unfinished": viewings.unfinished(request.user, UNFINISHED_SHOWN) if is_start else [],
    }
    return render(request, "content/library.html", context)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """What is found for a question."""
    form = SearchForm(request.GET)
    question = form.cleaned_data["q"] if form.is_valid() else ""
    found = searching.find(question, request.user)
    context = {
        "search": form,
        "question": question,
        "has_words": bool(found.terms),
        "everything": found.everything,
        "page": _page(request, found),
    }
    return render(request, "content/search.html", context)


@require_safe
@login_required
def unfinished(request: HttpRequest) -> HttpResponse:
    """All that somebody has begun and not seen to its end."""
    page = _page(request, viewings.unfinished(request.user, MOST_UNFINISHED))
    return render(request, "content/continue.html", {"page": page})


@require_safe
def collection(request: HttpRequest, slug: str) -> HttpResponse:
    """A collection, in its order; staff see it before there is anything in it."""
    known = Collection.objects.all() if access.may_preview(request.user) else reading.collections()
    found = get_object_or_404(known, slug=slug)
    page = _page(request, reading.in_order(reading.listed().filter(collection=found)))
    context = {
        "collection": found,
        "description": markdown.html(found.description),
        "page": page,
        "canonical": _whole(found),
    }
    return render(request, "content/collection.html", context)


@require_safe
def tag(request: HttpRequest, slug: str) -> HttpResponse:
    """What carries a tag."""
    known = Tag.objects.all() if access.may_preview(request.user) else reading.tags()
    found = get_object_or_404(known, slug=slug)
    context = {"tag": found, "page": _page(request, reading.listed().filter(tags=found)), "canonical": _whole(found)}
    return render(request, "content/tag.html", context)


@require_safe
def item(request: HttpRequest, slug: str) -> HttpResponse:
    """An item, whole or its teaser."""
    preview = reading.PREVIEWS.get(request.GET.get("as", ""), "")
    found = reading.read(slug, request.user, preview=preview)
    if found is None:
        raise Http404
    is_whole = found.refusal is None
    if is_whole and not found.preview and request.method == "GET":
        catalogue.opened(found.item, request.user)
    context = {
        "reading": found,
        "item": found.item,
        "player": players.context(request, found.item) if is_whole else None,
        "may_preview": access.may_preview(request.user),
    }
    response = render(request, "content/item.html", context)
    is_for_anyone = found.item.is_public and not request.user.is_authenticated
    response["Cache-Control"] = "private, no-cache" if is_for_anyone else "private, no-store"
    return response


@require_safe
def captions(request: HttpRequest, pk: int) -> HttpResponse:
    """What is said in a recording, for its player."""
    found = reading.read_captions(pk, request.user)
    if found is None:
        raise Http404
    said, refusal = found
    if refusal is not None:
        return error_response(request, 403, viewings.REFUSALS[refusal])
    response = HttpResponse(said.text, content_type="text/vtt; charset=utf-8")
    response["Cache-Control"] = "private, no-cache" if said.item.is_public else "private, no-store"
    return response


def _page(request: HttpRequest, of: Any) -> Page[Any]:
    """The page that is asked for: the last where it is beyond, the first where it is no number."""
    return Paginator(of, ITEMS_A_PAGE).get_page(request.GET.get("page"))


def _whole(of: Collection | Tag) -> str:
    return f"{settings.PUBLIC_URL}{of.get_absolute_url()}"
