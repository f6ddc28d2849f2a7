"""The kinds of files that the library takes, how each is served, and the word for what it does not take."""

from dataclasses import dataclass

from observability.problems import Problem

from .models import FileKind

ALLOWED = "Films and recordings are taken as MP4, M4A, WebM, Ogg, MP3, FLAC or WAV, pictures as JPEG, PNG or WebP."


class Refused(Problem):
    """The library does not take this file; `detail` says why, for who wants to put it in."""


class NotExamined(Problem):
    """This machine had no time or memory to look at the file, which may be a good one (503)."""

    status = 503
    headers = {"Retry-After": "10"}


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file is, as its content says."""

    kind: FileKind
    content_type: str
    extension: str
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A format of films or recordings; the last two are content type and extension."""

    name: str
    demuxer: str  # ffprobe's word for it
    video: tuple[str, str] | None
    audio: tuple[str, str]
    codecs: frozenset[str]  # what browsers play of what it may hold

    def inspected(
        self, kind: FileKind, duration: float | None = None, width: int | None = None, height: int | None = None
    ) -> Inspected:
        """As a film or as a recording."""
        content_type, extension = self.video if kind == FileKind.VIDEO and self.video else self.audio
        return Inspected(kind, content_type, extension, duration, width, height)


MP4 = Container(
    "MP4",
    "mov",
    ("video/mp4", "mp4"),
    ("audio/mp4", "m4a"),
    frozenset({"h264", "hevc", "av1", "vp9", "aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"}),
)
WEBM = Container(
    "WebM",
    "matroska",
    ("video/webm", "webm"),
    ("audio/webm", "webm"),
    frozenset({"vp8", "vp9", "av1", "vorbis", "opus"}),
)
OGG = Container(
    "Ogg",
    "ogg",
    ("video/ogg", "ogv"),
    ("audio/ogg", "ogg"),
    frozenset({"theora", "vp8", "vorbis", "opus", "flac"}),
)
MP3 = Container("MP3", "mp3", None, ("audio/mpeg", "mp3"), frozenset({"mp3", "mp2"}))
FLAC = Container("FLAC", "flac", None, ("audio/flac", "flac"), frozenset({"flac"}))
WAV = Container(
    "WAV",
    "wav",
    None,
    ("audio/wav", "wav"),
    frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"}),
)

# Pillow's word for a format, and how its files are served.
PICTURES = {"JPEG": ("image/jpeg", "jpg"), "PNG": ("image/png", "png"), "WEBP": ("image/webp", "webp")}
