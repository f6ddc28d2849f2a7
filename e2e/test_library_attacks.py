"""Attempts to get at what is not theirs by the library's addresses, over raw sockets: climbs out of its directory, rows
and links that lead outside, and signatures of all kinds but the right one. No byte comes, and what should count counts.
"""

import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode

import pytest

from e2e.library import cookies_of, in_library
from e2e.nginx import ACCELERATED, nginx, process_on
from e2e.servers import Installation, Server, free_port, wait_for
from observability.tests.test_traversal import DOTS, SLASHES

pytestmark = pytest.mark.needs("nginx")

OUTSIDE = b"canary-4f1f9c6e-outside"  # in every file that lies outside of the library
MEMBERS = b"members-8b2d7a10-only"  # in the members' files
DRAFT = b"draft-c0ffee77-nobody"  # in a file that is not published
HOST = b"Host: localhost\r\nConnection: close\r\n"
ENTRANCES = ["daphne", "uvicorn", "nginx"]

MORE_DOTS = [
    "%uff0e.", ".%uff0e", "%U002e%U002e", "%2E.", "%25%32%65%25%32%65", "..%0a", "..%0d%0a", "%e2%80%a4%e2%80%a4",
    "%E3%80%82%E3%80%82", "%f8%80%80%80%ae%f8%80%80%80%ae", "%fc%80%80%80%80%ae%fc%80%80%80%80%ae", "%00..", "..%2500",
    "..;jsessionid=1", "%c0%6e%c0%6e", "%C0%AE%C0%AE", "%2%65%2%65", "...%00", "%c0%ee%c0%ee",
]  # fmt: skip
MORE_SLASHES = ["%c0%6f", "%C0%AF", "%25%32%66", "%255C", "/;/", "/%2e/", "%u2044", "%U2215"]
BEFORE = ["/watch/media/{key}/", "/watch/media/", "/watch/captions/", "/watch/links/", "/content/", "/_library/"]
QUERIES = ["/content/?kind=", "/content/search/?q=", "/watch/media/{key}/?name=", "/watch/captions/1/?file="]
# Outside of a name made by us nothing is told by the path, so that these find nothing, and climb nowhere.
ABSOLUTE = [
    "/watch/media/{outside}", "/watch/media//{outside}", "/content/{outside}", "/_library/{outside}",
    "/_library//{outside}", "/watch/media/file://{outside}", "/watch/captions/{outside}", "/watch/media/{encoded}",
    "/_library/{encoded}", "/content/?file={outside}", "/watch/media/{key}/{outside}", "/watch/media/{key}{outside}",
    "//{outside}", "/~root{outside}", "/content/~/{outside}", "/watch/media/$(cat{outside})", "/watch/media/`id`/",
    "/watch/media/{key}/|cat{outside}", "/watch/media/c:{outside}", "/watch/media/c:%5c", "/_library/.", "/_library/",
    "/_library", "/_library/link-to-a-file", "/_library/link-to-a-directory/canary.txt", "/watch/media/{name}",
]  # fmt: skip
# As what nobody but nginx itself may ask for them: files that are in the library, members' and drafts among them.
INTERNAL = [
    "/_library/{name}", "//_library/{name}", "/_library//{name}", "/_LIBRARY/{name}", "/%5flibrary/{name}",
    "/%5Flibrary/{name}", "/./_library/{name}", "/_library/./{name}", "/%2e/_library/{name}", "/_library%2f{name}",
    "/_library/{name}/", "/_library/{name}?x=1", "/_library/{name}%20", "/_library;/{name}", "/static/{name}",
    "/_library/{name}#x", "http://localhost/_library/{name}", "/media/{name}", "/library/{name}", "/{name}",
]  # fmt: skip
SPOOFED = [
    b"X-Accel-Redirect: /_library/{name}", b"X-Accel-Mapping: /=/_library/", b"X-Sendfile: {name}",
    b"X-Sendfile-Type: X-Accel-Redirect", b"X-Original-URL: /_library/{name}", b"X-Rewrite-URL: /_library/{name}",
    b"X-Forwarded-Prefix: /_library", b"X-Accel-Redirect: /_library/../canary.txt", b"X-Refused-Status: 200",
    b"X-HTTP-Method-Override: GET", b"X-Forwarded-Uri: /_library/{name}", b"Daphne-Root-Path: /_library",
]  # fmt: skip

# In the library's directory, what leads out of it. Names of rows that were tampered with follow below.
SNARES = {
    "link-to-a-file": "../canary.txt",
    "link-to-a-directory": "..",
    "link-to-a-far-file": "{outside}",
    "link-to-a-link": "link-to-a-far-file",
    "link-to-a-link-to-a-link": "link-to-a-link",
    "inner/link": "../link-to-a-link",
    "inner/inner/up": "../..",
    "link-to-itself": "link-to-itself",
    "link-to-the-process": "/proc/self/environ",
    "link-to-memory": "/proc/self/mem",
    "link-to-a-descriptor": "/dev/fd/0",
    "link-to-the-root": "/",
    "link-to-a-neighbour": "../library-of-another",
    "link.webm": "public.webm",  # stays inside, and is a link all the same
}
TAMPERED = [
    *SNARES,
    "../canary.txt", "../../data/canary.txt", "{outside}", "/{outside}", "//{outside}", "./../canary.txt",
    "inner/../../canary.txt", "inner/../../library/../canary.txt", "../library-of-another/canary.txt",
    "../library/../canary.txt", "link-to-a-directory/canary.txt", "inner/inner/up/../canary.txt",
    "inner/inner/up/link-to-a-file", "link-to-the-root{outside}", "link-to-a-neighbour/canary.txt",
    "link-to-a-directory/library/link-to-a-file", "public.webm/../../canary.txt", "public.webm/../canary.txt",
    "%2e%2e/canary.txt", "%2e%2e%2fcanary.txt", "..%2fcanary.txt", "..\\canary.txt", "..%5ccanary.txt",
    "\uff0e\uff0e/canary.txt", "..;/canary.txt", "../db.sqlite3", "/etc/passwd", "/proc/self/environ", "/dev/zero",
    "/dev/stdin", "file://{outside}", "", ".", "..", "/", "./", "inner", "inner/", "inner/.", "no-such-file",
    "no-such/directory", "public.webm/", "public.webm/.", "public.webm/x", "pipe", "socket", "~/canary.txt", "$HOME",
    "-", "--help", "*", "public.*", "public.webm?x", "public.webm#x", "public.webm ", " public.webm", "PUBLIC.WEBM",
    "a\r\nX-Accel-Redirect: /_library/members.webm", "\nSet-Cookie: a=b", "http://127.0.0.1/", "@members.webm",
    "\u202emebw.cilbup", "\ud7ff\ue000", "x" * 120, "../" * 38 + "x", "|id", "`id`", "con", "nul", "{{7*7}}", "%s%n",
    "members.webm\x00.webm", "../canary.txt\x00.webm", "\x00",
]  # fmt: skip

LIBRARY = """
import os
from django.db import DataError
from django.core.files.storage import storages
from content import links

storage = storages["library"]

def file(of, name, content):
    made = rows.media(of, content)
    storage.delete(name)
    os.rename(storage.path(made.name), storage.path(name))
    MediaFile.objects.filter(pk=made.pk).update(name=name)
    return str(made.key)

public = rows.item(kind=Kind.VIDEO)
told["public"] = file(public, "public.webm", b"public " * 300)
told["members"] = file(rows.members_item(kind=Kind.VIDEO), "members.webm", MEMBERS * 300)
told["second"] = file(rows.members_item(kind=Kind.VIDEO), "second.webm", MEMBERS * 300)
told["draft"] = file(rows.item(kind=Kind.VIDEO, published_at=None), "draft.webm", DRAFT * 300)
told["orphan"] = file(None, "orphan.webm", DRAFT * 300)

told["tampered"] = dict()
for name in TAMPERED:
    row = rows.media(public, b"", role=Role.ILLUSTRATION)
    storage.delete(row.name)
    try:
        MediaFile.objects.filter(pk=row.pk).update(name=name, size_bytes=1000)
        told["tampered"][name] = str(row.key)
    except (ValueError, DataError):  # PostgreSQL takes no NUL
        row.delete()

people = {name: person(name, member=name != "guest") for name in ("mara", "otto", "lapsed", "guest")}
for name, user in people.items():
    for key in ("members", "second"):
        told[f"{name}'s {key}"] = links.address_of(MediaFile.objects.get(key=told[key]), user)
for ended in people["lapsed"].memberships.all():
    membership.end(ended)
"""


@dataclass(frozen=True, slots=True)
class Site:
    """The same library behind three entrances; each has a process of its own."""

    entrances: dict[str, Server]
    processes: dict[str, Server]
    library: Path
    told: dict[str, Any]
    cookies: dict[str, str]

    def get(self, entrance: str, target: str, *, method: str = "GET", cookies: str = "", extra: bytes = b"") -> bytes:
        """What comes back, head and all."""
        named = f"Cookie: {self.cookies[cookies]}\r\n".encode() if cookies else b""
        request = f"{method} {target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape")
        return self.entrances[entrance].raw(request + HOST + named + extra + b"\r\n")

    def key(self, which: str) -> str:
        """By which a file's address names it."""
        return str(self.told[which])

    def link(self, who: str, which: str) -> str:
        """The address of a members' file that was made for somebody, with its query."""
        return str(self.told[f"{who}'s {which}"])

    @property
    def tampered(self) -> dict[str, str]:
        """The keys of the rows, by the names that were put into them."""
        return cast(dict[str, str], self.told["tampered"])

    def filled(self, template: str) -> str:
        """With what stands in braces put in."""
        outside = self.library.with_name("canary.txt")
        named = {"key": self.key("members"), "name": "members.webm", "outside": str(outside)}
        named["encoded"] = quote(str(outside), safe="")
        for name, value in named.items():
            template = template.replace(f"{{{name}}}", value)
        return template

    def counted(self, entrance: str, name: str, **labels: str) -> float:
        """A metric of the process behind the entrance."""
        return self.processes[entrance].metric(name, **labels)


@pytest.fixture(scope="module")
def site(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """daphne and uvicorn, which send the bytes themselves, and nginx before another daphne, which hands them over."""
    library = installation.data_dir / "library"
    outside = installation.data_dir / "canary.txt"
    _lay_snares(library, outside)
    installation.collect_static()
    names = [name.replace("{outside}", str(outside)) for name in TAMPERED]
    names = [name for name in dict.fromkeys(names) if len(name) <= 120]
    known = f"MEMBERS, DRAFT, TAMPERED = {MEMBERS!r}, {DRAFT!r}, {names!r}\n"
    told = in_library(installation, known + LIBRARY)
    with ExitStack() as stack:
        own = {
            name: stack.enter_context(process_on(installation, free_port(), server=name))
            for name in ("daphne", "uvicorn")
        }
        behind = stack.enter_context(process_on(installation, free_port(), **ACCELERATED))
        before = stack.enter_context(nginx(tmp_path_factory.mktemp("nginx"), [behind], library=library))
        cookies = {name: cookies_of(own["daphne"], name) for name in ("mara", "otto", "lapsed", "guest")}
        yield Site({**own, "nginx": before}, {**own, "nginx": behind}, library, told, cookies)


def _lay_snares(library: Path, outside: Path) -> None:
    """What lies outside, and what within leads there."""
    neighbour = library.with_name("library-of-another")
    for directory in (library / "inner" / "inner", neighbour):
        directory.mkdir(parents=True)
    for file in (outside, neighbour / "canary.txt"):
        file.write_bytes(OUTSIDE * 100)
    for name, target in SNARES.items():
        (library / name).symlink_to(target.replace("{outside}", str(outside)))
    os.mkfifo(library / "pipe")
    os.mknod(library / "socket", stat.S_IFSOCK | 0o600)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_what_is_public_comes_and_what_is_members_comes_to_members(site: Site, entrance: str) -> None:
    public = site.get(entrance, f"/watch/media/{site.key('public')}/")
    members = site.get(entrance, site.link("mara", "members"), cookies="mara")

    assert _status(public) == _status(members) == 200
    assert public.count(b"public ") == 300
    assert members.count(MEMBERS) == 300


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_each_climb_is_refused_and_counted(site: Site, entrance: str) -> None:
    targets = _climbs(site)
    climbs = site.counted(entrance, "security_events_total", type="directory_traversal")
    requests = site.counted(entrance, "http_requests_total")

    answers = [(target, site.get(entrance, target)) for target in targets]

    assert len(answers) >= 1000
    assert [target for target, answer in answers if _holds(answer)] == []
    assert Counter(_status(answer) for _, answer in answers).keys() <= {400, 403, 404}
    wait_for(
        lambda: site.counted(entrance, "http_requests_total") >= requests + len(answers), "each climb is a request"
    )
    assert site.counted(entrance, "security_events_total", type="directory_traversal") == climbs + len(answers)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_path_to_a_file_of_the_machine_leads_nowhere(site: Site, entrance: str) -> None:
    climbs = site.counted(entrance, "security_events_total", type="directory_traversal")

    answers = {target: site.get(entrance, target) for target in map(site.filled, ABSOLUTE + INTERNAL)}

    assert {target: _status(answer) for target, answer in answers.items() if not _is_nothing(answer, target)} == {}
    assert site.counted(entrance, "security_events_total", type="directory_traversal") == climbs


@pytest.mark.parametrize("header", SPOOFED)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_no_header_of_the_clients_opens_a_file(site: Site, entrance: str, header: bytes) -> None:
    extra = site.filled(header.decode()).encode() + b"\r\n"

    for target in (f"/watch/media/{site.key('members')}/", "/_library/members.webm", "/watch/media/members.webm"):
        answer = site.get(entrance, target, extra=extra)

        assert _status(answer) in {400, 403, 404}
        assert not _holds(answer)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_row_that_was_tampered_with_leads_nowhere(site: Site, entrance: str) -> None:
    wrong = {}
    for name, key in site.tampered.items():
        for method, extra in (("GET", b""), ("HEAD", b""), ("GET", b"Range: bytes=0-99\r\n")):
            answer = site.get(entrance, f"/watch/media/{key}/", method=method, extra=extra)
            if _status(answer) not in {400, 403, 404} or _holds(answer):
                wrong[name, method, extra] = answer[:300]

    assert len(site.tampered) >= 60
    assert wrong == {}
    assert "Traceback" not in site.processes[entrance].output


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_file_that_turns_into_a_link_meanwhile_leads_nowhere(site: Site, entrance: str) -> None:
    """Between a look at a file and its opening there is no moment to change it for another."""
    flipped = site.library / "public.webm"
    honest, link = site.library / f"{entrance}-honest", site.library / f"{entrance}-link"
    over = threading.Event()

    def flip() -> None:
        content = flipped.read_bytes()
        while not over.is_set():
            link.symlink_to("../canary.txt")
            link.replace(flipped)
            over.wait(0.002)
            honest.write_bytes(content)
            honest.replace(flipped)
            over.wait(0.01)  # behind nginx, two processes must find it honest one after the other

    flipping = threading.Thread(target=flip)
    flipping.start()
    try:
        answers = [site.get(entrance, f"/watch/media/{site.key('public')}/") for _ in range(100)]
    finally:
        over.set()
        flipping.join()

    assert {_status(answer) for answer in answers} == {200, 404}
    assert not any(_holds(answer) for answer in answers)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_no_signature_but_the_right_one_opens_a_members_file(site: Site, entrance: str) -> None:
    attempts = _signatures(site)
    denied = site.counted(entrance, "content_denied_total")

    answers = [(target, who, site.get(entrance, target, cookies=who)) for target, who in attempts]

    wrong = [(target, who, _status(answer)) for target, who, answer in answers if _status(answer) != 403]
    assert len(answers) >= 250
    assert wrong == []
    assert not any(_holds(answer) for _, _, answer in answers)
    assert site.counted(entrance, "content_denied_total") == denied + len(answers)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("which", ["draft", "orphan"])
def test_what_is_not_published_is_not_there(site: Site, entrance: str, which: str) -> None:
    query = site.link("mara", "members").partition("?")[2]

    for who in ("", "mara", "guest"):
        for target in (f"/watch/media/{site.key(which)}/", f"/watch/media/{site.key(which)}/?{query}"):
            answer = site.get(entrance, target, cookies=who)

            assert _status(answer) == 404
            assert not _holds(answer)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_other_methods_open_nothing(site: Site, entrance: str, method: str) -> None:
    extra = b"Content-Length: 0\r\n"

    for target in (site.link("mara", "members"), "/_library/members.webm", "/watch/media/members.webm"):
        answer = site.get(entrance, target, method=method, cookies="mara", extra=extra)

        assert 400 <= _status(answer) < 500 or _status(answer) == 501
        assert not _holds(answer)


def _climbs(site: Site) -> list[str]:
    """Every way to write dots with every way to write what parts them, in turn at each place, ever deeper."""
    spelled = [(dots, slash) for dots in DOTS + MORE_DOTS for slash in SLASHES + MORE_SLASHES]
    found = []
    for number, (dots, slash) in enumerate(spelled):
        chain = (dots + slash) * (1 + number % 9)
        found.append(BEFORE[number % len(BEFORE)] + chain + "canary.txt")
        if number % 4 == 0 and "=" not in chain:  # which would end the parameter
            found.append(QUERIES[number // 4 % len(QUERIES)] + chain + "canary.txt")
    for depth in (40, 200, 1000):
        found += [f"{place}{'../' * depth}etc/passwd" for place in BEFORE]
    found += [f"http://localhost{place}../../canary.txt" for place in BEFORE]
    found += [f"{place}inner/..%2f..%5c..\\%2e%2e/canary.txt" for place in BEFORE]
    return [site.filled(target) for target in found]


def _signatures(site: Site) -> list[tuple[str, str]]:
    """Targets of members' files, and who asks for them; none of them may."""
    good = site.link("mara", "members")
    path, _, query = good.partition("?")
    other_path, _, other_query = site.link("mara", "second").partition("?")
    attempts: list[tuple[str, str]] = []
    for who in ("", "guest", "lapsed", "otto"):
        attempts.append((good, who))
        attempts.append((path, who))
    attempts.append((site.link("lapsed", "members"), "lapsed"))
    attempts.append((site.link("guest", "members"), "guest"))
    attempts += [(site.link("otto", "members"), who) for who in ("mara", "", "lapsed", "guest")]
    attempts += [(f"{path}?{other_query}", "mara"), (f"{other_path}?{query}", "mara")]
    attempts += [(good[:length], "mara") for length in range(len(path), len(good))]
    for place in range(len(path) + 1, len(good)):
        attempts += [(good[:place] + letter + good[place + 1 :], "mara") for letter in "a5" if letter != good[place]]
    attempts += [(good + more, "mara") for more in ("a", "=", "%01", "%20", "%0a", ":", "%3a0", "." * 100)]
    names = [name for name, _ in parse_qsl(query)]
    for name, value in parse_qsl(query):
        rest = [pair for pair in parse_qsl(query) if pair[0] != name]
        for odd in _odd_values(value):
            attempts.append((f"{path}?{urlencode([*rest, (name, odd)])}", "mara"))
        attempts.append((f"{path}?{urlencode(rest)}", "mara"))
        attempts.append((f"{path}?{urlencode([(name.upper(), value), *rest])}", "mara"))
        attempts.append((f"{path}?{urlencode([(f'{name}[]', value), *rest])}", "mara"))
        attempts.append((f"{path}?{urlencode([*rest, (name, value), (name, value[:-1])])}", "mara"))
        attempts.append((f"{path}?{urlencode([(name, value[:-1]), *rest, (name, value)])}", "mara"))
    attempts += [(f"{path}?{query}&{other_query}", "mara"), (f"{path}?{other_query}&{query}", "mara")]
    attempts.append((f"{path}?{query.replace('&', ';')}" if len(names) > 1 else f"{path}?;{query}", "mara"))
    attempts.append((f"{path}?{query.replace('=', '%3d')}", "mara"))
    return [(target, who) for target, who in dict.fromkeys(attempts) if target != good or who != "mara"]


def _odd_values(value: str) -> list[str]:
    """What stands where one was told a signature stands."""
    whole = [value.upper(), value.lower(), value[::-1], value * 2, value + ":" + value, f" {value}", f"{value} "]
    parts = value.split(":")
    swapped = [":".join(parts[::-1]), ":".join([*parts[:-1], ""]), ":".join(["", *parts[1:]]), ":".join(parts[1:])]
    known = ["", "0", "1", "true", "null", "None", "undefined", "admin", "*", "%", "'", '"', "' OR 1=1 --", "{}", "[]"]
    odd = ["\x01", "\n", "\r\nX: y", "\ud7ff", "ü", "\U0001f319", "a" * 200, "a" * 4000, ":" * 50, "::", ":", "."]
    tokens = [
        "eyJhbGciOiJub25lIn0.eyJ1c2VyIjoxfQ.",
        "e30:1aaaaa:" + "A" * 43,
        "1:" + "A" * 27,
        "-1",
        "9" * 400,
        "1e999",
    ]
    return [*whole, *swapped, *known, *odd, *tokens]


def _status(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def _holds(answer: bytes) -> bool:
    """Whether it holds anything of what nobody here may have."""
    return any(secret in answer for secret in (OUTSIDE, MEMBERS, DRAFT, b"root:", b"PATH=", b"SQLite format"))


def _is_nothing(answer: bytes, target: str) -> bool:
    # The library's list takes no notice of parameters that it does not know.
    allowed = {200, 400, 403, 404} if target.startswith("/content/?") else {400, 403, 404}
    return _status(answer) in allowed and not _holds(answer)
