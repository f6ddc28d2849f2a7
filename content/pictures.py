"""Pictures: read whole within bounds, and written anew, so that what is kept holds the picture and nothing else.

No place where it was taken, no second file behind or inside it. Turned as its camera meant it, in sRGB, its first frame
only, and no larger than a page shows it.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageCms, ImageOps

from .formats import PICTURES, Inspected, Refused
from .models import FileKind

MOST_BYTES = 50 * 2**20
MOST_PIXELS = 40_000_000
MOST_SIDE = 2560  # of what is kept


def inspect(path: Path) -> Inspected:
    """What the picture is, having decoded all of it; raises Refused."""
    with _read(path) as picture:
        width, height = picture.size
        content_type, extension = PICTURES[str(picture.format)]
    return Inspected(FileKind.IMAGE, content_type, extension, None, width, height)


def write_anew(path: Path, to: BinaryIO) -> Inspected:
    """Write the picture at `path` to a file in its own format; what it is then. Raises Refused."""
    with _read(path) as picture:
        name = str(picture.format)
        content_type, extension = PICTURES[name]
        upright = ImageOps.exif_transpose(picture)
        plain = _with_plain_colours(upright, transparency=name != "JPEG")
        plain.thumbnail((MOST_SIDE, MOST_SIDE))
        bare = Image.new(plain.mode, plain.size)
        bare.paste(plain)
        bare.save(to, name, quality=88, optimize=True)
        return Inspected(FileKind.IMAGE, content_type, extension, None, *bare.size)


@contextmanager
def _read(path: Path) -> Iterator[Image.Image]:
    if path.stat().st_size > MOST_BYTES:
        raise Refused(f"This picture has more than {MOST_BYTES // 2**20} MB: make it smaller.")
    try:
        with Image.open(path, formats=list(PICTURES)) as picture:
            _expect_size(picture)
            picture.verify()
        with Image.open(path, formats=list(PICTURES)) as picture:
            _expect_size(picture)
            picture.load()
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large() from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if getattr(error, "errno", None):  # the disk's fault, not the picture's
            raise
        raise Refused(
            "This picture cannot be read: it was damaged or cut off, or is something else in disguise."
        ) from (error)


def _expect_size(picture: Image.Image) -> None:
    """Before anything is decoded."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise _too_large()


def _too_large() -> Refused:
    return Refused(f"This picture has more than {MOST_PIXELS // 1_000_000} million pixels: make it smaller.")


def _with_plain_colours(picture: Image.Image, *, transparency: bool) -> Image.Image:
    """In sRGB, as grey, colours, or colours with transparency."""
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in {"RGB", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = "RGB" if picture.mode == "CMYK" else picture.mode
            converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode)
            picture = converted or picture
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that cannot be read changes no colour
    if transparency and picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture if picture.mode == "L" else picture.convert("RGB")
