"""Files come into the library whole or not at all, and go with their rows."""

import errno
import hashlib
import io
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import InMemoryStorage, storages
from django.db import IntegrityError, transaction
from django.utils import timezone
from PIL import Image

from accounts.models import User
from content import files, uploads
from content.files import NoRoom, keep
from content.inspection import Refused
from content.models import Item, Kind, MediaFile, Role
from content.tests import rows, samples

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("library")]
PICTURE, OTHER_PICTURE = samples.picture(), samples.picture("JPEG")


class Cut(BaseException):
    """What ends a process in the middle, as far as a test can."""


def stored(library: Path) -> list[str]:
    """Every file under the library's directory, by its path in it."""
    return sorted(str(path.relative_to(library)) for path in library.rglob("*") if path.is_file())


def film(**more: Any) -> Item:
    return rows.item(kind=Kind.VIDEO, **more)


def later() -> Any:
    return timezone.now() + uploads.KEPT + timedelta(minutes=1)


def test_a_film_is_kept_byte_for_byte_under_a_name_of_ours(library: Path, tmp_path: Path, staff: User) -> None:
    source = samples.put(tmp_path, samples.FILM)
    item = film()
    file = keep(source, original_name="../My film.mp4", by=staff, item=item)
    assert stored(library) == [file.name]
    assert (library / file.name).read_bytes() == samples.FILM == source.read_bytes()
    assert file.sha256 == hashlib.sha256(samples.FILM).hexdigest()
    assert (file.size_bytes, file.original_name, file.uploaded_by) == (len(samples.FILM), "My film.mp4", staff)
    assert "film" not in file.name
    assert item.media == file


def test_the_web_server_may_read_it_and_strangers_may_not(library: Path, tmp_path: Path) -> None:
    file = keep(samples.put(tmp_path, samples.FILM), original_name="film.mp4", move=True)
    assert (library / file.name).stat().st_mode & 0o777 == 0o640


def test_a_picture_is_kept_as_it_was_written_anew(library: Path, tmp_path: Path) -> None:
    source = samples.put(tmp_path, OTHER_PICTURE + b"<script>alert(1)</script>")
    file = keep(source, original_name="a.jpg", item=rows.item(), role=Role.POSTER)
    content = (library / file.name).read_bytes()
    assert b"<script>" not in content
    assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert stored(library) == [file.name]


def test_a_file_that_may_be_moved_is_gone_from_where_it_was(library: Path, tmp_path: Path) -> None:
    for content in (samples.FILM, PICTURE):
        source = samples.put(tmp_path, content)
        role = Role.MAIN if content is samples.FILM else Role.POSTER
        keep(source, original_name="film.mp4", role=role, move=True)
        assert not source.exists()
    assert len(stored(library)) == 2


def test_progress_is_told_to_the_last_byte(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    keep(
        samples.put(tmp_path, samples.recording(200)),
        original_name="a.wav",
        progress=lambda done, total: told.append((done, total)),
    )
    size = len(samples.recording(200))
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == (size, size)


def test_the_same_content_in_the_same_place_again_changes_nothing(library: Path, tmp_path: Path) -> None:
    item = film()
    for role, content in ((Role.MAIN, samples.FILM), (Role.POSTER, PICTURE), (Role.ILLUSTRATION, PICTURE)):
        first = keep(samples.put(tmp_path, content), original_name="a", item=item, role=role)
        assert keep(samples.put(tmp_path, content), original_name="b", item=item, role=role) == first
    assert MediaFile.objects.count() == len(stored(library)) == 3


def test_the_same_content_elsewhere_is_another_file(library: Path, tmp_path: Path) -> None:
    first, second = (keep(samples.put(tmp_path, samples.FILM), original_name="a", item=film()) for _ in range(2))
    assert first.name != second.name
    assert len(stored(library)) == 2


@pytest.mark.parametrize("role", [Role.MAIN, Role.POSTER])
def test_a_new_main_file_or_poster_takes_the_place_of_the_old_one(library: Path, tmp_path: Path, role: Role) -> None:
    old, new = (samples.FILM, samples.recording()) if role == Role.MAIN else (PICTURE, OTHER_PICTURE)
    item = film()
    keep(samples.put(tmp_path, old), original_name="old", item=item, role=role)
    file = keep(samples.put(tmp_path, new), original_name="new", item=item, role=role)
    assert list(item.files.all()) == [file]
    assert stored(library) == [file.name]


def test_an_item_may_have_many_illustrations(tmp_path: Path) -> None:
    item = rows.item()
    for content in (PICTURE, OTHER_PICTURE):
        keep(samples.put(tmp_path, content), original_name="a", item=item, role=Role.ILLUSTRATION)
    assert item.files.count() == 2


@pytest.mark.parametrize(
    ("kind", "role", "content", "words"),
    [
        (Kind.ARTICLE, Role.MAIN, samples.FILM, "An article has no recording"),
        (Kind.VIDEO, Role.MAIN, PICTURE, "This is a picture"),
        (Kind.VIDEO, Role.POSTER, samples.FILM, "must be a picture"),
        (Kind.ARTICLE, Role.ILLUSTRATION, samples.recording(), "must be a picture"),
    ],
)
def test_a_file_of_another_kind_than_its_role_is_refused(
    library: Path, tmp_path: Path, kind: Kind, role: Role, content: bytes, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        keep(samples.put(tmp_path, content), original_name="a", item=rows.item(kind=kind), role=role)
    assert stored(library) == []


def test_a_file_above_the_limit_is_refused(library: Path, tmp_path: Path, settings: Any) -> None:
    settings.LIBRARY_MAX_FILE_BYTES = len(samples.FILM) - 1
    with pytest.raises(Refused, match="too large"):
        keep(samples.put(tmp_path, samples.FILM), original_name="a")
    assert stored(library) == []


@pytest.mark.parametrize("step", ["copy", "note", "place", "row"])
@pytest.mark.parametrize("move", [False, True])
def test_a_full_disk_is_told_and_leaves_nothing(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, move: bool
) -> None:
    source = samples.put(tmp_path, samples.FILM)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    what = {"copy": (os, "fsync"), "note": (files, "write_note"), "place": (os, "link"), "row": (Path, "chmod")}[step]
    monkeypatch.setattr(*what, full)
    with pytest.raises(NoRoom, match="no room left"):
        keep(source, original_name="a", item=film(), move=move)
    monkeypatch.undo()
    assert (stored(library), MediaFile.objects.count()) == ([], 0)
    assert source.read_bytes() == samples.FILM


def test_a_disk_that_is_full_when_a_picture_is_written_anew_is_no_fault_of_the_picture(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = samples.put(tmp_path, PICTURE)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(NoRoom, match="no room left"):
        keep(source, original_name="moon.png", role=Role.ILLUSTRATION, move=True)
    assert (stored(library), source.read_bytes()) == ([], PICTURE)


def test_what_is_kept_stays_so_where_no_descriptor_is_left_to_tidy_up_with(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", refuses)  # of the note, once the row is committed
        file = keep(samples.put(tmp_path, samples.FILM), original_name="a", item=film())
    assert MediaFile.objects.get() == file
    assert len(stored(library)) == 2  # the file, and the note
    uploads.sweep(later())
    assert stored(library) == [file.name]


def test_whatever_tidying_up_raises_a_row_that_is_gone_is_gone(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = keep(samples.put(tmp_path, samples.FILM), original_name="a")

    def fails(_: Path) -> None:
        raise RuntimeError("The storage does not answer.")  # as those of object storages do, each by its own

    with monkeypatch.context() as patched:
        patched.setattr(files, "settle", fails)
        file.delete()
    assert MediaFile.objects.count() == 0
    uploads.sweep(later())
    assert stored(library) == []


@pytest.mark.parametrize("move", [False, True])
def test_a_row_that_cannot_be_written_takes_the_file_along(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: bool
) -> None:
    item, source = film(), samples.put(tmp_path, samples.FILM)
    old = keep(samples.put(tmp_path, samples.recording(), "old"), original_name="old", item=item)

    def refuses(**_: Any) -> None:
        raise IntegrityError

    monkeypatch.setattr(MediaFile.objects, "create", refuses)
    with pytest.raises(IntegrityError):
        keep(source, original_name="a", item=item, move=move)
    uploads.sweep(later())  # a note of the old file, which was to go
    assert stored(library) == [old.name]
    assert list(item.files.all()) == [old]
    assert source.exists()


def test_a_transaction_around_it_that_is_undone_leaves_a_note_by_which_the_file_is_swept_away(
    library: Path, tmp_path: Path
) -> None:
    source = samples.put(tmp_path, samples.FILM)
    with suppress(Cut), transaction.atomic():
        keep(source, original_name="a", move=True)
        raise Cut
    assert source.exists()
    assert len(stored(library)) == 2  # the file, and the note
    uploads.sweep()
    assert len(stored(library)) == 2  # it might still be at work
    uploads.sweep(later())
    assert stored(library) == []


@pytest.mark.parametrize("step", ["settle", "_place", "_written_down", "_same"])
def test_a_process_that_ends_in_the_middle_leaves_nothing_that_is_not_swept_away(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    source = samples.put(tmp_path, samples.FILM)

    def ends(*_: Any, **__: Any) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(files, step, ends)
        patch.setattr(files, "settle", ends)  # nor does it clean up behind itself
        with pytest.raises(Cut):
            keep(source, original_name="a", item=film(), move=True)
    uploads.sweep(later())
    assert stored(library) == sorted(file.name for file in MediaFile.objects.all())
    assert MediaFile.objects.count() == (1 if step == "settle" else 0)


def test_an_item_that_is_deleted_meanwhile_gets_no_file(library: Path, tmp_path: Path) -> None:
    item = film()
    prepared = files.prepare(samples.put(tmp_path, samples.FILM), original_name="a", item=item)
    Item.objects.filter(pk=item.pk).delete()
    with pytest.raises(files.Conflict, match="was deleted"):
        files.enter(prepared)
    assert stored(library) == []


def test_a_file_goes_with_its_row_once_that_is_committed(library: Path, tmp_path: Path) -> None:
    file = keep(samples.put(tmp_path, samples.FILM), original_name="a")
    with transaction.atomic():
        file.delete()
        assert (library / file.name).exists()
    assert stored(library) == []


def test_a_row_that_is_not_deleted_after_all_keeps_its_file(library: Path, tmp_path: Path) -> None:
    file = keep(samples.put(tmp_path, samples.FILM), original_name="a")
    with suppress(Cut), transaction.atomic():
        MediaFile.objects.all().delete()
        raise Cut
    uploads.sweep(later())
    assert stored(library) == [file.name]


def test_files_of_a_deleted_item_stay_without_one(library: Path, tmp_path: Path) -> None:
    item = film()
    file = keep(samples.put(tmp_path, samples.FILM), original_name="a", item=item)
    item.delete()
    file.refresh_from_db()
    assert file.item is None
    assert stored(library) == [file.name]


def test_a_file_system_without_hard_links_gets_a_copy(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuses)
    file = keep(samples.put(tmp_path, samples.FILM), original_name="a", move=True)
    assert (library / file.name).read_bytes() == samples.FILM


def test_a_bucket_gets_the_bytes_and_the_disk_keeps_none(library: Path, tmp_path: Path, settings: Any) -> None:
    memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    settings.STORAGES = {**settings.STORAGES, "library": memory}
    bucket = storages["library"]
    assert isinstance(bucket, InMemoryStorage)
    file = keep(samples.put(tmp_path, samples.FILM), original_name="a", move=True)
    with bucket.open(file.name) as kept:
        assert io.BytesIO(kept.read()).getvalue() == samples.FILM
    assert stored(library) == []
    file.delete()
    assert not bucket.exists(file.name)
