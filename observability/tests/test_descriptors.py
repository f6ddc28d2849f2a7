"""File descriptors: as many as the system allows, and some kept for what everybody needs."""

import errno
import json
import os
import resource
from typing import Any

import pytest

from observability import problems
from observability.http import descriptors
from observability.problems import server_error

LIMITS = dict[str, tuple[int, int]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> LIMITS:
    """This process's, as it is told."""
    found = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: found["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: found.update(now=limit))
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 10**6), (descriptors.WANTED, 10**6)),
        ((1024, resource.RLIM_INFINITY), (descriptors.WANTED, resource.RLIM_INFINITY)),
        ((100_000, 10**6), (100_000, 10**6)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
    ],
)
def test_the_limit_is_raised_and_never_lowered(limits: LIMITS, before: tuple[int, int], after: tuple[int, int]) -> None:
    limits["now"] = before

    descriptors.raise_limit()

    assert limits["now"] == after


@pytest.mark.parametrize(("used", "scarce"), [(75, False), (76, True)])
def test_a_quarter_is_kept_free(limits: LIMITS, monkeypatch: pytest.MonkeyPatch, used: int, scarce: bool) -> None:
    limits["now"] = (100, 100)
    monkeypatch.setattr(os, "listdir", lambda _: [str(number) for number in range(used)])

    assert descriptors.are_scarce() is scarce


def test_with_none_left_to_look_they_are_scarce(limits: LIMITS, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> list[str]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "listdir", refuse)

    assert descriptors.are_scarce()


def test_a_request_that_finds_none_left_is_asked_to_come_again(rf: Any) -> None:
    try:
        raise OSError(errno.EMFILE, "Too many open files")
    except OSError:
        answer = server_error(rf.get("/dora"))

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert b"Try again" in answer.content


def test_nor_does_that_answer_need_one_for_its_page(rf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(problems, "render", refuse)
    try:
        refuse()
    except OSError:
        answer = server_error(rf.get("/content/", headers={"accept": "text/html"}))

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "Try again" in json.loads(answer.content)["detail"]
