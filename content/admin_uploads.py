"""Uploading in the admin: the page, and the requests by which its script sends a file piece by piece.

    POST   …/uploads/             name, size, item, role, id → id, offset, chunk; again with the same id: how it stands
    GET    …/uploads/<id>/        → offset
    PATCH  …/uploads/<id>/        a chunk; the header Upload-Offset says where it begins → offset
    POST   …/uploads/<id>/finish/ → url of what it became
    DELETE …/uploads/<id>/        gives it up

Errors are problem details; one with an `offset` says where to go on. What an upload is, `uploads` knows.
"""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator

from accounts.models import User
from observability.http.exchange import request_id_of
from observability.http.methods import takes
from observability.problems import CONTENT_TYPE, Problem, problem_body

from . import files, uploads
from .models import Item, MediaFile, Role

PLAIN_BYTES = 900 * 1024  # what the form takes without a script: a body, with its other fields, has a limit

View = Callable[..., HttpResponse]


def answers_problems(view: View) -> View:
    """A view whose problems are answered as such, with the offset where they have one."""

    @wraps(view)
    def answer(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(self, request, *args, **kwargs)
        except Problem as problem:
            more = {"code": problem.code, "request_id": request_id_of(request)}
            body = problem_body(problem.status, detail=problem.detail, **more)
            if isinstance(problem, uploads.OutOfStep):
                body["offset"] = problem.offset
            return JsonResponse(body, status=problem.status, content_type=CONTENT_TYPE, headers=problem.headers)

    return answer


class UploadForm(forms.Form):
    """What to put where. `file` is left out where the script sends it."""

    file = forms.FileField(required=False, allow_empty_file=True)
    item = forms.ModelChoiceField(
        Item.objects.order_by("title", "pk"), required=False, empty_label="none yet", help_text="What it belongs to."
    )
    role = forms.ChoiceField(
        choices=Role.choices, initial=Role.MAIN, help_text="A picture in lists, or a film, replaces the one there was."
    )


class StartForm(UploadForm):
    """The same, with what the script tells of the file."""

    name = forms.CharField(max_length=10_000, strip=False)
    size = forms.IntegerField()
    id = forms.UUIDField(required=False)


class CancelForm(forms.Form):
    """Which one to give up."""

    cancel = forms.UUIDField()


class UploadPages:
    """The pages of uploads, for the admin of files."""

    opts: Any
    admin_site: Any
    has_add_permission: Any
    log_addition: Any

    def get_urls(self) -> list[URLPattern]:
        """With these."""
        view = self.admin_site.admin_view
        return [
            path("uploads/", view(self.uploads_view), name="content_mediafile_uploads"),
            path("uploads/<uuid:upload>/", view(self.upload_view), name="content_mediafile_upload"),
            path("uploads/<uuid:upload>/finish/", view(self.finish_view), name="content_mediafile_upload_finish"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    @method_decorator(takes("GET", "HEAD", "POST"))
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of the form, which the script takes over; without it, small files come in by the form itself."""
        self._expect_right(request)
        if "cancel" in request.POST:
            return _cancelled(request)
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm(request.GET or None)
        if request.method != "POST":
            form = UploadForm(initial=_chosen(request))
        elif form.is_valid():
            try:
                self._expect_right(request, form.cleaned_data["item"])
                file = _kept(form.cleaned_data, by=_who(request))
                return HttpResponseRedirect(self._done(request, file))
            except Problem as problem:
                form.add_error("file", problem.detail)
        context = {
            **self.admin_site.each_context(request),
            "title": "Upload a file",
            "opts": self.opts,
            "form": form,
            "unfinished": uploads.unfinished(_who(request)).order_by("-updated_at"),
            "plain_bytes": PLAIN_BYTES,
        }
        return TemplateResponse(request, "admin/content/mediafile/upload.html", context)

    @method_decorator(takes("POST"))
    @answers_problems
    def uploads_view(self, request: HttpRequest) -> HttpResponse:
        """Begin one."""
        self._expect_right(request)
        form = StartForm(request.POST)
        if not form.is_valid():
            field, errors = next(iter(form.errors.items()))
            raise Problem(f"{field}: {errors[0]}")
        told = form.cleaned_data
        self._expect_right(request, told["item"])
        if told["id"] and (standing := _finished(request, told["id"])) is not None:
            return JsonResponse(standing)
        upload = uploads.start(
            by=_who(request),
            name=told["name"],
            size_bytes=told["size"],
            item=told["item"],
            role=Role(told["role"]),
            pk=told["id"],
        )
        return JsonResponse(_standing(upload.pk, upload.received_bytes, upload.size_bytes), status=201)

    @method_decorator(takes("GET", "HEAD", "PATCH", "DELETE"))
    @answers_problems
    def upload_view(self, request: HttpRequest, upload: uuid.UUID) -> HttpResponse:
        """Where it stands, a chunk more, or its end."""
        self._expect_right(request)
        if request.method == "PATCH":
            offset = uploads.append(upload, by=_who(request), offset=_offset(request), data=request.body)
            return JsonResponse({"offset": offset})
        if request.method == "DELETE":
            uploads.cancel(upload, by=_who(request))
            return HttpResponse(status=204)
        if (standing := _finished(request, upload)) is not None:
            return JsonResponse(standing)
        found = uploads.find(upload, by=_who(request))
        return JsonResponse(_standing(upload, found.received_bytes, found.size_bytes))

    @method_decorator(takes("POST"))
    @answers_problems
    def finish_view(self, request: HttpRequest, upload: uuid.UUID) -> HttpResponse:
        """Take it into the library."""
        self._expect_right(request)
        file = uploads.finish(upload, by=_who(request))
        return JsonResponse({"key": str(file.key), "url": self._done(request, file)})

    def _expect_right(self, request: HttpRequest, item: Item | None = None) -> None:
        """Who may add files may; to put one in an item, who may change that."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if item is not None and not _who(request).has_perm("content.change_item"):
            raise PermissionDenied

    def _done(self, request: HttpRequest, file: MediaFile) -> str:
        """Note it down; where to go next."""
        self.log_addition(request, file, "Uploaded.")
        messages.success(request, f"“{file}” is in the library.")
        if file.item_id and _who(request).has_perm("content.change_item"):
            return reverse("admin:content_item_change", args=[file.item_id])
        if _who(request).has_perm("content.change_mediafile"):
            return reverse("admin:content_mediafile_change", args=[file.pk])
        return reverse("admin:index")


def _who(request: HttpRequest) -> User:
    return cast(User, request.user)


def _chosen(request: HttpRequest) -> dict[str, str]:
    """What a link to the page chose: ?item=3&role=poster."""
    return {name: request.GET[name] for name in ("item", "role") if name in request.GET}


def _cancelled(request: HttpRequest) -> HttpResponse:
    """The page again, without the upload that its form gave up."""
    form = CancelForm(request.POST)
    try:
        if not form.is_valid():
            raise uploads.NoSuchUpload("There is no such upload.")
        upload = uploads.cancel(form.cleaned_data["cancel"], by=_who(request))
        messages.success(request, f"“{upload.original_name}” is cancelled.")
    except uploads.NoSuchUpload as problem:
        messages.error(request, problem.detail)
    return HttpResponseRedirect(request.get_full_path())


def _finished(request: HttpRequest, upload: uuid.UUID) -> dict[str, Any] | None:
    """That all of one has arrived, where it is finished: to finish it again says what it became."""
    file = uploads.finished(upload, by=_who(request))
    return None if file is None else _standing(upload, file.size_bytes, file.size_bytes)


def _standing(upload: uuid.UUID, received: int, size: int) -> dict[str, Any]:
    return {
        "id": str(upload),
        "offset": received,
        "size": size,
        "chunk": uploads.chunk_bytes(),
        "url": reverse("admin:content_mediafile_upload", args=[upload]),
        "finish": reverse("admin:content_mediafile_upload_finish", args=[upload]),
    }


def _offset(request: HttpRequest) -> int:
    told = request.headers.get("Upload-Offset", "")
    if not (told.isascii() and told.isdigit() and len(told) < 16):
        raise Problem("The header Upload-Offset says where the chunk begins, in bytes.")
    return int(told)


def _kept(told: dict[str, Any], *, by: User) -> MediaFile:
    """What came in by the form itself."""
    file: UploadedFile[bytes] | None = told["file"]
    if file is None:
        raise Problem("Choose a file.")
    waiting = files.incoming() / f"stage-{uuid.uuid4().hex}.part"
    try:
        with files.full_disk_told():
            waiting.write_bytes(b"".join(file.chunks()))
        return files.keep(
            waiting, original_name=file.name or "", by=by, item=told["item"], role=Role(told["role"]), move=True
        )
    finally:
        waiting.unlink(missing_ok=True)
