"""The bytes of the library's files, and new links to them: what is asked, who may, and by which way the bytes go.

By nginx where it stands before us, from the bucket where the files are in one, else from this process. Who may is for
`links` to say, which bytes for `ranges`.
"""

import re
from typing import Any
from urllib.parse import quote
from uuid import UUID

import structlog
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from observability.http.exchange import exchange_of, request_id_of
from observability.problems import CONTENT_TYPE, error_response, problem_body, speaks_json

from . import links, storage, streaming
from .models import MediaFile
from .ranges import Decision, Representation, content_range, decide, multipart

log = structlog.get_logger("bambisleep.content")

PUBLIC = "public, max-age=3600"
PRIVATE = "private, no-cache"  # kept by the member's browser, which asks each time whether it may still
# Whatever a file says it is, a browser that is led to it runs nothing of it.
POLICY = "default-src 'none'; sandbox"
CONDITIONS = ("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
SENTENCES: dict[links.Reason, str] = {
    "sign_in": "This is for members. Sign in first.",
    "no_membership": "This is for members.",
    "lapsed": "This is for members, and your membership has ended.",
    "bad_link": "This link is none of ours. Go to the page that it came from.",
    "expired_link": "This link has expired. Load the page that it came from again.",
    "other_user": "This link was made for somebody else. Go to the page that it came from.",
}


@csrf_exempt  # who asks otherwise is told 405, as they change nothing
@require_safe
def media(request: HttpRequest, key: UUID) -> HttpResponseBase:
    """A file, or parts of it."""
    file = get_object_or_404(MediaFile.objects.select_related("item"), key=key)
    given = request.GET.getlist(links.PARAMETER)
    link = given[0] if len(given) == 1 else "" if given else None  # two are none of ours
    reason = links.refusal_with(link, file, request.user)
    if reason:
        return _refused(request, reason)
    exchange = exchange_of(request)
    if exchange:
        exchange.streams_media = True
    bucket = storage.in_bucket()
    return _redirected(request, file, bucket) if bucket else _delivered(request, file)


@csrf_exempt  # who asks otherwise is told 405, as they change nothing
@require_safe
def link(request: HttpRequest, key: UUID) -> HttpResponseBase:
    """A new address of a file as JSON, for a player whose link has expired; `expires_in` is null where it does not."""
    file = get_object_or_404(MediaFile.objects.select_related("item"), key=key)
    reason = links.refusal(file, request.user)
    if reason:
        return _refused(request, reason)
    address = links.address_of(file, request.user)
    return JsonResponse({"url": address, "expires_in": links.seconds_left(address)})


def _refused(request: HttpRequest, reason: links.Reason) -> HttpResponse:
    """403 with the reason, or 404 as for a file that does not exist."""
    links.count(reason)
    if reason == "not_published":
        raise Http404
    detail = SENTENCES[reason]
    if not speaks_json(request):
        return error_response(request, 403, detail)
    body = problem_body(403, detail=detail, request_id=request_id_of(request), code=reason)
    return JsonResponse(body, status=403, content_type=CONTENT_TYPE)


def _delivered(request: HttpRequest, file: MediaFile) -> HttpResponseBase:
    """From this machine: by nginx, or by us."""
    try:
        opened = storage.opened(file.name)
    except storage.Missing as error:
        log.error("media_file_missing", key=str(file.key), name=file.name[:120], reason=str(error))
        raise Http404 from error
    response: HttpResponseBase
    if settings.LIBRARY_ACCEL_LOCATION:
        opened.close()
        response = HttpResponse()
        response.headers["X-Accel-Redirect"] = settings.LIBRARY_ACCEL_LOCATION + quote(file.name)
        response.headers["Content-Type"] = file.content_type
    else:
        representation = Representation(opened.size_bytes, opened.modified)
        decision = decide(_conditions(request), representation)
        response = _streamed(decision, opened, representation, file.content_type, bodiless=request.method == "HEAD")
    response.headers["Content-Disposition"] = f'inline; filename="{_file_name(file)}"'
    response.headers["Cache-Control"] = PUBLIC if links.refusal(file, None) is None else PRIVATE
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _streamed(
    decision: Decision, opened: storage.OpenFile, file: Representation, content_type: str, *, bodiless: bool
) -> HttpResponseBase:
    headers = {} if decision.status == 412 else {"ETag": file.etag}
    if decision.status in {200, 206, 304}:
        headers["Last-Modified"] = file.last_modified
    pieces: list[bytes | range] = list(decision.ranges)
    if decision.status == 416:
        headers["Content-Range"] = f"bytes */{file.size_bytes}"
    elif decision.status == 200:
        headers["Accept-Ranges"] = "bytes"
    elif len(decision.ranges) == 1:
        headers["Content-Range"] = content_range(decision.ranges[0], file.size_bytes)
    elif decision.ranges:
        content_type, pieces = multipart(decision.ranges, size=file.size_bytes, content_type=content_type)
    if decision.status != 304:
        headers["Content-Length"] = str(sum(map(len, pieces)))
    if bodiless or not decision.ranges:
        opened.close()
        pieces = []
    # A 304 too: of a response that is not streamed, Django would say that it is 0 bytes long.
    response = StreamingHttpResponse(streaming.Blocks(opened, pieces), status=decision.status, headers=headers)
    if decision.status in {200, 206}:
        response.headers["Content-Type"] = content_type
    else:
        del response.headers["Content-Type"]
    return response


def _redirected(request: HttpRequest, file: MediaFile, bucket: Any) -> HttpResponse:
    """To the bucket, by an address that it takes for as long as a link is good."""
    told = {
        "ResponseContentType": file.content_type,
        "ResponseContentDisposition": f'inline; filename="{_file_name(file)}"',
    }
    expire = int(settings.LIBRARY_LINK.total_seconds())
    address = bucket.url(file.name, parameters=told, expire=expire, http_method=request.method)
    return HttpResponse(status=302, headers={"Location": address, "Cache-Control": "no-store"})


def _conditions(request: HttpRequest) -> dict[str, str]:
    """The headers that say which bytes, and on what condition; of one that is repeated the first, as nginx does."""
    scope = getattr(request, "scope", None)
    sent = reversed(scope["headers"]) if scope else []
    named = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in sent}
    return {name: named[name] for name in CONDITIONS if name in named}


def _file_name(file: MediaFile) -> str:
    """What a browser may save it as; made of the item's address, never of what an uploader wrote."""
    slug = re.sub(r"[^A-Za-z0-9_-]", "", file.item.slug if file.item else "") or "file"
    ending = re.search(r"\.[a-z0-9]{1,8}$", file.name)
    return f"{slug}{ending[0] if ending else ''}"
