"""What a file is, by its content alone: its name and what its sender says of it are never asked.

    inspected = inspect(path)  # or Refused, with a sentence for people

`containers` and `pictures` read formats, `probing` asks ffprobe; here is what is asked of whom.
"""

import stat
from pathlib import Path

from . import containers, pictures, probing
from .formats import ALLOWED, PICTURES, WEBM, Container, Inspected, Refused

__all__ = ["HEAD_BYTES", "Inspected", "Refused", "glance", "inspect"]

HEAD_BYTES = 8192  # what `glance` looks at
PICTURE_TYPES = {content_type for content_type, _ in PICTURES.values()}
NAMES = {
    "application/pdf": "a PDF",
    "application/zip": "a ZIP archive, or a document of an office program",
    "image/gif": "a GIF",
    "image/heic": "a picture in HEIC",
    "image/avif": "a picture in AVIF",
    "video/x-msvideo": "a film in AVI",
    "video/quicktime": "a QuickTime film",
}


def inspect(path: Path) -> Inspected:
    """Find out what the file at `path` is, and that it is whole.

    Durations are in seconds, width and height in pixels; each None where the file, or the machine (no ffprobe), does
    not tell.

    Raises:
        Refused: it is nothing that the library takes.
        NotExamined: this machine came to no answer.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Refused("This is no file.")
    size = status.st_size
    if not size:
        raise Refused("This file is empty.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        container = glance(head)
        if container is None:
            return pictures.inspect(path)
        containers.expect_whole(file, size, container)
    if probing.is_present():
        return probing.probe(path, container)
    if container is WEBM and containers.is_matroska(head):
        raise Refused(
            f"This is Matroska (.mkv), and without ffprobe it is not known whether browsers play it. {ALLOWED}"
        )
    return container.inspected(containers.kind_by_brand(head, container))


def glance(head: bytes) -> Container | None:
    """What a file that begins so may be: a container, or None for a picture; raises Refused for anything else."""
    guessed = containers.type_of(head)
    if guessed in PICTURE_TYPES:
        return None
    container = containers.container_of(head)
    if container is None:
        raise Refused(f"This is {_name(head, guessed)}. {ALLOWED}")
    return container


def _name(head: bytes, guessed: str) -> str:
    """In words, what the library does not take."""
    beginning = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in beginning[:2048]:
        return "an SVG drawing, which may hold programs"
    if beginning.startswith((b"<!doctype html", b"<html", b"<script", b"<head", b"<body")):
        return "a web page"
    if beginning.startswith((b"#extm3u", b"ffconcat")):
        return "a playlist, which only names other files"
    return NAMES.get(guessed, f"of the type {guessed}" if guessed else "no film, recording or picture")
