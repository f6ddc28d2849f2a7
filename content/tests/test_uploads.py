"""Uploads in pieces: they go on after whatever cut them off, and what is left lying is swept away."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.models import User
from content import files, inspection, uploads
from content.formats import NotExamined
from content.inspection import Refused
from content.models import Item, Kind, MediaFile, Role, Upload
from content.tests import rows, samples
from content.uploads import Busy, NoSuchUpload, OutOfStep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("library")]
START = "/admin/content/mediafile/uploads/"
ADD = "/admin/content/mediafile/add/"
FILM, CHUNK = samples.FILM, 50_000


class Cut(BaseException):
    """What ends a process in the middle, as far as a test can."""


def stored(library: Path) -> list[str]:
    return sorted(str(path.relative_to(library)) for path in library.rglob("*") if path.is_file())


def later() -> Any:
    return timezone.now() + uploads.KEPT + timedelta(minutes=1)


def begun(by: User, **more: Any) -> Upload:
    return uploads.start(by=by, **{"name": "film.mp4", "size_bytes": len(FILM), **more})


def send(upload: Upload, by: User, *, until: int = len(FILM), content: bytes = FILM) -> None:
    offset = uploads.find(upload.pk, by=by).received_bytes
    while offset < until:
        data = content[offset : min(offset + CHUNK, until)]
        offset = uploads.append(upload.pk, by=by, offset=offset, data=data)


def refusing(problem: type[BaseException]) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> None:
        raise problem

    return refuse


@pytest.fixture
def admin(staff: User) -> Client:
    return signed_in(staff)


def signed_in(user: User, **more: Any) -> Client:
    client = Client(headers={"accept": "application/json"}, **more)
    client.force_login(user)
    return client


def patch(client: Client, url: str, offset: object, data: bytes) -> Any:
    return client.patch(url, data, content_type="application/octet-stream", headers={"upload-offset": str(offset)})


# --- What an upload is ------------------------------------------------------------------------------------------------


def test_a_file_in_pieces_comes_in_whole(library: Path, staff: User) -> None:
    item = rows.item(kind=Kind.VIDEO)
    upload = begun(staff, item=item)
    send(upload, staff)
    file = uploads.finish(upload.pk, by=staff)
    assert (library / file.name).read_bytes() == FILM
    assert (file.item, file.role, file.uploaded_by, file.original_name) == (item, Role.MAIN, staff, "film.mp4")
    assert stored(library) == [file.name]
    assert not Upload.objects.exists()


def test_finishing_twice_says_the_same(library: Path, staff: User) -> None:
    upload = begun(staff)
    send(upload, staff)
    assert uploads.finish(upload.pk, by=staff) == uploads.finish(upload.pk, by=staff)
    assert MediaFile.objects.count() == 1


def test_finishing_twice_what_was_there_already_says_the_same(library: Path, client: Client, staff: User) -> None:
    first, second = begun(staff), begun(staff)
    send(first, staff)
    file = uploads.finish(first.pk, by=staff)
    send(second, staff)
    assert [uploads.finish(second.pk, by=staff) for _ in range(2)] == [file, file]
    assert stored(library) == [file.name]

    client.force_login(staff)
    standing = client.get(f"{START}{second.pk}/").json()
    assert standing["offset"] == standing["size"] == len(FILM)
    assert client.post(standing["finish"]).json()["key"] == str(file.key)
    page = client.get("/admin/content/mediafile/add/")
    assert list(page.context["unfinished"]) == []
    assert client.get("/admin/content/upload/").context["cl"].result_count == 0
    for act in (uploads.find, uploads.cancel):
        with pytest.raises(NoSuchUpload):
            act(second.pk, by=staff)
    assert [begun(staff) for _ in range(uploads.MOST_OPEN)]

    uploads.sweep(later())
    assert (Upload.objects.count(), stored(library)) == (0, [file.name])


@pytest.mark.parametrize("offset", [0, CHUNK - 1, CHUNK + 1, len(FILM), 10**12])
def test_a_chunk_from_elsewhere_is_told_where_to_go_on(staff: User, offset: int) -> None:
    upload = begun(staff)
    send(upload, staff, until=CHUNK)
    with pytest.raises(OutOfStep) as told:
        uploads.append(upload.pk, by=staff, offset=offset, data=FILM[:10])
    assert told.value.offset == CHUNK
    send(upload, staff)
    assert uploads.finish(upload.pk, by=staff).size_bytes == len(FILM)


@pytest.mark.parametrize("data", [b"", bytes(uploads.MOST_CHUNK_BYTES + 1), FILM + b"more"])
def test_a_chunk_of_a_wrong_length_is_refused_and_nothing_is_lost(staff: User, data: bytes) -> None:
    upload = begun(staff)
    with pytest.raises(Refused):
        uploads.append(upload.pk, by=staff, offset=0, data=data)
    send(upload, staff)
    assert uploads.finish(upload.pk, by=staff)


def test_what_has_not_arrived_whole_is_not_finished(staff: User) -> None:
    upload = begun(staff)
    send(upload, staff, until=len(FILM) - 1)
    with pytest.raises(OutOfStep):
        uploads.finish(upload.pk, by=staff)
    send(upload, staff)
    assert uploads.finish(upload.pk, by=staff)


def test_two_tabs_that_send_the_same_file_at_once_make_one(library: Path, staff: User) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    upload = begun(staff)

    def tab(_: int) -> int:
        taken, offset = 0, 0
        try:
            while offset < len(FILM):
                data = FILM[offset : offset + 10_000]
                try:
                    offset = uploads.append(upload.pk, by=staff, offset=offset, data=data)
                    taken += 1
                except OutOfStep as told:
                    offset = told.offset
                except Busy:
                    pass
            return taken
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(tab, range(4))) == -(-len(FILM) // 10_000)
    assert (library / uploads.finish(upload.pk, by=staff).name).read_bytes() == FILM


def test_who_comes_while_another_is_at_work_is_told_so(staff: User) -> None:
    upload = begun(staff)
    send(upload, staff, until=CHUNK)
    with uploads.path_of(upload.pk).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Busy):
            uploads.append(upload.pk, by=staff, offset=CHUNK, data=b"x")
        with pytest.raises(Busy):
            uploads.finish(upload.pk, by=staff)


def test_somebody_elses_upload_is_none(staff: User, member: User) -> None:
    upload = begun(staff)
    for act in (uploads.find, uploads.cancel, uploads.finish):
        with pytest.raises(NoSuchUpload):
            act(upload.pk, by=member)
    with pytest.raises(NoSuchUpload):
        uploads.append(upload.pk, by=member, offset=0, data=b"x")
    assert not uploads.path_of(upload.pk).exists()


@pytest.mark.parametrize(
    ("content", "role", "words"),
    [
        (b"<html>" + bytes(20_000), Role.MAIN, "a web page"),
        (bytes(20_000), Role.MAIN, "no film"),
        (samples.picture(size=(2000, 2000)), Role.MAIN, "This is a picture"),
        (FILM, Role.POSTER, "must be a picture"),
    ],
)
def test_what_can_only_be_refused_is_refused_at_its_first_bytes(
    library: Path, staff: User, content: bytes, role: Role, words: str
) -> None:
    upload = begun(staff, role=role, size_bytes=max(len(content), 50_000))
    with pytest.raises(Refused, match=words):
        uploads.append(upload.pk, by=staff, offset=0, data=content[:40_000])
    assert (stored(library), Upload.objects.count()) == ([], 0)


def test_what_turns_out_to_be_no_film_is_refused_and_gone(library: Path, staff: User) -> None:
    content = FILM[:20_000] + bytes(20_000)
    upload = begun(staff, size_bytes=len(content))
    send(upload, staff, until=len(content), content=content)
    with pytest.raises(Refused, match=r"too early|cannot be read|holds no film"):
        uploads.finish(upload.pk, by=staff)
    assert (stored(library), Upload.objects.count(), MediaFile.objects.count()) == ([], 0, 0)


@pytest.mark.parametrize("size", [0, -1, 20 * 2**30 + 1])
def test_a_size_that_cannot_be_taken_is_refused_at_once(staff: User, size: int) -> None:
    with pytest.raises(Refused):
        begun(staff, size_bytes=size)


def test_a_file_for_which_there_is_no_room_is_not_begun(staff: User, settings: Any) -> None:
    settings.LIBRARY_MAX_FILE_BYTES = 2**62
    with pytest.raises(files.NoRoom):
        begun(staff, size_bytes=2**61)
    assert not Upload.objects.exists()


def test_an_article_has_no_main_file(staff: User) -> None:
    with pytest.raises(Refused, match="An article"):
        begun(staff, item=rows.item())


def test_nobody_has_more_than_a_few_unfinished_uploads(staff: User, member: User) -> None:
    for _ in range(uploads.MOST_OPEN):
        upload = begun(staff)
    with pytest.raises(files.Conflict, match="unfinished"):
        begun(staff)
    begun(member)
    uploads.cancel(upload.pk, by=staff)
    assert begun(staff)


def test_an_upload_that_is_begun_again_with_its_id_is_the_same(staff: User) -> None:
    pk = uuid.uuid4()
    uploads_begun = [begun(staff, pk=pk) for _ in range(uploads.MOST_OPEN + 1)]
    assert {upload.pk for upload in uploads_begun} == {pk}
    assert Upload.objects.count() == 1
    send(uploads_begun[0], staff, until=CHUNK)
    assert begun(staff, pk=pk).received_bytes == CHUNK


def test_begun_by_many_at_once_with_the_same_id_it_is_one(staff: User) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    pk = uuid.uuid4()

    def attempt(_: int) -> uuid.UUID:
        try:
            return begun(staff, pk=pk).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(attempt, range(8))) == {pk}
    assert Upload.objects.count() == 1


def test_an_upload_that_goes_on_needs_no_room_a_second_time(staff: User, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begun(staff)
    send(upload, staff, until=CHUNK)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert begun(staff, pk=upload.pk) == upload
    with pytest.raises(files.NoRoom):
        begun(staff)


@pytest.mark.parametrize("more", [{"size_bytes": 5}, {"name": "another.mp4"}, {"role": Role.POSTER}])
def test_the_id_of_one_upload_is_of_no_other(staff: User, more: dict[str, Any]) -> None:
    upload = begun(staff)
    with pytest.raises(files.Conflict, match="begin another"):
        begun(staff, pk=upload.pk, **more)
    assert list(Upload.objects.all()) == [upload]


# --- Cut off at every stage -------------------------------------------------------------------------------------------


def test_cut_off_after_each_chunk_it_goes_on_where_it_stood(library: Path, staff: User) -> None:
    upload = begun(staff)
    for end in range(CHUNK, len(FILM) + CHUNK, CHUNK):
        assert uploads.find(upload.pk, by=staff).received_bytes == end - CHUNK
        send(upload, staff, until=min(end, len(FILM)))
    assert (library / uploads.finish(upload.pk, by=staff).name).read_bytes() == FILM


@pytest.mark.parametrize("step", ["pwrite", "fsync", "ftruncate"])
def test_a_chunk_that_is_cut_off_in_the_middle_counts_for_nothing(
    library: Path, staff: User, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    upload = begun(staff)
    send(upload, staff, until=CHUNK)
    with monkeypatch.context() as patched:
        patched.setattr(os, step, refusing(Cut))
        with pytest.raises(Cut):
            uploads.append(upload.pk, by=staff, offset=CHUNK, data=b"half a chunk")
    assert uploads.find(upload.pk, by=staff).received_bytes == CHUNK
    send(upload, staff)
    assert (library / uploads.finish(upload.pk, by=staff).name).read_bytes() == FILM


def test_bytes_that_the_disk_lost_are_asked_for_again(library: Path, staff: User) -> None:
    upload = begun(staff)
    send(upload, staff, until=2 * CHUNK)
    os.truncate(uploads.path_of(upload.pk), CHUNK)
    assert uploads.find(upload.pk, by=staff).received_bytes == CHUNK
    send(upload, staff)
    assert (library / uploads.finish(upload.pk, by=staff).name).read_bytes() == FILM


STEPS = [
    (files, "prepare"), (files, "hashed"), (files, "enter"), (files, "write_note"), (files, "_place"), (files, "sync"),
    (files, "_written_down"), (MediaFile.objects, "create"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "step"), STEPS, ids=[step for _, step in STEPS])
def test_cut_off_while_it_is_finished_it_is_finished_later(
    library: Path, staff: User, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    upload = begun(staff, item=rows.item(kind=Kind.VIDEO))
    send(upload, staff)
    with monkeypatch.context() as patched:
        patched.setattr(module, step, refusing(Cut))
        with pytest.raises(Cut):
            uploads.finish(upload.pk, by=staff)
    assert not MediaFile.objects.exists()
    file = uploads.finish(upload.pk, by=staff)
    uploads.sweep(later())
    assert stored(library) == [file.name]
    assert (library / file.name).read_bytes() == FILM


@pytest.mark.parametrize(("module", "step"), STEPS, ids=[step for _, step in STEPS])
def test_cut_off_while_it_is_finished_and_left_lying_it_is_swept_away(
    library: Path, staff: User, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    upload = begun(staff, item=rows.item(kind=Kind.VIDEO))
    send(upload, staff)
    with monkeypatch.context() as patched:
        patched.setattr(module, step, refusing(Cut))
        patched.setattr(files, "settle", refusing(Cut))
        with pytest.raises(Cut):
            uploads.finish(upload.pk, by=staff)
    uploads.sweep(later())
    assert (stored(library), Upload.objects.count(), MediaFile.objects.count()) == ([], 0, 0)


def test_what_is_left_lying_is_swept_away_and_what_goes_on_is_not(library: Path, staff: User) -> None:
    old, new = begun(staff), begun(staff)
    send(old, staff, until=CHUNK)
    send(new, staff, until=CHUNK)
    Upload.objects.filter(pk=old.pk).update(updated_at=timezone.now() - uploads.KEPT - timedelta(minutes=1))
    for stray in (uploads.path_of(uuid.uuid4()), library / "incoming" / "stage-0.part", uploads.path_of(new.pk)):
        stray.touch()
        os.utime(stray, (0, 0))
    assert uploads.sweep() == 1
    assert list(Upload.objects.all()) == [new]
    assert stored(library) == [f"incoming/{uploads.path_of(new.pk).name}"]


def test_starting_one_sweeps(library: Path, staff: User) -> None:
    old = begun(staff)
    Upload.objects.filter(pk=old.pk).update(updated_at=timezone.now() - uploads.KEPT - timedelta(minutes=1))
    assert list(Upload.objects.all()) != [begun(staff)]
    assert not Upload.objects.filter(pk=old.pk).exists()


@pytest.mark.parametrize("what", ["upload", "item", "owner"])
def test_the_bytes_go_with_the_upload_its_item_or_its_owner(library: Path, member: User, what: str) -> None:
    item = rows.item(kind=Kind.VIDEO)
    upload = begun(member, item=item)
    send(upload, member, until=CHUNK)
    {"upload": upload, "item": item, "owner": member}[what].delete()
    assert (stored(library), Upload.objects.count()) == ([], 0)


def test_an_upload_that_is_cancelled_while_it_is_finished_does_not_come_in(
    library: Path, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begun(staff)
    send(upload, staff)
    hashed = files.hashed

    def slowly(*arguments: Any) -> str:
        uploads.cancel(upload.pk, by=staff)
        return hashed(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(files, "hashed", slowly)
        patched.setattr(uploads, "remove_bytes", lambda pk: None)  # its bytes are still being read
        with pytest.raises(NoSuchUpload):
            uploads.finish(upload.pk, by=staff)
    uploads.sweep(later())
    assert (stored(library), MediaFile.objects.count()) == ([], 0)


# --- Over HTTP --------------------------------------------------------------------------------------------------------


def test_the_admin_takes_a_file_from_its_start_to_its_page(library: Path, admin: Client, staff: User) -> None:
    item = rows.item(kind=Kind.VIDEO)
    told = admin.post(START, {"name": "Evening.mp4", "size": len(FILM), "item": item.pk, "role": "main"})
    assert told.status_code == 201
    upload = told.json()
    assert (upload["offset"], upload["size"], upload["chunk"]) == (0, len(FILM), 2**20)
    assert patch(admin, upload["url"], 0, FILM[:CHUNK]).json() == {"offset": CHUNK}
    assert admin.get(upload["url"]).json()["offset"] == CHUNK
    assert patch(admin, upload["url"], CHUNK, FILM[CHUNK:]).json() == {"offset": len(FILM)}
    done = admin.post(upload["finish"]).json()
    assert done["url"] == f"/admin/content/item/{item.pk}/change/"
    assert (library / item.media.name).read_bytes() == FILM
    assert "“Evening.mp4” is in the library." in admin.get(done["url"]).content.decode()


def test_whoever_did_not_hear_that_it_is_finished_is_told_that_all_is_there(admin: Client) -> None:
    upload = admin.post(START, {"name": "Evening.mp4", "size": len(FILM), "role": "main"}).json()
    patch(admin, upload["url"], 0, FILM)
    done = admin.post(upload["finish"]).json()
    assert admin.get(upload["url"]).json() == {**upload, "offset": len(FILM)}
    assert admin.post(upload["finish"]).json() == done
    MediaFile.objects.get().delete()
    assert admin.get(upload["url"]).status_code == 404


def test_whoever_did_not_hear_that_it_is_begun_or_finished_begins_it_again(admin: Client) -> None:
    told = {"name": "Evening.mp4", "size": len(FILM), "role": "main", "id": str(uuid.uuid4())}
    upload = admin.post(START, told).json()
    assert upload["id"] == told["id"]
    patch(admin, upload["url"], 0, FILM[:CHUNK])
    again = admin.post(START, told)
    assert (again.status_code, again.json()) == (201, {**upload, "offset": CHUNK})
    patch(admin, upload["url"], CHUNK, FILM[CHUNK:])
    done = admin.post(upload["finish"]).json()
    again = admin.post(START, told)
    assert (again.status_code, again.json()) == (200, {**upload, "offset": len(FILM)})
    assert admin.post(again.json()["finish"]).json() == done
    assert (Upload.objects.count(), MediaFile.objects.count()) == (0, 1)


def test_somebody_elses_id_begins_nothing_and_tells_nothing(admin: Client) -> None:
    clerk = _clerk("add_mediafile")
    unfinished, finished = begun(clerk), begun(clerk)
    send(finished, clerk)
    uploads.finish(finished.pk, by=clerk)
    for pk in (unfinished.pk, finished.pk):
        answer = admin.post(START, {"name": "film.mp4", "size": len(FILM), "role": "main", "id": str(pk)})
        assert answer.status_code == 409
        assert not {"offset", "url", "id"} & answer.json().keys()
    assert [upload.owner for upload in Upload.objects.all()] == [clerk]


def test_an_upload_that_could_not_be_looked_at_is_kept_and_finished_later(
    library: Path, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any) -> None:
        raise NotExamined("Too much to do: try again later.")

    upload = admin.post(START, {"name": "Evening.mp4", "size": len(FILM), "role": "main"}).json()
    patch(admin, upload["url"], 0, FILM)
    with monkeypatch.context() as patched:
        patched.setattr(inspection, "inspect", busy)
        answer = admin.post(upload["finish"])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert admin.get(upload["url"]).json()["offset"] == len(FILM)
    assert admin.post(upload["finish"]).status_code == 200
    assert stored(library) == [MediaFile.objects.get().name]


def test_a_chunk_out_of_step_is_a_conflict_with_the_right_offset(admin: Client, staff: User) -> None:
    url = f"{START}{begun(staff).pk}/"
    answer = patch(admin, url, 7, b"x")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert (answer.json()["offset"], answer.json()["code"]) == (0, "offset")


@pytest.mark.parametrize("offset", ["", "-1", "1e3", "٣", "9" * 40, "0x0"])
def test_an_offset_that_is_no_number_is_a_bad_request(admin: Client, staff: User, offset: str) -> None:
    url = f"{START}{begun(staff).pk}/"
    answer = admin.patch(
        url, b"x", content_type="application/octet-stream", headers={"upload-offset": offset.encode().decode("latin-1")}
    )
    assert answer.status_code == 400
    assert "Upload-Offset" in answer.json()["detail"]


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"name": "a", "size": "many", "role": "main"},
        {"name": "a", "size": 0, "role": "main"},
        {"name": "a", "size": "9" * 400, "role": "main"},
        {"name": "a", "size": 5, "role": "director"},
        {"name": "a", "size": 5, "role": "main", "item": 10**30},
        {"name": "a", "size": 5, "role": "main", "item": "x"},
        {"name": "", "size": 5, "role": "main"},
        {"name": "a\0b", "size": 5, "role": "main"},
        {"name": "a" * 20_000, "size": 5, "role": "main"},
        {"name": "a", "size": 5, "role": "main", "id": "x"},
        {"name": "a", "size": 5, "role": "main", "id": "0" * 33},
    ],
)
def test_a_start_that_makes_no_sense_is_told_why(admin: Client, told: dict[str, Any]) -> None:
    answer = admin.post(START, told)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert not Upload.objects.exists()


@pytest.mark.parametrize("name", ["../../../etc/cron.d/x", "a\u202eb.mp4", "<script>", "x" * 5000, "/", "con.mp4"])
def test_a_hostile_name_is_harmless(library: Path, admin: Client, name: str) -> None:
    upload = admin.post(START, {"name": name, "size": len(FILM), "role": "main"}).json()
    patch(admin, upload["url"], 0, FILM)
    done = admin.post(upload["finish"]).json()
    file = MediaFile.objects.get()
    assert stored(library) == [file.name]
    assert file.original_name.isprintable()
    assert len(file.original_name) <= 200
    page = admin.get(done["url"], headers={"accept": "text/html"}).content.decode()
    assert "<script>" not in page.replace("<script src", "")


def test_a_file_that_is_refused_is_told_in_words(admin: Client) -> None:
    upload = admin.post(START, {"name": "page.mp4", "size": 20_000, "role": "main"}).json()
    answer = patch(admin, upload["url"], 0, b"<html>" + bytes(19_994))
    assert answer.status_code == 400
    assert "a web page" in answer.json()["detail"]
    assert admin.get(upload["url"]).status_code == 404


def test_cancelling_deletes_what_has_arrived(library: Path, admin: Client, staff: User) -> None:
    upload = begun(staff)
    send(upload, staff, until=CHUNK)
    assert admin.delete(f"{START}{upload.pk}/").status_code == 204
    assert stored(library) == []
    assert admin.delete(f"{START}{upload.pk}/").status_code == 404


@pytest.mark.parametrize("rights", [[], ["view_mediafile", "change_mediafile"]])
def test_staff_without_the_right_to_add_files_upload_nothing(staff: User, rights: list[str]) -> None:
    clerk = _clerk(*rights)
    client, upload = signed_in(clerk), begun(clerk)
    url = f"{START}{upload.pk}/"
    assert client.get(ADD).status_code == 403
    assert client.post(START, {"name": "a", "size": 5, "role": "main"}).status_code == 403
    assert client.get(url).status_code == 403
    assert patch(client, url, 0, b"x").status_code == 403
    assert client.post(f"{url}finish/").status_code == 403
    assert client.delete(url).status_code == 403


def test_who_may_add_files_but_not_change_items_puts_none_into_an_item() -> None:
    client, item = signed_in(_clerk("add_mediafile")), rows.item(kind=Kind.VIDEO)
    told = {"name": "a", "size": 5, "role": "main"}
    assert client.post(START, {**told, "item": item.pk}).status_code == 403
    assert client.post(ADD, {"file": SimpleUploadedFile("a", FILM), "item": item.pk, "role": "main"}).status_code == 403
    assert client.post(START, told).status_code == 201


def test_another_member_of_staff_sees_nothing_of_it(admin: Client) -> None:
    url = f"{START}{begun(_clerk('add_mediafile')).pk}/"
    assert [admin.get(url).status_code, admin.delete(url).status_code, admin.post(f"{url}finish/").status_code] == [
        404
    ] * 3
    assert patch(admin, url, 0, b"x").status_code == 404


def test_another_member_of_staff_is_not_told_what_became_of_it(admin: Client) -> None:
    clerk = _clerk("add_mediafile")
    upload = begun(clerk)
    uploads.append(upload.pk, by=clerk, offset=0, data=FILM)
    uploads.finish(upload.pk, by=clerk)
    url = f"{START}{upload.pk}/"
    assert [admin.get(url).status_code, admin.post(f"{url}finish/").status_code] == [404, 404]


def test_strangers_are_sent_to_sign_in(staff: User) -> None:
    url = f"{START}{begun(staff).pk}/"
    for answer in (Client().post(START), Client().get(url), Client().patch(url), Client().delete(url)):
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("/admin/login/")


def test_nothing_is_taken_without_the_forms_token(staff: User) -> None:
    client, upload = signed_in(staff, enforce_csrf_checks=True), begun(staff)
    url = f"{START}{upload.pk}/"
    for answer in (client.post(START), patch(client, url, 0, b"x"), client.post(f"{url}finish/"), client.delete(url)):
        assert answer.status_code == 403
    token = client.get(ADD).context["csrf_token"]
    answer = client.patch(
        url, b"x", content_type="application/octet-stream", headers={"upload-offset": "0", "x-csrftoken": str(token)}
    )
    assert answer.json() == {"offset": 1}


# --- Without a script -------------------------------------------------------------------------------------------------


def test_a_small_file_comes_in_by_the_form_itself(library: Path, admin: Client) -> None:
    item = rows.item()
    sent = {"file": SimpleUploadedFile("../moon.png", samples.picture()), "item": item.pk, "role": "poster"}
    answer = admin.post(ADD, sent)
    assert answer.status_code == 302
    assert answer.headers["location"] == f"/admin/content/item/{item.pk}/change/"
    assert stored(library) == [item.poster.name]
    assert item.poster.original_name == "moon.png"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "Choose a file."), (b"", "This file is empty."), (b"<html>", "a web page")]
)
def test_the_form_says_what_is_wrong(library: Path, admin: Client, content: bytes | None, words: str) -> None:
    sent = {"role": "main"} if content is None else {"role": "main", "file": SimpleUploadedFile("a.mp4", content)}
    answer = admin.post(ADD, sent)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert stored(library) == []


def test_the_page_knows_for_what_it_was_opened_and_what_is_unfinished(admin: Client, staff: User) -> None:
    item = rows.item("The moon", kind=Kind.VIDEO)
    begun(staff, item=item, name="half.mp4")
    page = admin.get(f"{ADD}?item={item.pk}&role=poster").content.decode()
    assert f'<option value="{item.pk}" selected>The moon</option>' in page
    assert '<option value="poster" selected>' in page
    assert "half.mp4" in page
    assert admin.get(f"{ADD}?item=nonsense&role=%00").status_code == 200


def test_an_unfinished_upload_is_cancelled_by_the_form_itself(library: Path, admin: Client, staff: User) -> None:
    half, other = begun(staff, name="half.mp4"), begun(staff)
    send(half, staff, until=CHUNK)
    address = f"{ADD}?role=poster"
    answer = admin.post(address, {"cancel": str(half.pk)})
    assert (answer.status_code, answer.headers["location"]) == (302, address)
    assert (list(Upload.objects.all()), stored(library)) == ([other], [])
    assert "“half.mp4” is cancelled." in admin.get(address).content.decode()


@pytest.mark.parametrize("which", ["theirs", "gone", "no id"])
def test_what_is_no_upload_of_ones_own_is_not_cancelled(admin: Client, which: str) -> None:
    theirs = begun(_clerk("add_mediafile"))
    answer = admin.post(ADD, {"cancel": {"theirs": str(theirs.pk), "gone": str(uuid.uuid4())}.get(which, "x")})
    assert answer.status_code == 302
    assert "There is no such upload" in admin.get(ADD).content.decode()
    assert list(Upload.objects.all()) == [theirs]


def test_nothing_is_cancelled_without_the_right_or_the_forms_token(admin: Client, staff: User) -> None:
    clerk = _clerk()
    for client, owner in ((signed_in(clerk), clerk), (signed_in(staff, enforce_csrf_checks=True), staff)):
        upload = begun(owner)
        assert client.post(ADD, {"cancel": str(upload.pk)}).status_code == 403
        assert Upload.objects.filter(pk=upload.pk).exists()


def _clerk(*rights: str) -> User:
    clerk = User.objects.create_user("clerk", "clerk@example.org", "a long enough phrase", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=rights, content_type__app_label="content"))
    return clerk


def test_items_are_listed_by_title(admin: Client) -> None:
    for title in ("Beta", "Alpha"):
        rows.item(title)
    assert [item.title for item in Item.objects.order_by("title")] == ["Alpha", "Beta"]
    page = admin.get(ADD).content.decode()
    assert page.index(">Alpha<") < page.index(">Beta<")
