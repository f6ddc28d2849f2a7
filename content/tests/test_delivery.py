"""A file on its way: what is sent with it, by which way it goes, and what is never opened."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import CapturingLogger

from accounts.models import User
from bambisleep.tests.client import AsgiClient
from content import delivery, links, storage, streaming
from content.models import MediaFile, Role
from content.tests import rows
from content.tests.reading import Reader, made_member, signed_in

CONTENT = bytes(range(256)) * 8
CANARY = b"not of this library"


@pytest.fixture
def reader(asgi: AsgiClient, db: None) -> Reader:
    """Nobody in particular."""
    return Reader(asgi)


@pytest.fixture
def film(library: Path, db: None) -> MediaFile:
    """A public film."""
    return rows.media(rows.item(kind="video", slug="a-night"), CONTENT)


def address(file: MediaFile) -> str:
    return f"/watch/media/{file.key}/"


def open_files(directory: Path) -> list[str]:
    here = "/proc/self/fd"
    targets = [os.readlink(f"{here}/{name}") for name in os.listdir(here) if os.path.lexists(f"{here}/{name}")]
    return [target for target in targets if target.startswith(str(directory))]


def test_a_file_is_sent_whole(reader: Reader, film: MediaFile) -> None:
    answer = reader.ask(address(film))

    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "video/webm"


def test_a_file_of_many_blocks_is_sent_whole_and_in_order(reader: Reader, library: Path) -> None:
    content = os.urandom(3 * streaming.BLOCK_BYTES + 17)
    file = rows.media(rows.item(kind="video"), content)

    assert reader.ask(address(file)).body == content
    assert reader.ask(address(file), Range="bytes=262143-262145").body == content[262_143:262_146]


def test_where_the_kernel_cannot_say_what_it_has_a_thread_reads(
    reader: Reader, film: MediaFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "WITHOUT_WAITING", 0x4000_0000)  # a flag that no kernel knows

    assert reader.ask(address(film)).body == CONTENT


def test_what_is_not_in_memory_is_read_in_a_thread(
    reader: Reader, film: MediaFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", nothing)

    assert reader.ask(address(film)).body == CONTENT


def test_nothing_of_a_file_can_run_in_a_browser(reader: Reader, film: MediaFile) -> None:
    headers = reader.ask(address(film)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["content-disposition"] == 'inline; filename="a-night.bin"'


def test_its_name_is_made_of_nothing_that_an_uploader_chose(reader: Reader, library: Path) -> None:
    item = rows.item(slug='x"; evil=\r\n1')
    file = rows.media(item, original_name='"; filename="evil.html')

    assert reader.ask(address(file)).headers["content-disposition"] == 'inline; filename="xevil1.bin"'


def test_of_a_head_there_is_no_body(reader: Reader, film: MediaFile) -> None:
    answer = reader.ask(address(film), method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_can_only_be_read(reader: Reader, film: MediaFile, method: str) -> None:
    answer = reader.ask(address(film), method=method)

    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Range": "bytes=0-4"}, 206),
        ({"Range": "bytes=0-4,9-12"}, 206),
        ({"Range": "bytes=99999-"}, 416),
        ({"If_None_Match": "*"}, 304),
        ({"If_Match": '"x"'}, 412),
    ],
)
def test_every_answer_closes_the_file(
    reader: Reader, film: MediaFile, library: Path, headers: dict[str, str], status: int
) -> None:
    assert reader.ask(address(film), **headers).status == status
    assert reader.ask(address(film), method="HEAD", **headers).status == status

    assert open_files(library) == []


def test_a_response_that_nobody_waits_for_closes_its_file(film: MediaFile, library: Path) -> None:
    blocks = streaming.Blocks(storage.opened(film.name), [range(10)])
    assert len(open_files(library)) == 1

    del blocks

    assert open_files(library) == []


@pytest.mark.parametrize("waiting", [False, True])
def test_a_film_rests_between_blocks_while_somebody_waits_for_an_answer(
    film: MediaFile, library: Path, monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async def read() -> list[bytes]:
        return [block async for block in streaming.Blocks(storage.opened(film.name), [range(5), range(5, 10)])]

    monkeypatch.setattr(streaming, "unanswered", {1} if waiting else set())
    monkeypatch.setattr(streaming.asyncio, "sleep", rest)
    assert asyncio.run(read()) == [CONTENT[:5], CONTENT[5:10]]

    assert rests
    assert set(rests) == {streaming.PAUSE_SECONDS if waiting else 0}


def test_a_file_that_is_gone_is_not_found_and_logged(
    reader: Reader, film: MediaFile, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = CapturingLogger()
    monkeypatch.setattr(delivery, "log", logger)
    (library / film.name).unlink()

    assert reader.ask(address(film)).status == 404
    assert [(call.method_name, call.args, call.kwargs["name"]) for call in logger.calls] == [
        ("error", ("media_file_missing",), film.name)
    ]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../canary",
            "/canary",
            "a/../../canary",
            "./film",
            "a//b",
            "",
            ".",
            "..",
            "film\0",
            "a\0/../canary",
            "film/",
        ),
        *("linked", "linked-directory/canary", "chain", "directory", "pipe", "\ud800", "x" * 5000, "hidden/linked"),
    ],
)
def test_nothing_is_opened_but_files_of_the_library(library: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "canary").write_bytes(CANARY)
    (library / "film").write_bytes(CONTENT)
    (library / "directory").mkdir()
    (library / "hidden").mkdir()
    os.mkfifo(library / "pipe")
    (library / "linked").symlink_to(tmp_path / "canary")
    (library / "hidden" / "linked").symlink_to("../film")  # not even within the library
    (library / "linked-directory").symlink_to(tmp_path)
    (library / "chain").symlink_to("linked")
    absolute = str(tmp_path / "canary") if name == "/canary" else name

    with pytest.raises(storage.Missing):
        storage.opened(absolute)
    assert open_files(tmp_path) == []


def test_a_file_in_a_directory_of_the_library_is_opened(library: Path) -> None:
    (library / "ab" / "cd").mkdir(parents=True)
    (library / "ab" / "cd" / "film").write_bytes(CONTENT)

    assert storage.opened("ab/cd/film").size_bytes == len(CONTENT)


def test_the_library_itself_may_be_behind_a_symbolic_link(library: Path, tmp_path: Path, settings: Any) -> None:
    (library / "film").write_bytes(CONTENT)
    (tmp_path / "elsewhere").symlink_to(library)
    options = {**settings.STORAGES["library"]["OPTIONS"], "location": str(tmp_path / "elsewhere")}
    settings.STORAGES = {**settings.STORAGES, "library": {**settings.STORAGES["library"], "OPTIONS": options}}

    assert storage.opened("film").size_bytes == len(CONTENT)


def test_a_row_that_was_tampered_with_gives_nothing_away(reader: Reader, film: MediaFile, tmp_path: Path) -> None:
    (tmp_path / "canary").write_bytes(CANARY)
    for name in ("../canary", str(tmp_path / "canary")):
        MediaFile.objects.filter(pk=film.pk).update(name=name)

        answer = reader.ask(address(film))

        assert (answer.status, CANARY in answer.body) == (404, False)


def test_behind_nginx_it_is_named_instead_of_sent(reader: Reader, film: MediaFile, settings: Any) -> None:
    settings.LIBRARY_ACCEL_LOCATION = "/_library/"

    answer = reader.ask(address(film), Range="bytes=0-4")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-accel-redirect"] == f"/_library/{film.name}"
    assert answer.headers["content-type"] == "video/webm"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_behind_nginx_too_only_files_of_the_library_are_named(
    reader: Reader, film: MediaFile, settings: Any, tmp_path: Path
) -> None:
    settings.LIBRARY_ACCEL_LOCATION = "/_library/"
    (tmp_path / "canary").write_bytes(CANARY)
    MediaFile.objects.filter(pk=film.pk).update(name="../canary")

    answer = reader.ask(address(film))

    assert answer.status == 404
    assert "x-accel-redirect" not in answer.headers


def test_behind_nginx_a_member_s_right_is_asked_for_as_ever(
    asgi: AsgiClient, reader: Reader, member: User, library: Path, settings: Any
) -> None:
    settings.LIBRARY_ACCEL_LOCATION = "/_library/"
    file = rows.media(rows.members_item(kind="video"), CONTENT)
    link = links.address_of(file, made_member(member))

    assert "x-accel-redirect" not in reader.ask(link).headers
    assert "x-accel-redirect" in signed_in(asgi, member).ask(link).headers


@pytest.fixture
def _bucket(settings: Any) -> None:
    """The library is in a bucket."""
    options = {
        "bucket_name": "films",
        "endpoint_url": "https://s3.example.org",
        "region_name": "eu-central-1",
        "access_key": "AKIDEXAMPLE",
        "secret_key": "a-secret-of-the-bucket",
        "default_acl": None,
        "querystring_auth": True,
        "signature_version": "s3v4",
    }
    bucket = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "library": bucket}


def row(**more: Any) -> MediaFile:
    """A row alone: its file is in the bucket."""
    item = more.pop("item", None) or rows.item(kind="video", slug="a-night")
    values = {"item": item, "role": Role.MAIN, "name": "ab/0123.webm", "kind": "video", "content_type": "video/webm"}
    return MediaFile.objects.create(**{**values, "size_bytes": 10, "sha256": "0" * 64, **more})


@pytest.mark.usefixtures("_bucket")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_from_a_bucket_a_browser_is_sent_there_by_a_signed_address(reader: Reader, method: str) -> None:
    answer = reader.ask(address(row()), method=method)

    sent_to = urlsplit(answer.headers["location"])
    query = parse_qs(sent_to.query)
    assert answer.status == 302
    assert answer.headers["cache-control"] == "no-store"
    assert f"{sent_to.scheme}://{sent_to.netloc}{sent_to.path}" == "https://s3.example.org/films/ab/0123.webm"
    assert query["X-Amz-Expires"] == ["1800"]
    assert re.fullmatch("[0-9a-f]{64}", query["X-Amz-Signature"][0])
    assert query["response-content-type"] == ["video/webm"]
    assert query["response-content-disposition"] == ['inline; filename="a-night.webm"']
    assert "a-secret-of-the-bucket" not in str(answer)


@pytest.mark.usefixtures("_bucket")
def test_from_a_bucket_too_a_members_film_is_for_members(asgi: AsgiClient, reader: Reader, member: User) -> None:
    file = row(item=rows.members_item(kind="video"))
    link = links.address_of(file, made_member(member))

    assert reader.ask(link).status == 403
    assert signed_in(asgi, member).ask(link).status == 302
