"""Recognising a request that means to climb out of its directory, in whatever encoding (OWASP; CWE-22).

Nothing here opens a file: the URL table decides what a path means, and no `..` ever reached one. This is the alarm.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

# A path without any of these cannot climb; most requests end here, after one scan of a few bytes.
SUSPICIOUS = re.compile(rb"\.\.|%|\\|\x00|[\x80-\xff]")

IIS_ESCAPE = re.compile(rb"%[uU]([0-9a-fA-F]{4})")
# The same characters in more bytes than UTF-8 allows, the malformed last byte of old IIS exploits included, of which
# careless decoders look at six bits.
OVERLONG = [
    (re.compile(rb"(?:\xc0|\xe0\x80|\xf0\x80\x80|\xf8\x80\x80\x80|\xfc\x80\x80\x80\x80)[\xae\x2e\x6e\xee]"), b"."),
    (re.compile(rb"(?:\xc0|\xe0\x80|\xf0\x80\x80|\xf8\x80\x80\x80|\xfc\x80\x80\x80\x80)[\xaf\x2f\x6f\xef]"), b"/"),
    (re.compile(rb"\xc0\x5c|\xc1[\x9c\x1c\x5c\xdc\xaf]|\xe0\x81\x9c|\xf0\x80\x81\x9c"), b"\\"),
]
# As software reads them that takes a character's compatible form (NFKC), or one that looks alike. The ellipsis is not
# here: it stands in ordinary texts.
LOOKALIKES = str.maketrans(
    {
        "\uff0e": ".",  # fullwidth full stop
        "\ufe52": ".",  # small full stop
        "\u2024": ".",  # one dot leader
        "\u2025": "..",  # two dot leader
        "\ufe30": "..",  # the same, for vertical text
        "\u3002": ".",  # ideographic full stop
        "\uff61": ".",  # the same, halfwidth
        "\uff0f": "/",  # fullwidth solidus
        "\u2044": "/",  # fraction slash
        "\u2215": "/",  # division slash
        "\uff3c": "\\",  # fullwidth reverse solidus
        "\ufe68": "\\",  # small reverse solidus
        "\u2216": "\\",  # set minus
    }
)
SEPARATOR = re.compile(r"[/\\]")
SPACES = "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
IGNORED_AROUND_DOTS = "".join(map(chr, range(33))) + "\x7f" + SPACES
DECODINGS = 4
FILE_NAME = re.compile(rb"filename(\*?)=(\"(?:[^\"\\]|\\.)*\"|[^;\r\n]*)", re.I)
CHARSET = re.compile(rb"[\w-]*'[\w-]*'")  # and language, before the name in `filename*` (RFC 8187)
FILE_NAME_BYTES = 300  # of a piece of a form, for the next: as long as a name may be with what stands before it


def climbs(path: bytes, query: bytes = b"") -> bool:
    """Whether a request target means to climb.

    Args:
        path: as sent, before any decoding.
        query: as sent, without the question mark.
    """
    if SUSPICIOUS.search(path) and _climbs(path, alone=True):
        return True
    if query and SUSPICIOUS.search(query):
        return any(_value_climbs(part.replace(b"+", b" ")) for part in re.split(rb"[&=]", query))
    return False


def file_name_climbs(part: bytes) -> bool:
    """Whether a piece of a multipart body names a file outside of where it would be put."""
    return any(SUSPICIOUS.search(name) and _climbs(name, alone=True) for name in _file_names(part))


def _file_names(part: bytes) -> Iterator[bytes]:
    for match in FILE_NAME.finditer(part):
        name = match[2].strip(b'"')
        charset = CHARSET.match(name) if match[1] else None
        yield name[charset.end() :] if charset else name


def _value_climbs(value: bytes) -> bool:
    """Whole, and in the pieces into which some software parts a query at `;`, too."""
    if not SUSPICIOUS.search(value):
        return False
    return _climbs(value) or (b";" in value and any(_climbs(piece) for piece in value.split(b";")))


def _climbs(text: bytes, *, alone: bool = False) -> bool:
    """Decode again and again, as careless software behind a proxy would, and look each time.

    `alone`: whether ".." climbs with no separator beside it.
    """
    for _ in range(DECODINGS):
        if b"\x00" in text or _has_climbing_segment(text, alone):
            return True
        decoded = _decoded(text)
        if decoded == text:
            return False
        text = decoded
    return _has_climbing_segment(text, alone)


def _decoded(text: bytes) -> bytes:
    text = IIS_ESCAPE.sub(lambda match: chr(int(match.group(1), 16)).encode("utf-8", "replace"), text)
    text = unquote_to_bytes(text)
    for pattern, character in OVERLONG:
        text = pattern.sub(lambda _, character=character: character, text)  # type: ignore[misc]
    return text


def _has_climbing_segment(text: bytes, alone: bool) -> bool:
    readable = text.decode("utf-8", "replace").translate(LOOKALIKES)
    if ".." not in readable:
        return False
    # As it stands, and as it is left by a filter that strips "../" once ("....//", "..././").
    for form in (readable, readable.replace("../", "").replace("..\\", "")):
        segments = SEPARATOR.split(form)
        if (alone or len(segments) > 1) and any(_is_parent(segment) for segment in segments):
            return True
    return False


def _is_parent(segment: str) -> bool:
    return segment.split(";", 1)[0].strip(IGNORED_AROUND_DOTS) == ".."
