"""Which bytes a request gets, whatever it asks for; that nginx gives the same says e2e/test_range_corpus.py."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content.ranges import (
    MOST_RANGES,
    Representation,
    Unsatisfiable,
    content_range,
    decide,
    multipart,
    satisfied,
)

FILE = Representation(size_bytes=1000, modified=1_767_322_845)
SIZES = st.integers(0, 2**40)
SPECS = st.one_of(
    st.tuples(st.integers(0, 2**41), st.integers(0, 2**41)).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    st.integers(0, 2**41).map(lambda first: f"{first}-"),
    st.integers(0, 2**41).map(lambda length: f"-{length}"),
)
WANTED = st.lists(SPECS, min_size=1, max_size=20).map(",".join)


@given(wanted=WANTED, size=SIZES)
def test_no_range_leaves_the_file_and_together_they_are_no_longer(wanted: str, size: int) -> None:
    try:
        found = satisfied(wanted, size)
    except Unsatisfiable:
        return

    assert all(0 <= part.start < part.stop <= size for part in found)
    assert sum(map(len, found)) <= size
    assert len(found) <= MOST_RANGES


@given(first=st.integers(0, 2**40), length=st.integers(1, 2**40), size=st.integers(1, 2**40))
def test_a_range_that_begins_within_the_file_is_given_as_far_as_it_goes(first: int, length: int, size: int) -> None:
    first %= size

    assert satisfied(f"{first}-{first + length - 1}", size) == [range(first, min(first + length, size))]


@given(length=st.integers(1, 2**41), size=st.integers(1, 2**40))
def test_a_suffix_is_the_end_of_the_file(length: int, size: int) -> None:
    assert satisfied(f"-{length}", size) == [range(max(size - length, 0), size)]


@given(wanted=st.text(max_size=60))
def test_whatever_is_sent_gets_an_answer(wanted: str) -> None:
    asked = {"range": f"bytes={wanted}", "if-range": wanted, "if-none-match": wanted, "if-modified-since": wanted}

    assert decide(asked, FILE).status in {200, 206, 304, 412, 416}
    assert decide({"range": f"bytes={wanted}"}, FILE).status in {200, 206, 416}


@pytest.mark.parametrize("digits", [str(2**63), "1" * 20, "9" * 5000])
def test_a_number_beyond_all_files_is_refused(digits: str) -> None:
    with pytest.raises(Unsatisfiable):
        satisfied(f"0-{digits}", 1000)


@given(
    ranges=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 100)), min_size=2, max_size=16),
)
def test_several_parts_stand_between_boundaries_with_their_own_head(ranges: list[tuple[int, int]]) -> None:
    parts = [range(first, first + length) for first, length in ranges]

    content_type, pieces = multipart(parts, size=1000, content_type="video/webm")

    boundary = content_type.removeprefix("multipart/byteranges; boundary=").encode()
    assert [piece for piece in pieces if isinstance(piece, range)] == parts
    for head, part in pairwise(pieces[:-1]):
        if isinstance(head, bytes) and isinstance(part, range):
            assert head.startswith(b"\r\n--" + boundary + b"\r\nContent-Type: video/webm\r\n")
            assert head.endswith(f"Content-Range: {content_range(part, 1000)}\r\n\r\n".encode())
    assert pieces[-1] == b"\r\n--" + boundary + b"--\r\n"


def test_boundaries_are_not_to_be_guessed() -> None:
    parts = [range(1), range(2, 3)]

    assert len({multipart(parts, size=9, content_type="video/webm")[0] for _ in range(50)}) == 50
