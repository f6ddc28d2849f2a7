"""Captions are WebVTT, or players show none of them: what is wrong with a text, and in which line."""

import io
from bisect import bisect_left

from django.core.exceptions import ValidationError
from webvtt import WebVTT
from webvtt.errors import MalformedCaptionError, MalformedFileError

EXAMPLE = "WEBVTT\n\n00:00.000 --> 00:04.000\nBreathe in."


def plain(text: str) -> str:
    """With line ends as they are in files, and none of the marks that editors put before a text."""
    return text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff").strip() + "\n"


def expect_valid(text: str) -> None:
    """Raise ValidationError, with the line, unless players can read it."""
    text = plain(text)
    if "\0" in text:
        raise ValidationError("Captions are text: these hold a zero byte.")
    lines = text.rstrip("\n").split("\n")
    try:
        found = _read(lines)
    except MalformedFileError:
        raise ValidationError(
            "Line 1: WebVTT begins with the word WEBVTT, alone in the first line. Make it of subtitles in SRT "
            "for example by `ffmpeg -i captions.srt captions.vtt`."
        ) from None
    except MalformedCaptionError:
        number = bisect_left(range(len(lines)), True, key=lambda number: not _is_readable(lines[: number + 1]))
        raise ValidationError(
            f"Line {number + 1}: “{lines[number][:80]}” is no caption: a line of times such as "
            "00:01.000 --> 00:04.000, then text; a blank line stands between two."
        ) from None
    times = [(number, line) for number, line in enumerate(lines, 1) if "-->" in line]
    for caption, (number, line) in zip(found.captions, times, strict=False):
        if caption.end_in_seconds < caption.start_in_seconds or caption.start == caption.end:
            raise ValidationError(f"Line {number}: {line.strip()[:80]} ends before it begins.")
    if not found.captions:
        raise ValidationError("Line 1: there is no caption in it.")


def _read(lines: list[str]) -> WebVTT:
    return WebVTT.from_buffer(io.StringIO("\n".join(lines)), strict=True)


def _is_readable(lines: list[str]) -> bool:
    try:
        _read(lines)
    except (MalformedCaptionError, MalformedFileError):
        return False
    return True
