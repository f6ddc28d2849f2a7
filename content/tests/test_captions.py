"""Captions that players can read, and a word on the line where they cannot."""

import pytest
from django.core.exceptions import ValidationError

from content import captions, demo

GOOD = "WEBVTT\n\n00:00.000 --> 00:04.000\nBreathe in.\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        captions.EXAMPLE,
        demo.CAPTIONS,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        "WEBVTT - Title\nKind: captions\n\nNOTE a word\n\n1\n100:00:00.000 --> 100:00:04.000 align:start\n<b>In</b>.\n",
        "WEBVTT\n\nSTYLE\n::cue { color: lime }\n\n00:00.000 --> 00:01.000\nx\n",
    ],
)
def test_what_players_read_is_valid(text: str) -> None:
    captions.expect_valid(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Line 1: "),
        ("WEBVTT\n\nNOTE nothing\n", "there is no caption"),
        ("Breathe in.", "Line 1: WebVTT begins with the word WEBVTT"),
        ("1\n00:00:00,000 --> 00:00:04,000\nSRT\n", "Line 1: "),
        ("WEBVTT\n\n00:00,000 --> 00:04,000\nx\n", "Line 3: “00:00,000 --> 00:04,000”"),
        (GOOD + "\nsecond\n00:04.000 -> 00:08.000 --> x\nOut.\n", "Line 7: "),
        (GOOD + "\n00:04.000 --> 00:08\nOut.\n", "Line 6: "),
        (GOOD + "\n00:08.000 --> 00:04.000\nOut.\n", "Line 6: 00:08.000 --> 00:04.000 ends before it begins"),
        (GOOD + "\n00:04.000 --> 00:04.000\nOut.\n", "Line 6: "),
        (GOOD + "00:04.000 --> 00:08.000\nOut.\n", "Line 5: "),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\na\0b\n", "zero byte"),
    ],
)
def test_what_players_cannot_read_is_told_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        captions.expect_valid(text)
    assert words in error.value.messages[0]
