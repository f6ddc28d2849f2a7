"""Which bytes of a file a request asks for (RFC 9110, sections 13 and 14), decided as nginx's static module does.

Whether nginx delivers a file or we do, the answer is the same; where nginx reads the RFC its own way, so do we, and
docs/decisions/streaming.md says where. Pure: headers in, a decision out.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.http import http_date, parse_http_date_safe

MOST_RANGES = 16  # as max_ranges in deploy/nginx/site.conf; who asks for more gets the whole
MOST_BYTES = 2**63 - 1


class Unsatisfiable(Exception):
    """None of the ranges is within the file, or they are none (416)."""


@dataclass(frozen=True, slots=True)
class Representation:
    """A file as HTTP knows it."""

    size_bytes: int
    modified: int  # seconds since the epoch

    @property
    def etag(self) -> str:
        """A strong validator, in nginx's form."""
        return f'"{self.modified:x}-{self.size_bytes:x}"'

    @property
    def last_modified(self) -> str:
        """Its time as a header."""
        return http_date(self.modified)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to answer: 200, 206, 304, 412 or 416, and with which bytes (none but for 200 and 206)."""

    status: int
    ranges: Sequence[range] = field(default=())


def decide(asked: Mapping[str, str], file: Representation) -> Decision:
    """What a GET or HEAD gets.

    Args:
        asked: the request's headers by name in small letters; those that nobody sent may be missing.
    """
    if not _preconditions_hold(asked, file):
        return Decision(412)
    if _is_fresh(asked, file):
        return Decision(304)
    whole = Decision(200, (range(file.size_bytes),))
    wanted = asked.get("range", "")
    if wanted[:6].lower() != "bytes=" or len(wanted) < 7 or not _range_is_for_this(asked.get("if-range"), file):
        return whole
    try:
        ranges = satisfied(wanted[6:], file.size_bytes)
    except Unsatisfiable:
        return Decision(416)
    return Decision(206, ranges) if ranges else whole


def satisfied(wanted: str, size: int) -> list[range]:
    """The parts of a file of `size` bytes that a ranges-specifier names.

    Args:
        wanted: what follows `bytes=`, such as `0-499, -500`.

    Returns:
        The parts, in the order in which they were asked for; none where the whole is to be sent: they are together
        longer than the file, or more than `MOST_RANGES`.

    Raises:
        Unsatisfiable: where no part is within the file, or one of them is not of the form of a range.
    """
    found: list[range] = []
    for spec in wanted.split(","):
        first, last = _bounds(spec)
        if first is None:
            start, stop = max(size - (last or 0), 0), size
        else:
            start, stop = first, size if last is None else min(last + 1, size)
        if start < stop:
            found.append(range(start, stop))
            if len(found) > MOST_RANGES:
                return []
        elif start == 0:
            return []  # the file is empty, or a range ends before it begins, at the very first byte
    if not found:
        raise Unsatisfiable
    return found if sum(map(len, found)) <= size else []


def multipart(ranges: Sequence[range], *, size: int, content_type: str) -> tuple[str, list[bytes | range]]:
    """Several ranges as one body (RFC 9110, section 14.6).

    Returns:
        Its content type, and its pieces in order: bytes as they are, ranges of the file.
    """
    boundary = f"{secrets.randbelow(10**20):020d}"
    pieces: list[bytes | range] = []
    for part in ranges:
        head = f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range(part, size)}\r\n\r\n"
        pieces += [head.encode("latin-1"), part]
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    return f"multipart/byteranges; boundary={boundary}", pieces


def content_range(part: range, size: int) -> str:
    """The header of one part."""
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def _bounds(spec: str) -> tuple[int | None, int | None]:
    """First and last byte as written, one of them perhaps missing; raises Unsatisfiable."""
    first, dash, last = spec.strip(" ").partition("-")
    if first:
        first, last = first.rstrip(" "), last.lstrip(" ")
    if not dash or not (first or last):
        raise Unsatisfiable
    return _number(first), _number(last)


def _number(digits: str) -> int | None:
    if not digits:
        return None
    significant = digits.lstrip("0") or "0"
    if not (digits.isascii() and digits.isdigit()) or len(significant) > 19 or int(significant) > MOST_BYTES:
        raise Unsatisfiable
    return int(significant)


def _preconditions_hold(asked: Mapping[str, str], file: Representation) -> bool:
    since = asked.get("if-unmodified-since")
    if since is not None:
        moment = parse_http_date_safe(since)
        if moment is None or moment < file.modified:
            return False
    tags = asked.get("if-match")
    return tags is None or _is_among(file.etag, tags, weakly=False)


def _is_fresh(asked: Mapping[str, str], file: Representation) -> bool:
    """Whether the client has it already. Where both conditions are sent, both must say so."""
    since, tags = asked.get("if-modified-since"), asked.get("if-none-match")
    if since is not None:
        moment = parse_http_date_safe(since)
        if moment is None or moment < file.modified:
            return False
    if tags is not None and not _is_among(file.etag, tags, weakly=True):
        return False
    return since is not None or tags is not None


def _range_is_for_this(condition: str | None, file: Representation) -> bool:
    if condition is None:
        return True
    if len(condition) >= 2 and condition.endswith('"'):
        return condition == file.etag
    return parse_http_date_safe(condition) == file.modified


def _is_among(etag: str, tags: str, *, weakly: bool) -> bool:
    """Whether a list of entity tags holds this one, or is `*`."""
    if tags == "*":
        return True
    listed = (tag.strip(" \t") for tag in tags.split(","))
    return any(tag.removeprefix("W/") == etag if weakly else tag == etag for tag in listed)
