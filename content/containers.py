"""Reading just enough of a film or recording to know what it is by its content, and that its end is not missing.

What is in it is `probing`'s to tell. Every number read here is the uploader's: each is checked against the file's size.
"""

import struct
from typing import BinaryIO

import filetype  # type: ignore[import-untyped]

from .formats import FLAC, MP3, MP4, OGG, WAV, WEBM, Container, Refused
from .models import FileKind

BRANDS = {b"isom", b"mp41", b"mp42", b"mp71", b"avc1", b"dash", b"MSNV", b"M4V ", b"M4VP", b"M4A ", b"M4B ", b"cmfc"}
BRANDS |= {b"iso%d" % number for number in range(2, 10)}
AUDIO_BRANDS = {b"M4A ", b"M4B "}
BY_TYPE = {
    "video/webm": WEBM,
    "video/x-matroska": WEBM,  # the same format; `probing` holds it to the codecs of WebM
    "audio/ogg": OGG,
    "video/ogg": OGG,
    "application/ogg": OGG,
    "audio/mpeg": MP3,
    "audio/x-flac": FLAC,
    "audio/x-wav": WAV,
}
MOST_BOXES = 1_000_000
SEARCHED_BYTES = 128 * 1024  # how far behind its tag an MP3's first frame may be
BITRATES = {  # kbit/s by index: of MPEG-1 layer III, and of MPEG-2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def container_of(head: bytes) -> Container | None:
    """The container that a file begins like, or None where it is none that the library takes.

    Raises:
        Refused: for a QuickTime film, which is nearly an MP4, to say what to do.
    """
    if head[4:8] == b"ftyp":
        if head[8:12] == b"qt  ":
            raise Refused(
                "This is a QuickTime film (.mov), which not every browser plays. Make an MP4 of it, "
                "for example by `ffmpeg -i film.mov -c copy film.mp4`."
            )
        return MP4 if head[8:12] in BRANDS else None
    return BY_TYPE.get(type_of(head))


def type_of(head: bytes) -> str:
    """What a file that begins so is by its signature, as a content type; "" for none that is known."""
    return filetype.guess_mime(bytearray(head)) or ""


def kind_by_brand(head: bytes, container: Container) -> FileKind:
    """Film or recording, as far as the beginning tells: for where there is no ffprobe to look inside."""
    if container.video is None:
        return FileKind.AUDIO
    is_audio = (container is MP4 and head[8:12] in AUDIO_BRANDS) or (
        container is OGG and b"\x80theora" not in head and b"OVP80" not in head
    )
    return FileKind.AUDIO if is_audio else FileKind.VIDEO


def is_matroska(head: bytes) -> bool:
    """Whether it says of itself that it is Matroska, not WebM."""
    return b"\x42\x82\x84webm" not in head[:64]


def expect_whole(file: BinaryIO, size: int, container: Container) -> None:
    """Raise Refused where the file ends before what it says it holds, or holds nothing."""
    if container is MP4:
        _expect_whole_mp4(file, size)
    elif container is WEBM:
        _expect_whole_webm(file, size)
    elif container is WAV:
        file.seek(4)
        length = struct.unpack("<I", file.read(4))[0]
        if 0 < length < 0xFFFF_FFFF - 8 and length + 8 > size:  # the largest, and 0: written by a program as it went
            raise _cut(container)
    elif container is FLAC:
        file.seek(4)
        header = file.read(38)  # RFC 9639, sections 8.1 and 8.2
        if len(header) < 38 or header[0] & 0x7F or header[1:4] != b"\0\0\x22" or not int.from_bytes(header[14:17]) >> 4:
            raise _disguised(container)
    elif container is MP3:
        _expect_frames(file, size)


def _cut(container: Container) -> Refused:
    return Refused(
        f"This {container.name} file ends too early: it was cut off when it was made or copied. Get it anew, "
        "and try again."
    )


def _disguised(container: Container) -> Refused:
    return Refused(
        f"This file begins like {container.name}, and holds nothing of the kind. It was damaged, or is something else "
        "in disguise."
    )


def _expect_whole_mp4(file: BinaryIO, size: int) -> None:
    """Its boxes (ISO/IEC 14496-12, section 4.2), up to the end of the film; what comes behind is never looked at."""
    position, seen = 0, set[bytes]()
    for _ in range(MOST_BOXES):
        if position + 8 > size or {b"moov", b"mdat"} <= seen:
            break
        file.seek(position)
        header = file.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        elif length == 0:
            length = size - position
        if length < 8:
            break
        if position + length > size:
            raise _cut(MP4)
        seen.add(kind)
        position += length
    if b"moov" not in seen:
        raise Refused("This MP4 file holds no film (no “moov”): it was cut off, or never finished by what made it.")
    if not seen & {b"mdat", b"moof"}:
        raise Refused("This MP4 file holds no film: only a description of one.")


def _expect_whole_webm(file: BinaryIO, size: int) -> None:
    """Its header, then its one segment (RFC 8794, RFC 9559)."""
    file.seek(4)
    header_bytes, width = _variable(file.read(8))
    segment = 4 + width + (header_bytes or 0)
    file.seek(segment)
    start = file.read(12)
    if start[:4] != b"\x18\x53\x80\x67":
        raise _disguised(WEBM)
    length, width = _variable(start[4:])
    if length is not None and segment + 4 + width + length > size:  # None: not known when it was written
        raise _cut(WEBM)


def _variable(data: bytes) -> tuple[int | None, int]:
    """A length of variable width (RFC 8794, section 4), and the width; None where it says “unknown”."""
    if not data or not data[0]:
        raise _disguised(WEBM)
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big") & ~(1 << (7 * width))
    return (None if value == (1 << (7 * width)) - 1 else value), width


def _expect_frames(file: BinaryIO, size: int) -> None:
    """Two frames, one right behind the other, behind whatever tag it has: two bytes alone begin many things."""
    file.seek(0)
    tag = file.read(10)
    position = 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        position = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:10], (21, 14, 7, 0), strict=True))
    file.seek(position)
    data = file.read(SEARCHED_BYTES)
    start = data.find(b"\xff")
    while start >= 0:
        length = _frame_bytes(data[start : start + 4])
        if length and (_frame_bytes(data[start + length : start + length + 4]) or position + start + length == size):
            return
        start = data.find(b"\xff", start + 1)
    raise _disguised(MP3)


def _frame_bytes(header: bytes) -> int | None:
    """The length of the frame of MPEG audio, layer III, with this header; None where it is no such header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate in {0, 15} or rate == 3:
        return None
    bits = BITRATES[version == 3][bitrate] * 1000
    return int((144 if version == 3 else 72) * bits / RATES[version][rate]) + padding
