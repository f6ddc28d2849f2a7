"""What prune does to the library: viewers are parted from what they watched, and no watch time is lost."""

import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import timezone

from accounts.models import User
from content import facts, retention
from content.models import MediaFile, Opening, Player, Upload, Viewing
from content.tests import rows
from observability.retention import prune as pruned

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def prune(name: str, *, days_later: float = 0, dry_run: bool = False) -> int:
    steps = pruned([name], now=timezone.now() + timedelta(days=days_later), dry_run=dry_run)
    (step,) = [step for step in steps if step.is_done]
    assert not step.error
    return step.number


@pytest.fixture
def library(tmp_path: Path, settings: Any) -> Path:
    """A library that is nobody else's."""
    mine = {**settings.STORAGES["library"], "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = {**settings.STORAGES, "library": mine}
    return tmp_path


def stored(row: bool) -> str:
    word = uuid.uuid4().hex
    name = storages["library"].save(f"{word[:2]}/{word}.webm", ContentFile(b"0123456789"))
    if row:
        rows.media(None, name=name)
    return name


def test_viewings_stay_as_nobodys_with_their_watch_time(member: User) -> None:
    film = rows.film()
    old = rows.viewing(film, user=member, last_beacon_at=rows.days_ago(731), device="a device")
    young = rows.viewing(film, user=member)
    told = [sample.value for sample in facts.finished_viewings()]
    assert prune("viewers") == 1
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.user, young.user) == (None, member)
    assert old.device != "a device"
    assert old.played_seconds == 60
    assert [sample.value for sample in facts.finished_viewings()] == told
    assert prune("viewers") == 0


def test_openings_join_those_of_who_is_not_signed_in(member: User, staff: User) -> None:
    item, day = rows.item(), rows.days_ago(731).date()
    Opening.objects.create(item=item, day=day, number=1)
    for user, number in ((member, 2), (staff, 3)):
        Opening.objects.create(item=item, day=day, user=user, number=number)
    Opening.objects.create(item=item, day=rows.days_ago(729).date(), user=member, number=4)
    assert prune("viewers") == 2
    assert set(Opening.objects.values_list("user", "number")) == {(None, 6), (member.pk, 4)}


def test_page_loads_go_and_their_viewing_stays() -> None:
    viewing = rows.viewing(rows.film())
    Player.objects.create(id=uuid.uuid4(), viewing=viewing)
    assert prune("page-loads", days_later=1) == 0
    assert prune("page-loads", days_later=2.1) == 1
    assert Viewing.objects.get() == viewing


def test_uploads_that_nobody_went_on_with_go_with_their_bytes(library: Path, staff: User) -> None:
    upload = Upload.objects.create(owner=staff, original_name="film.webm", size_bytes=10)
    part = library / "incoming" / f"upload-{upload.pk.hex}.part"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"01234")
    assert prune("uploads", days_later=2.1, dry_run=True) == 1
    assert part.exists()
    assert prune("uploads") == 0
    Upload.objects.update(updated_at=rows.days_ago(2.1))
    os.utime(part, (0, 0))
    assert prune("uploads") == 1
    assert not Upload.objects.exists()
    assert not part.exists()


def test_files_that_no_row_names_go_after_a_week(library: Path) -> None:
    named, orphan = stored(row=True), stored(row=False)
    assert prune("library-files", days_later=6.9) == 0
    assert prune("library-files", days_later=7.1, dry_run=True) == 1
    assert prune("library-files", days_later=7.1) == 1
    assert (library / named).exists()
    assert not (library / orphan).exists()
    assert MediaFile.objects.get().name == named


def test_a_file_that_was_old_before_it_came_is_not_taken_for_one_left_behind(library: Path) -> None:
    """A film of last year is on its way in: its content is old, its place in the library is not."""
    orphan = stored(row=False)
    os.utime(library / orphan, (0, 0))
    assert prune("library-files") == 0


def test_only_files_of_our_own_naming_are_touched(library: Path) -> None:
    for name in ("incoming/upload.part", "aa/notes.txt", "lost+found/a.webm", "bb/" + "c" * 32 + ".webm"):
        (library / name).parent.mkdir(exist_ok=True)
        (library / name).write_text("somebody's")
    assert prune("library-files", days_later=100) == 0


def test_a_library_that_was_never_used_has_no_files_to_delete(settings: Any, tmp_path: Path) -> None:
    options = {"location": str(tmp_path / "nothing-here")}
    settings.STORAGES = {**settings.STORAGES, "library": {**settings.STORAGES["library"], "OPTIONS": options}}
    assert prune("library-files") == 0


def test_a_bucket_which_knows_no_time_of_creation_is_asked_for_that_of_change() -> None:
    class Bucket:
        def get_created_time(self, name: str) -> None:
            raise NotImplementedError

        def get_modified_time(self, name: str) -> str:
            return f"of {name}"

    assert retention._since(Bucket(), "a") == "of a"  # type: ignore[arg-type, comparison-overlap]
