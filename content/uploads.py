"""Files that come in piece by piece, through bodies of MAX_BODY_BYTES at most, and go on after whatever cut them off.

    upload = start(by=user, name="Evening.mp4", size_bytes=…)
    offset = append(upload.pk, by=user, offset=0, data=…)  # again and again
    file = finish(upload.pk, by=user)

An upload's bytes wait in `incoming/`. What is counted as received is on the disk; the row says how much that is. One
process at a time touches an upload: a lock on its file holds the others off, and the row's UPDATE names the offset.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User
from observability.problems import Conflict, Problem

from . import files, inspection
from .formats import Refused
from .models import FileKind, Item, MediaFile, Role, Upload

MOST_OPEN = 5  # of one person
KEPT = timedelta(hours=48)  # what is left lying for longer is swept away
MOST_CHUNK_BYTES = 2**20
PREFIX = "upload-"


class NoSuchUpload(Problem):
    """There is none of that id, or it is somebody else's (404)."""

    status = 404


class OutOfStep(Conflict):
    """The chunk does not begin where the last one ended; `offset` is where to go on."""

    code = "offset"

    def __init__(self, offset: int) -> None:
        super().__init__("That is not where this upload stands.")
        self.offset = offset


class Busy(Conflict):
    """Another request is at work on the upload: ask again in a moment."""

    code = "busy"


def chunk_bytes() -> int:
    """The largest chunk that is taken."""
    return min(int(settings.MAX_BODY_BYTES), MOST_CHUNK_BYTES)


def start(
    *,
    by: User,
    name: str,
    size_bytes: int,
    item: Item | None = None,
    role: Role = Role.MAIN,
    pk: uuid.UUID | None = None,
) -> Upload:
    """Begin an upload of a file of that size.

    Args:
        pk: its id, by default made here. Who did not hear the answer asks again with it, and gets the same upload.

    Raises:
        Refused: what can be known to be refused already.
        Conflict: too many are unfinished, or something else has that id.
        files.NoRoom: it would not fit on the disk.
    """
    sweep()
    if size_bytes < 1:
        raise Refused("This file is empty.")
    if size_bytes > settings.LIBRARY_MAX_FILE_BYTES:
        raise Refused(f"This file is too large: at most {settings.LIBRARY_MAX_FILE_BYTES:,} bytes are taken.")
    if item is not None:
        files.expect_role(item, role)
    pk = pk or uuid.uuid4()
    told = {"owner": by, "item": item, "role": role, "original_name": files.clean_name(name), "size_bytes": size_bytes}
    with transaction.atomic():
        User.objects.select_for_update().get(pk=by.pk)  # one at a time, so that what follows is true until the end
        if Upload.objects.filter(pk=pk, became=None, **told).exists():
            return find(pk, by=by)
        if Upload.objects.filter(pk=pk).exists() or MediaFile.objects.filter(key=pk).exists():
            raise Conflict("This upload cannot be begun again: begin another.")
        if shutil.disk_usage(files.incoming()).free < size_bytes:
            raise files.NoRoom("There is not enough room for this file on the library's disk.")
        if unfinished(by).count() >= MOST_OPEN:
            raise Conflict(f"You have {MOST_OPEN} unfinished uploads: finish or cancel one of them first.")
        return Upload.objects.create(pk=pk, **told)


def unfinished(by: User) -> QuerySet[Upload]:
    """Somebody's own uploads that go on, with the item of each."""
    return Upload.objects.select_related("item").filter(owner=by, became=None)


def find(pk: uuid.UUID, *, by: User) -> Upload:
    """Somebody's own upload that goes on, with the offset that can be relied on; raises NoSuchUpload."""
    upload = unfinished(by).filter(pk=pk).first()
    if upload is None:
        raise NoSuchUpload("There is no such upload: it was finished, cancelled, or left lying for too long.")
    there = path_of(upload.pk).stat().st_size if path_of(upload.pk).exists() else 0
    if there < upload.received_bytes:  # the disk lost what it had
        Upload.objects.filter(pk=pk, received_bytes=upload.received_bytes).update(received_bytes=there)
        upload.received_bytes = there
    return upload


def append(pk: uuid.UUID, *, by: User, offset: int, data: bytes) -> int:
    """Add the bytes that begin at `offset`; how many there are then.

    Raises:
        NoSuchUpload, OutOfStep, Busy, files.NoRoom: nothing is added.
        Refused: it is more than a chunk, nothing, or more than was said; or it begins like nothing that the library
            takes, and the upload is gone.
    """
    if not data or len(data) > chunk_bytes():
        raise Refused(f"A chunk has 1 to {chunk_bytes():,} bytes.")
    with _held(pk, by) as (upload, descriptor):
        if offset != upload.received_bytes:
            raise OutOfStep(upload.received_bytes)
        end = offset + len(data)
        if end > upload.size_bytes:
            raise Refused("That is more than the file was said to have. Has it changed? Cancel, and begin anew.")
        if offset == 0:
            _expect_promising(upload, data)
        with files.full_disk_told():
            os.ftruncate(descriptor, offset)  # of a chunk that was cut off
            _write(descriptor, data, offset)
            os.fsync(descriptor)
        now = timezone.now()
        mine = Upload.objects.filter(pk=pk, received_bytes=offset)
        if not mine.update(received_bytes=end, updated_at=now):
            raise OutOfStep(find(pk, by=by).received_bytes)
        return end


def finish(pk: uuid.UUID, *, by: User) -> MediaFile:
    """Take a file that has arrived into the library; asked again, it says the same.

    Raises:
        NoSuchUpload, OutOfStep, Busy, files.NoRoom, formats.NotExamined: the upload stays as it is.
        Refused: it is nothing that the library takes. The upload is gone.
    """
    if (done := finished(pk, by=by)) is not None:
        return done
    with _held(pk, by) as (upload, _):
        if upload.received_bytes != upload.size_bytes:
            raise OutOfStep(upload.received_bytes)
        try:
            prepared = files.prepare(
                path_of(pk), original_name=upload.original_name, item=upload.item, role=Role(upload.role), move=True
            )
            with transaction.atomic():
                if not Upload.objects.filter(pk=pk).delete()[0]:
                    raise NoSuchUpload("This upload was cancelled.")
                file = files.enter(prepared, by=by, key=pk)
                if file.key != pk:  # it was there: who does not hear of it asks for this upload
                    upload.became = file.key
                    upload.save(force_insert=True)
                return file
        except Refused:
            _remove(upload)
            raise


def finished(pk: uuid.UUID, *, by: User) -> MediaFile | None:
    """What somebody's own upload has become, where it is finished: they may not have heard of it."""
    there = Upload.objects.filter(pk=pk, owner=by).values("became")
    return MediaFile.objects.filter(Q(key=pk, uploaded_by=by) | Q(key__in=there)).first()


def cancel(pk: uuid.UUID, *, by: User) -> Upload:
    """Give an upload up, and tell what it was; raises NoSuchUpload."""
    upload = find(pk, by=by)
    _remove(upload)
    return upload


def sweep(now: datetime | None = None) -> int:
    """Delete what was left lying: uploads that nobody went on with, and what was cut off in the middle.

    Returns:
        How many uploads were given up.
    """
    before = (now or timezone.now()) - KEPT
    old = list(Upload.objects.filter(updated_at__lt=before))
    for upload in old:
        _remove(upload)
    for path in files.incoming().iterdir():
        with suppress(FileNotFoundError):  # another process sweeps too
            if path.stat().st_mtime >= before.timestamp():
                continue
            if path.suffix == ".note":
                files.settle(path)
            elif not _is_awaited(path):
                path.unlink()
    return len(old)


def path_of(pk: uuid.UUID) -> Path:
    """Where an upload's bytes wait."""
    return files.incoming() / f"{PREFIX}{pk.hex}.part"


def remove_bytes(pk: uuid.UUID) -> None:
    """Delete what has arrived of an upload, whose row is gone."""
    path_of(pk).unlink(missing_ok=True)


def _remove(upload: Upload) -> None:
    Upload.objects.filter(pk=upload.pk).delete()


def _is_awaited(path: Path) -> bool:
    """Whether it is of an upload that goes on."""
    try:
        return path.name.startswith(PREFIX) and Upload.objects.filter(pk=path.stem.removeprefix(PREFIX)).exists()
    except ValidationError:
        return False


@contextmanager
def _held(pk: uuid.UUID, by: User) -> Iterator[tuple[Upload, int]]:
    """An upload and a descriptor of its file, which nobody else touches until the end of the block."""
    find(pk, by=by)
    descriptor = os.open(path_of(pk), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("Another tab, or an earlier request, is at work on this upload.") from None
        try:
            upload = find(pk, by=by)
        except NoSuchUpload:  # gone while this waited, and its file must not come back
            remove_bytes(pk)
            raise
        yield upload, descriptor
    finally:
        os.close(descriptor)


def _expect_promising(upload: Upload, data: bytes) -> None:
    """Say at once what would only be said after hours: that the file is nothing the library takes, or not there."""
    if len(data) < min(inspection.HEAD_BYTES, upload.size_bytes):
        return
    try:
        is_picture = inspection.glance(data[: inspection.HEAD_BYTES]) is None
        files.expect_fit(upload.item, Role(upload.role), FileKind.IMAGE if is_picture else FileKind.VIDEO)
    except Refused:
        _remove(upload)
        raise


def _write(descriptor: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
