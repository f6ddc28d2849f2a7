"""Requests for parts of files, each sent to nginx's static module and to every way in which ours are delivered.

What nginx answers by itself is the reference: status, headers and bytes are the same from daphne, from uvicorn, and
from nginx when it sends a file for the application.
"""

import http.client
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from e2e.library import in_library
from e2e.nginx import ACCELERATED, OPENLY, nginx, process_on
from e2e.servers import PRODUCTION, Installation, free_port

pytestmark = pytest.mark.needs("nginx")

SIZES = (0, 1, 10, 1000, 300_000)
CONTENT_TYPE = "application/octet-stream"  # what nginx says of files of which it is told nothing
MODIFIED = 1_767_322_845  # Fri, 02 Jan 2026 03:00:45 GMT
BEFORE, THEN, AFTER = (
    "Fri, 02 Jan 2026 03:00:44 GMT",
    "Fri, 02 Jan 2026 03:00:45 GMT",
    "Fri, 02 Jan 2026 03:00:46 GMT",
)
THEN_IN_OTHER_FORMS = ("Friday, 02-Jan-26 03:00:45 GMT", "Fri Jan  2 03:00:45 2026")
COMPARED = ("Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified", "Content-Type")

RANGES = (
    # one
    *("bytes=0-", "bytes=0-0", "bytes=0-4", "bytes=1-", "bytes=3-8", "bytes=9-9", "bytes=999-", "bytes=5-100000000"),
    *("bytes=-1", "bytes=-5", "bytes=-1000", "bytes=-100000000", "bytes=-0", "BYTES=0-4", "bytes=00-004"),
    *("bytes=0-262143", "bytes=262143-262144", "bytes=100-299998"),
    # several
    *("bytes=0-0,-1", "bytes=0-1,3-4", "bytes=3-4,0-1", "bytes= 0-1 , 3-4", "bytes=0 - 1", "bytes=0-1,2-3,4-5,6-7"),
    *("bytes=0-4,2-6", "bytes=0-,0-", "bytes=0-9,0-9", "bytes=0-0,100000000-", "bytes=100000000-,0-0", "bytes=5-3,0-1"),
    *("bytes=0-1,-0", "bytes=-1,-2,-3", "bytes=10-99,-100", "bytes=0-99999,200000-"),
    "bytes=" + ",".join(f"{place}-{place}" for place in range(0, 32, 2)),  # 16 of them
    "bytes=" + ",".join(f"{place}-{place}" for place in range(0, 34, 2)),  # 17
    # none that could be sent
    *("bytes=1000-", "bytes=300000-", "bytes=300000-400000,500000-", "bytes=100000000-", "bytes=9223372036854775807-"),
    *("bytes=9223372036854775808-", "bytes=0-9223372036854775807", "bytes=0-9223372036854775808", "bytes=4-2"),
    # of no proper form
    *("bytes=", "bytes=-", "bytes=a-b", "bytes=0", "bytes=0-1,", "bytes=,0-1", "bytes=0-1-2", "bytes=0-1;2-3"),
    *("bytes=--1", "bytes=- 1", "bytes=0x0-0x1", "bytes=+0-1", "bytes 0-1", "items=0-1", "0-1", "bytes=0-1,x"),
    *("bytes = 0-1", "bytes=\t0-1", "bytes=0-1, ,3-4", "bytes=²-3", "bytes=" + "0" * 5000 + "-1"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A request for a file of a size; in its headers, ETAG stands for the file's own."""

    size: int
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()

    def sent(self) -> list[tuple[str, str]]:
        """Its headers, as they go out."""
        etag = f'"{MODIFIED:x}-{self.size:x}"'
        return [(name, value.replace("ETAG", etag)) for name, value in self.headers]


@dataclass(frozen=True, slots=True)
class Answer:
    """What may not differ, with the boundary of several parts taken out."""

    status: int
    headers: tuple[tuple[str, str | None], ...]
    body: bytes


def _conditions() -> Iterator[tuple[tuple[str, str], ...]]:
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        for moment in (BEFORE, THEN, AFTER, *THEN_IN_OTHER_FORMS, "yesterday", "", "0"):
            yield ((name, moment),)
    tags = ("ETAG", "W/ETAG", '"another"', "*", '"another", ETAG', 'ETAG ,"another"', '"another",W/ETAG', "ETAGx", "")
    for name in ("If-Match", "If-None-Match"):
        for tag in tags:
            yield ((name, tag),)
    for tag in ("ETAG", '"another"'):
        yield ("If-Match", "ETAG"), ("If-None-Match", tag)
        for moment in (BEFORE, THEN):
            yield ("If-None-Match", tag), ("If-Modified-Since", moment)
            yield ("If-Match", tag), ("If-Unmodified-Since", moment)


@cache
def corpus() -> Sequence[Case]:
    """Every case, each once."""
    cases = [Case(size) for size in SIZES]
    cases += [Case(size, "HEAD") for size in SIZES]
    cases += [Case(size, "GET", (("Range", wanted),)) for size in SIZES for wanted in RANGES]
    cases += [Case(1000, "HEAD", (("Range", wanted),)) for wanted in RANGES]
    for conditions in _conditions():
        cases += [Case(1000, method, conditions) for method in ("GET", "HEAD")]
        cases += [Case(1000, "GET", (*conditions, ("Range", "bytes=3-8")))]
        cases += [Case(0, "GET", conditions)]
    for condition in ("ETAG", "W/ETAG", '"another"', BEFORE, THEN, AFTER, *THEN_IN_OTHER_FORMS, "x", "", '"', "*"):
        for size, wanted in product((10, 1000), ("bytes=3-8", "bytes=0-1,3-4", "bytes=2000-")):
            cases += [Case(size, "GET", (("Range", wanted), ("If-Range", condition)))]
    cases += [Case(1000, "GET", (("If-Range", "ETAG"),))]
    for first, second in (("bytes=0-1", "bytes=3-4"), ("bytes=2000-", "bytes=0-1"), ("x", "bytes=0-1")):
        cases += [Case(1000, "GET", (("Range", first), ("Range", second)))]
    assert len(set(cases)) == len(cases)
    return cases


@dataclass(frozen=True, slots=True)
class Asked:
    """A server, and where it has the file of each size."""

    port: int
    addresses: dict[int, str]

    def answers(self) -> list[Answer]:
        """What it answers to the corpus, over one connection."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            return [self._answer(connection, case) for case in corpus()]

    def _answer(self, connection: http.client.HTTPConnection, case: Case) -> Answer:
        connection.putrequest(case.method, self.addresses[case.size])
        for name, value in case.sent():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        headers = {name: response.headers.get(name) for name in COMPARED}
        body = response.read()
        if response.status == 412:
            connection.close()  # nginx does, too, and does not say so
        boundary = re.search(r"boundary=(\S+)", headers["Content-Type"] or "")
        if boundary:
            headers["Content-Type"] = (headers["Content-Type"] or "").replace(boundary[1], "BOUNDARY")
            body = body.replace(boundary[1].encode(), b"BOUNDARY")
        return Answer(response.status, tuple(headers.items()), body)


@dataclass(frozen=True, slots=True)
class Site:
    """The ways to one library."""

    reference: list[Answer]
    ways: dict[str, Asked]


@pytest.fixture(scope="module")
def site(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A library of a file of each size, served in every way."""
    library = installation.data_dir / "library"
    ours, theirs = _filled(installation, library)
    with ExitStack() as stack:
        serve = stack.enter_context
        daphne = serve(installation.serving("daphne", **PRODUCTION))
        uvicorn = serve(installation.serving("uvicorn", **PRODUCTION))
        behind = serve(process_on(installation, free_port(), **ACCELERATED))
        plain = serve(process_on(installation, free_port(), server="uvicorn"))
        before = serve(nginx(tmp_path_factory.mktemp("nginx"), [behind], library=library, openly=True))
        before_plain = serve(nginx(tmp_path_factory.mktemp("nginx"), [plain]))
        ways = {"daphne": daphne, "uvicorn": uvicorn, "X-Accel": before, "a proxying nginx": before_plain}
        reference = Asked(before.port, theirs).answers()
        yield Site(reference, {name: Asked(server.port, ours) for name, server in ways.items()})


def _filled(installation: Installation, library: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Fill the library; where the application, and where nginx by itself, has the file of each size."""
    code = f"""
    import random
    for size in {SIZES}:
        content = random.Random(size).randbytes(size)
        file = rows.media(rows.item(kind=Kind.VIDEO), content, content_type={CONTENT_TYPE!r})
        told[size] = (f"/watch/media/{{file.key}}/", file.name)
    """
    told = in_library(installation, re.sub(r"^ {4}", "", code, flags=re.MULTILINE))
    for _, name in told.values():
        os.utime(library / name, (MODIFIED, MODIFIED))
    ours = {int(size): address for size, (address, _) in told.items()}
    return ours, {int(size): f"{OPENLY}{name}" for size, (_, name) in told.items()}


def test_the_corpus_is_large_and_reaches_every_status(site: Site) -> None:
    assert len(corpus()) >= 150
    assert {answer.status for answer in site.reference} == {200, 206, 304, 412, 416}
    assert sum(b"BOUNDARY" in answer.body for answer in site.reference) >= 20


@pytest.mark.parametrize("way", ["daphne", "uvicorn", "X-Accel", "a proxying nginx"])
def test_every_answer_is_as_nginx_gives_it(site: Site, way: str) -> None:
    differing = [
        f"{case.method} {case.sent()} of {case.size} bytes: {_shown(theirs)}, but {_shown(ours)}"
        for case, theirs, ours in zip(corpus(), site.reference, site.ways[way].answers(), strict=True)
        if theirs != ours
    ]

    assert not differing, f"{len(differing)} of {len(corpus())}:\n" + "\n".join(differing[:40])


def _shown(answer: Answer) -> str:
    return f"{answer.status} {dict(answer.headers)} {answer.body[:40]!r}… ({len(answer.body)})"
