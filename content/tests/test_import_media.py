"""`manage.py import_media`: files of the server's own disk."""

import fcntl
import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from content import files, importing, uploads
from content.models import Item, Kind, MediaFile, Role, State
from content.tests import rows, samples
from observability.management import progress

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("library")]
RECORDING = samples.recording(400)  # 6.4 MB


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: object, stderr: io.StringIO | None = None) -> str:
    output = io.StringIO()
    call_command("import_media", *map(str, arguments), stdout=output, stderr=stderr or output, no_color=True)
    return output.getvalue()


def stored(library: Path) -> list[str]:
    return sorted(str(path.relative_to(library)) for path in library.rglob("*") if path.is_file())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return samples.put(tmp_path, RECORDING, "Rain_far away.wav")


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses Ctrl-C when the first megabytes are copied."""
    copied = importing._copied

    def interrupted(origin: Any, target: Any, size: int, told: Any) -> str:
        def tell(done: int, total: int) -> None:
            if done >= 3 * files.BLOCK_BYTES:
                raise KeyboardInterrupt

        return copied(origin, target, size, tell)

    monkeypatch.setattr(importing, "_copied", interrupted)


def interrupt(source: Path, *arguments: object) -> CommandError:
    with pytest.raises(CommandError) as error:
        run(source, *arguments)
    return error.value


def test_a_file_is_taken_into_an_item_and_stays_where_it_is(library: Path, source: Path) -> None:
    item = rows.item("Rain", kind=Kind.AUDIO)
    told = run(source, "--item", item.slug)
    assert (
        f"in the library, the recording or film of “Rain” (published): http://localhost:3000/admin/content/item/{item.pk}/"
        in told
    )
    assert (library / item.media.name).read_bytes() == RECORDING == source.read_bytes()
    assert (item.media.original_name, item.media.uploaded_by) == ("Rain_far away.wav", None)
    assert stored(library) == [item.media.name]


def test_without_an_item_it_waits_for_one(source: Path) -> None:
    assert "without an item yet" in run(source)
    assert MediaFile.objects.get().item is None


def test_a_draft_is_made_for_each_file(tmp_path: Path, source: Path) -> None:
    collection = rows.collection()
    film = samples.put(tmp_path, samples.FILM, "Breathing.mp4")
    run(source, film, "--collection", collection.slug)
    made = Item.objects.order_by("title")
    assert [(item.title, item.slug, item.kind, item.state) for item in made] == [
        ("Breathing", "breathing", "video", State.DRAFT),
        ("Rain far away", "rain-far-away", "audio", State.DRAFT),
    ]
    assert {item.collection for item in made} == {collection}


@pytest.mark.parametrize(("title", "slug"), [("Search", "search-2"), ("The rain", "the-rain-2"), ("雨", "item")])
def test_a_draft_has_an_address_that_is_free(source: Path, title: str, slug: str) -> None:
    rows.item(slug="the-rain")
    run(source, "--title", title, "--kind", "video")
    item = Item.objects.get(title=title)
    assert (item.slug, item.kind) == (slug, "video")


def test_a_poster_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    item = rows.item()
    for name in ("PNG", "JPEG"):
        run(samples.put(tmp_path, samples.picture(name), "moon"), "--item", item.slug, "--role", "poster")
    assert item.files.get().content_type == "image/jpeg"


@pytest.mark.parametrize("arguments", [[], ["--item"], ["--collection"]])
def test_run_again_nothing_changes_and_nothing_is_copied(
    library: Path, source: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slugs = {"--item": rows.item(kind=Kind.AUDIO).slug, "--collection": rows.collection().slug}
    given = [word for name in arguments for word in (name, slugs[name])]
    run(source, *given)
    before = stored(library), Item.objects.count()
    monkeypatch.setattr(importing, "_copied", None)
    assert "in the library already" in run(source, *given)
    assert (stored(library), Item.objects.count()) == before


def test_a_dry_run_looks_and_takes_nothing(library: Path, source: Path, tmp_path: Path) -> None:
    assert "audio/wav, 6.1 MB, 6:40 would be taken." in run(source, "--title", "Rain", "--dry-run")
    with pytest.raises(CommandError, match="1 of 1 file not taken"):
        run(samples.put(tmp_path, b"<html>", "page.mp4"), "--dry-run")
    assert (stored(library), Item.objects.count(), MediaFile.objects.count()) == ([], 0, 0)


def test_one_that_is_refused_keeps_none_of_the_others_out(tmp_path: Path, source: Path) -> None:
    output = io.StringIO()
    page = samples.put(tmp_path, b"<html>", "page.mp4")
    with pytest.raises(CommandError, match="3 of 4 files not taken"):
        run(page, tmp_path / "missing.mp4", tmp_path, source, stderr=output)
    assert "page.mp4: This is a web page." in output.getvalue()
    assert "missing.mp4: No such file or directory." in output.getvalue()
    assert f"{tmp_path}: This is no file." in output.getvalue()
    assert MediaFile.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--item", "nothing"], "There is no item with the slug 'nothing'"),
        (["--collection", "nothing"], "There is no collection"),
        (["--item", "rain", "--title", "Rain"], "leave --item"),
        (["--title", "Rain", "--role", "poster"], "for a recording or film alone"),
        ([__file__, "--role", "main", "--item", "rain"], "for one file"),
        ([__file__, "--title", "Rain"], "for one file"),
    ],
)
def test_what_contradicts_itself_is_told(source: Path, arguments: list[str], words: str) -> None:
    rows.item(slug="rain", kind=Kind.AUDIO)
    with pytest.raises(CommandError, match=words):
        run(source, *arguments)


@pytest.mark.usefixtures("cut_off")
def test_interrupted_it_says_how_to_go_on_and_leaves_no_half_item(library: Path, source: Path) -> None:
    error = interrupt(source, "--title", "Rain")
    assert (str(error), error.returncode) == (f"Interrupted. {importing_again()}", 130)
    assert (Item.objects.count(), MediaFile.objects.count()) == (0, 0)
    (partial,) = stored(library)
    assert partial.startswith("incoming/import-")
    assert (library / partial).stat().st_size == 3 * files.BLOCK_BYTES


def importing_again() -> str:
    from content.management.commands.import_media import AGAIN

    return AGAIN


def test_what_was_copied_before_is_not_copied_again(
    library: Path, source: Path, cut_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(source)
    monkeypatch.undo()
    (partial,) = stored(library)
    inode = (library / partial).stat().st_ino
    told: list[int] = []
    brought = importing.bring(source, progress=lambda done, total: told.append(done))
    assert (library / brought.file.name).read_bytes() == RECORDING
    assert (library / brought.file.name).stat().st_ino == inode
    assert stored(library) == [brought.file.name]


@pytest.mark.parametrize("what", ["other bytes", "too many bytes"])
def test_a_copy_that_is_not_the_beginning_of_the_file_is_begun_anew(
    library: Path, source: Path, cut_off: None, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    interrupt(source)
    monkeypatch.undo()
    partial = library / stored(library)[0]
    partial.write_bytes(b"x" * 1000 if what == "other bytes" else RECORDING + b"more")
    run(source)
    assert (library / MediaFile.objects.get().name).read_bytes() == RECORDING


def test_another_file_of_the_same_name_does_not_go_on_with_the_copy(
    library: Path, source: Path, cut_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(source)
    monkeypatch.undo()
    other = samples.recording(300)
    source.write_bytes(other)
    run(source)
    file = MediaFile.objects.get()
    assert (library / file.name).read_bytes() == other
    uploads.sweep(uploads.timezone.now() + 2 * uploads.KEPT)
    assert stored(library) == [file.name]


def test_a_file_that_changes_while_it_is_read_is_refused(
    library: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = importing._copied

    def changing(*arguments: Any) -> str:
        digest = copied(*arguments)
        os.utime(source, (1, 1))
        return digest

    monkeypatch.setattr(importing, "_copied", changing)
    output = io.StringIO()
    with pytest.raises(CommandError):
        run(source, stderr=output)
    assert "changed while it was read" in output.getvalue()
    assert stored(library) == []


def test_two_imports_of_one_file_at_once_do_not_disturb_each_other(
    library: Path, source: Path, cut_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(source)
    monkeypatch.undo()
    partial = library / stored(library)[0]
    with partial.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        output = io.StringIO()
        with pytest.raises(CommandError):
            run(source, stderr=output)
    assert "Another process is importing this very file." in output.getvalue()
    assert partial.exists()


def test_a_full_disk_is_told_and_leaves_nothing(library: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(importing.shutil, "disk_usage", lambda path: Usage)
    output = io.StringIO()
    with pytest.raises(CommandError):
        run(source, stderr=output)
    assert "not enough room" in output.getvalue()
    assert stored(library) == []


def test_a_draft_whose_file_cannot_be_taken_is_not_made(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_place", fails)
    interrupt(source, "--title", "Rain")
    assert not Item.objects.exists()


def test_a_terminal_is_drawn_how_far_it_is(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)
    terminal = Terminal()
    run(source, stderr=terminal)
    drawn = terminal.getvalue()
    assert "Rain_far away.wav: 100 %, 6.1\xa0MB of 6.1\xa0MB" in drawn
    assert "MB/s" in drawn
    assert drawn.endswith("\r\x1b[K")


def test_a_log_gets_a_line_now_and_then(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAY_SECONDS", 0.0)
    log = io.StringIO()
    run(source, stderr=log)
    assert "\r" not in log.getvalue()
    assert len(log.getvalue().splitlines()) >= 6


def test_roles_are_those_of_files() -> None:
    with pytest.raises(CommandError, match="invalid choice"):
        run("a", "--role", "director")
    assert set(Role.values) == {"main", "poster", "illustration"}
