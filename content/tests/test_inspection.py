"""What a file is, by its content; and what files that were made to do harm can do: nothing."""

import io
import os
import socket
import struct
import subprocess
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from content import files, inspection, pictures, probing
from content.formats import FLAC, MP3, MP4, OGG, WAV, WEBM, Container, NotExamined
from content.inspection import Inspected, Refused
from content.models import FileKind
from content.tests import samples

pytestmark = pytest.mark.once
HTML = b"<!DOCTYPE html><html><script>alert(document.cookie)</script></html>"
VP8 = ("-c:v", "libvpx", "-b:v", "50k", "-c:a", "libvorbis")
FRAGMENTED = ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")


@pytest.fixture
def without_ffprobe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not probing.is_present()


def inspected(tmp_path: Path, content: bytes, name: str = "a file") -> Inspected:
    return inspection.inspect(samples.put(tmp_path, content, name))


def refusal(tmp_path: Path, content: bytes, name: str = "a file") -> str:
    with pytest.raises(Refused) as refused:
        inspected(tmp_path, content, name)
    return refused.value.detail


@pytest.mark.needs("ffmpeg", "ffprobe")
@pytest.mark.parametrize(
    ("arguments", "format", "content_type", "extension", "has_film"),
    [
        (VP8, "webm", "video/webm", "webm", True),
        (VP8, "matroska", "video/webm", "webm", True),
        (("-map", "1:a", "-c:a", "libopus"), "webm", "audio/webm", "webm", False),
        (("-c:v", "libx264", *FRAGMENTED), "mp4", "video/mp4", "mp4", True),
        (("-map", "1:a", *FRAGMENTED), "ipod", "audio/mp4", "m4a", False),
        (("-map", "1:a", "-c:a", "libopus"), "ogg", "audio/ogg", "ogg", False),
        (("-c:v", "libtheora", "-c:a", "libvorbis"), "ogg", "video/ogg", "ogv", True),
        (("-map", "1:a", "-c:a", "libmp3lame"), "mp3", "audio/mpeg", "mp3", False),
        (("-map", "1:a"), "flac", "audio/flac", "flac", False),
    ],
)
def test_films_and_recordings_are_known_by_what_is_in_them(
    tmp_path: Path, arguments: tuple[str, ...], format: str, content_type: str, extension: str, has_film: bool
) -> None:
    found = inspected(tmp_path, samples.made_by_ffmpeg(*arguments, format=format), "its-name-lies.pdf")
    assert (found.content_type, found.extension) == (content_type, extension)
    assert found.kind == (FileKind.VIDEO if has_film else FileKind.AUDIO)
    assert (found.width, found.height) == ((128, 72) if has_film else (None, None))


@pytest.mark.needs("ffprobe")
def test_ffprobe_tells_duration_and_size(tmp_path: Path) -> None:
    assert inspected(tmp_path, samples.FILM) == Inspected(FileKind.VIDEO, "video/mp4", "mp4", 24.0, 640, 360)
    assert inspected(tmp_path, samples.recording(2.5)).duration_seconds == 2.5


@pytest.mark.needs("ffmpeg", "ffprobe")
def test_a_cover_makes_no_film_of_a_recording(tmp_path: Path) -> None:
    cover = samples.put(tmp_path, samples.picture("JPEG"), "cover.jpg")
    tone = samples.put(tmp_path, samples.recording(), "tone.wav")
    command = ["ffmpeg", "-v", "error", "-i", tone, "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy"]
    subprocess.run([*command, "-disposition:v", "attached_pic", tmp_path / "covered.mp3"], check=True)
    assert inspection.inspect(tmp_path / "covered.mp3").kind == FileKind.AUDIO


@pytest.mark.needs("ffmpeg", "ffprobe")
@pytest.mark.parametrize(
    ("arguments", "format"), [(("-c:v", "mpeg4", *FRAGMENTED), "mp4"), (("-c:v", "libx264", "-c:a", "aac"), "matroska")]
)
def test_what_browsers_do_not_play_is_refused_with_a_way_out(
    tmp_path: Path, arguments: tuple[str, ...], format: str
) -> None:
    assert "ffmpeg -i" in refusal(tmp_path, samples.made_by_ffmpeg(*arguments, format=format))


def test_without_ffprobe_the_beginning_must_do(tmp_path: Path, without_ffprobe: None) -> None:
    assert inspected(tmp_path, samples.FILM) == Inspected(FileKind.VIDEO, "video/mp4", "mp4")
    assert inspected(tmp_path, samples.recording()) == Inspected(FileKind.AUDIO, "audio/wav", "wav")


@pytest.mark.parametrize(
    ("format", "content_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_pictures_are_read_whole(tmp_path: Path, format: str, content_type: str) -> None:
    found = inspected(tmp_path, samples.picture(format))
    assert (found.kind, found.content_type, found.width, found.height) == (FileKind.IMAGE, content_type, 64, 36)
    cut = samples.picture(format, size=(640, 360))
    assert "cannot be read" in refusal(tmp_path, cut[: len(cut) // 2])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (bytes(100_000), "no film, recording or picture"),
        (HTML, "a web page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "an SVG"),
        (b"<svg onload=alert(1)>", "an SVG"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data/\n", "a playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "a playlist"),
        (b"GIF89a/*" + HTML + b"*/=1", "GIF"),
        (b"\x7fELF" + bytes(100), "application/x-executable"),
        (b"MZ" + bytes(100), "application/x-msdownload"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + HTML, "MP3"),
        (b"\xff\xfb" + HTML, "MP3"),
        (b"\x1a\x45\xdf\xa3" + b"\x93\x42\x82\x84webm" + HTML, "WebM"),
        (b"fLaC" + HTML, "FLAC"),
        (b"\x1a\x45\xdf\xa3", "no film"),
        (b"RIFF\x00\x00\x00\x00WEBP", "picture"),
        (b"\x00\x00\x00\x18ftypqt  " + bytes(100), "QuickTime"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), "HEIC"),
        (b"\x00\x00\x00\x18ftypisom" + HTML, "MP4"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(1000), "MP4"),
        (b"\x00\x00\x00\x10ftypisom" + bytes(4) + b"\x00\x00\x00\x01moov" + b"\xff" * 8, "too early"),
        (b"#EXTM3U\n" + samples.FILM, "a playlist"),
    ],
)
def test_what_is_no_film_recording_or_picture_is_refused_and_named(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(tmp_path, content, "Evening.mp4")


def test_a_zip_bomb_is_an_archive_and_is_not_opened(tmp_path: Path) -> None:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(50_000_000))
    assert "a ZIP archive" in refusal(tmp_path, output.getvalue(), "film.mp4")


def test_a_picture_of_few_bytes_and_very_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for side in (7000, 10_000, 50_000):
        assert "million pixels" in refusal(tmp_path, samples.png_bomb(side))


def test_a_picture_with_a_text_that_unpacks_to_very_much_is_refused(tmp_path: Path) -> None:
    from PIL import PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    for number in range(80):
        texts.add_text(f"note{number}", "x" * 1_000_000, zip=True)
    assert "cannot be read" in refusal(tmp_path, samples.picture("PNG", pnginfo=texts))


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_film_that_was_cut_off_is_refused(tmp_path: Path, part: float) -> None:
    assert refusal(tmp_path, samples.FILM[: int(len(samples.FILM) * part)]).startswith("This MP4 file")


@pytest.mark.needs("ffmpeg")
def test_a_webm_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "whole.webm"
    path.write_bytes(samples.made_by_ffmpeg(*VP8, format="webm"))
    whole = tmp_path / "with-lengths.webm"
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c", "copy", whole], check=True)
    content = whole.read_bytes()
    assert inspected(tmp_path, content).content_type == "video/webm"
    assert "ends too early" in refusal(tmp_path, content[:-200])


def test_a_recording_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    assert "ends too early" in refusal(tmp_path, samples.recording()[:-100])


@pytest.mark.needs("ffprobe")
@pytest.mark.parametrize("where", ["behind", "in a box"])
def test_a_film_with_a_page_in_it_is_a_film(tmp_path: Path, where: str) -> None:
    """It is served as video/mp4, with nosniff and in a sandbox: what else is in it, no browser reads."""
    box = struct.pack(">I4s", 8 + len(HTML), b"free") + HTML
    found = inspected(tmp_path, samples.FILM + (HTML if where == "behind" else box))
    assert (found.kind, found.content_type) == (FileKind.VIDEO, "video/mp4")


@pytest.mark.needs("ffmpeg", "ffprobe")
def test_a_recording_with_a_page_in_its_tag_is_a_recording(tmp_path: Path) -> None:
    sound = samples.made_by_ffmpeg("-map", "1:a", "-c:a", "libmp3lame", "-id3v2_version", "0", format="mp3")
    tag = b"ID3\x03\x00\x00" + struct.pack(">4B", 0, 0, len(HTML) >> 7, len(HTML) & 0x7F) + HTML
    found = inspected(tmp_path, tag + sound)
    assert (found.kind, found.content_type) == (FileKind.AUDIO, "audio/mpeg")


WHOLE = [samples.FILM, samples.recording(0.01), *(samples.picture(name) for name in ("PNG", "JPEG", "WEBP"))]
BEGUN = [
    b"fLaC" + bytes(40),
    b"ID3\x04" + bytes(40),
    b"\x1a\x45\xdf\xa3\x93\x42\x82\x84webm" + bytes(40),
    b"OggS" + bytes(60),
]


@given(st.data())
@hypothesis_settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_bytes_are_the_file_is_known_or_refused(
    tmp_path: Path, without_ffprobe: None, data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from([*WHOLE, *BEGUN])))
    for _ in range(data.draw(st.integers(0, 8))):
        position = data.draw(st.integers(0, min(len(content), 120) - 1))
        content[position] = data.draw(st.integers(0, 255))
    kept = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    with suppress(Refused):
        inspected(tmp_path, bytes(content[:kept]))


@pytest.mark.needs("ffprobe")
@pytest.mark.parametrize("container", [MP4, WEBM, OGG, MP3, FLAC, WAV], ids=lambda container: container.name)
def test_ffprobe_follows_no_playlist_even_where_it_is_given_one(tmp_path: Path, container: Container) -> None:
    samples.put(tmp_path, samples.FILM, "other.mp4")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/part.ts"
        for playlist in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXTINF:1,\nother.mp4\n",
            f"ffconcat version 1.0\nfile other.mp4\nfile {address}\n",
            f'<?xml version="1.0"?><MPD><Period><BaseURL>{address}</BaseURL></Period></MPD>',
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {listener.getsockname()[1]} RTP/AVP 96\n",
        ):
            try:
                found = probing.probe(samples.put(tmp_path, playlist.encode(), "film.mp4"), container)
            except Refused:
                continue
            assert (found.width, found.duration_seconds) == (None, None)  # nothing of the other film
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.needs("ffmpeg", "ffprobe")
def test_a_matroska_that_names_other_files_is_read_by_itself(tmp_path: Path) -> None:
    content = samples.made_by_ffmpeg(*VP8, format="matroska")
    linked = content.replace(b"Lavf", b"/etc", 1)
    reference = b"\x3c\x83\xab\x8b/etc/passwd"  # NextFilename
    segment = linked.index(b"\x18\x53\x80\x67") + 12
    content = linked[:segment] + reference + linked[segment:]
    assert inspected(tmp_path, content).content_type == "video/webm"


def _misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    probe = tmp_path / "bin" / "ffprobe"
    probe.parent.mkdir()
    probe.write_text(f"#!/bin/sh\n{script}\n")
    probe.chmod(0o755)
    monkeypatch.setenv("PATH", f"{probe.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(probing, "SECONDS", 1)


@pytest.mark.parametrize("script", ["exec yes", "kill -SEGV $$", "while :; do :; done"])
def test_an_ffprobe_that_misbehaves_is_ended_and_the_file_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    _misbehaving(tmp_path, monkeypatch, script)
    assert refusal(tmp_path, samples.FILM)


@pytest.mark.parametrize("script", ["exec sleep 600", "kill -KILL $$"])
def test_a_machine_that_could_not_look_at_the_file_does_not_call_it_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    _misbehaving(tmp_path, monkeypatch, script)
    monkeypatch.setattr(probing, "PATIENCE_SECONDS", 1)
    with pytest.raises(NotExamined, match="try again"):
        inspected(tmp_path, samples.FILM)


def test_a_picture_is_kept_without_what_its_camera_and_its_sender_hid_in_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "A secret place"
    exif.get_ifd(0x8825)[1] = "N"
    hidden = samples.picture("JPEG", exif=exif, comment=HTML) + HTML + b"PK\x03\x04 an archive"
    output = io.BytesIO()
    pictures.write_anew(samples.put(tmp_path, hidden), output)
    kept = output.getvalue()
    assert b"secret" in hidden
    assert not any(word in kept for word in (b"secret", b"script", b"PK\x03\x04", b"Exif"))
    with Image.open(io.BytesIO(kept)) as picture:
        assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (64, 36), {})


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    found = pictures.write_anew(samples.put(tmp_path, samples.picture("JPEG", exif=exif)), io.BytesIO())
    assert (found.width, found.height) == (36, 64)


def test_a_large_picture_is_kept_as_large_as_pages_show_it(tmp_path: Path) -> None:
    found = pictures.write_anew(samples.put(tmp_path, samples.picture("JPEG", size=(5120, 1280))), io.BytesIO())
    assert (found.width, found.height) == (2560, 640)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_pictures_of_every_kind_of_colour_are_kept(tmp_path: Path, mode: str) -> None:
    output = io.BytesIO()
    Image.new(mode, (8, 8)).save(output, "JPEG" if mode == "CMYK" else "PNG")
    kept = io.BytesIO()
    pictures.write_anew(samples.put(tmp_path, output.getvalue()), kept)
    with Image.open(kept) as picture:
        assert picture.mode in {"L", "RGB", "RGBA"}
        assert picture.has_transparency_data == (mode in {"LA", "RGBA"})


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("Evening.mp4", "Evening.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\mara\\film.mp4", "film.mp4"),
        ("a\0b\r\nSet-Cookie: x.mp4", "ab Set-Cookie: x.mp4"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("<script>alert(1)</script>", "script>"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("\u200b\u200d\ufeff", "unnamed"),
        ("a" * 5000 + ".mp4", "a" * 196 + ".mp4"),
        ("\ud800.mp4", ".mp4"),
        ("e\u0301.png", "é.png"),
    ],
)
def test_a_name_is_cleaned_of_what_is_not_to_be_seen(name: str, clean: str) -> None:
    assert files.clean_name(name) == clean
