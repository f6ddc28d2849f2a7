"""nginx sending files for the application: what of its word reaches the client, and that nobody gets round it."""

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from e2e.library import cookies_of, in_library
from e2e.nginx import ACCELERATED, nginx, process_on
from e2e.servers import Installation, Server, free_port, wait_for

pytestmark = pytest.mark.needs("nginx")

CONTENT = b"0123456789" * 100
SECRET = b"what members pay for"
LARGE_BYTES = 100_000_000
WHOLE = f"""
from content import links
mara = person("mara", member=True)
film = rows.media(rows.item(kind=Kind.VIDEO, slug="a-night"), {CONTENT!r})
members = rows.media(rows.members_item(kind=Kind.VIDEO), {SECRET!r})
large = rows.media(rows.item(kind=Kind.VIDEO), b"")
for name, file in {{"film": film, "members": members, "large": large}}.items():
    told[name] = {{"address": links.address_of(file, mara), "name": file.name}}
"""
ANOTHER = f"""
import os
film = rows.media(rows.item(kind=Kind.VIDEO, slug=os.urandom(4).hex()), {CONTENT!r})
told |= {{"address": f"/watch/media/{{film.key}}/", "name": film.name}}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """A process, the nginx before it, and their library."""

    process: Server
    nginx: Server
    library: Path
    told: dict[str, Any]

    def ask(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """What nginx answers; the path goes out as it stands here."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=20)) as connection:
            connection.request(method, path, headers=named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())


@pytest.fixture(scope="module")
def told(installation: Installation) -> dict[str, Any]:
    """A library's files."""
    installation.collect_static()
    return in_library(installation, WHOLE)


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def site(
    installation: Installation,
    told: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Site]:
    """A production process that has nginx send its files; once daphne, once uvicorn."""
    library = installation.data_dir / "library"
    os.truncate(library / told["large"]["name"], LARGE_BYTES)
    with ExitStack() as stack:
        process = stack.enter_context(process_on(installation, free_port(), server=request.param, **ACCELERATED))
        before = stack.enter_context(nginx(tmp_path_factory.mktemp("nginx"), [process], library=library))
        yield Site(process, before, library, told)


def test_what_the_application_says_of_a_file_reaches_the_client(site: Site) -> None:
    answer = site.ask(site.told["film"]["address"], X_Request_ID="one-of-mine")

    headers = answer.headers
    assert (answer.status, answer.body) == (200, CONTENT)
    assert headers["Content-Type"] == "video/webm"
    assert headers["Content-Disposition"] == 'inline; filename="a-night.bin"'
    assert headers["Cache-Control"] == "public, max-age=3600"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Permissions-Policy"].startswith("camera=()")
    assert headers["X-Request-ID"] == "one-of-mine"
    assert "X-Accel-Redirect" not in headers


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("If-None-Match", "*", 304), ("If-Match", '"x"', 412), ("Range", "bytes=0-4", 206), ("Range", "bytes=9999-", 416)],
)
def test_each_header_is_said_once_whatever_the_status(site: Site, header: str, value: str, status: int) -> None:
    answer = site.ask(site.told["film"]["address"], **{header: value})

    assert answer.status == status
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Cross-Origin-Resource-Policy", "X-Request-ID"):
        assert len(answer.headers.get_all(name, [])) == 1, name


def test_a_member_gets_a_members_film_and_nobody_else(site: Site) -> None:
    address = site.told["members"]["address"]
    cookie = cookies_of(site.process, "mara")

    member = site.ask(address, Cookie=cookie)
    assert (member.status, member.body) == (200, SECRET)
    assert member.headers["Cache-Control"] == "private, no-cache"
    assert "Cookie" in member.headers["Vary"]
    for answer in (site.ask(address), site.ask(address.partition("?")[0], Cookie=cookie)):
        assert (answer.status, SECRET in answer.body) == (403, False)


@pytest.mark.parametrize(
    "way", ["/_library/{name}", "//_library/{name}", "/%5flibrary/{name}", "/x/../_library/{name}"]
)
def test_the_library_has_no_address_of_its_own(site: Site, way: str) -> None:
    for file in ("film", "members"):
        answer = site.ask(way.format(name=site.told[file]["name"]))

        assert answer.status in {400, 404}
        assert CONTENT not in answer.body
        assert SECRET not in answer.body


@pytest.mark.parametrize("header", ["X_Accel_Redirect", "X_Accel_Buffering", "X_Accel_Limit_Rate", "X_Sendfile"])
def test_what_a_client_says_in_the_application_s_place_is_not_heard(site: Site, header: str) -> None:
    answer = site.ask("/dora", **{header: f"/_library/{site.told['members']['name']}"})

    assert answer.status == 200
    assert json.loads(answer.body)


def test_a_file_that_is_gone_is_not_found(site: Site, installation: Installation) -> None:
    told = in_library(installation, ANOTHER)
    (site.library / told["name"]).unlink()

    assert site.ask(told["address"]).status == 404


def test_nginx_itself_follows_no_symbolic_link(installation: Installation, tmp_path: Path, site: Site) -> None:
    # The application opens none, so it is asked with a library of its own, where the names are files.
    told = in_library(installation, ANOTHER)
    (tmp_path / "canary").write_bytes(SECRET)
    other = tmp_path / "library"
    other.mkdir()
    (other / told["name"]).symlink_to(tmp_path / "canary")
    (tmp_path / "nginx").mkdir()

    with nginx(tmp_path / "nginx", [site.process], library=other) as before:
        answer = before.http.get(told["address"])

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.content


def test_the_range_is_counted_by_the_application_as_one_request(site: Site) -> None:
    def counted() -> float:
        return site.process.metric("http_requests_total", route="/watch/media/<uuid:key>/")

    before = counted()
    site.ask(site.told["film"]["address"], Range="bytes=0-4")

    wait_for(lambda: counted() - before == 1, "it is counted")


def test_without_it_nginx_writes_no_file_of_what_it_passes_on(
    installation: Installation, tmp_path: Path, site: Site
) -> None:
    with ExitStack() as stack:
        process = stack.enter_context(process_on(installation, free_port()))
        before = stack.enter_context(nginx(tmp_path, [process]))
        with closing(http.client.HTTPConnection("127.0.0.1", before.port, timeout=20)) as connection:
            connection.request("GET", site.told["large"]["address"])
            response = connection.getresponse()
            assert len(response.read(1000)) == 1000
            assert len(before.http.get(site.told["large"]["address"]).content) == LARGE_BYTES  # for as long as it takes
            assert _written(tmp_path / "proxy") == 0
            assert len(response.read()) == LARGE_BYTES - 1000


def _written(directory: Path) -> int:
    """Bytes in a directory, files that have no name any more among them."""
    held = [os.stat(f"/proc/{pid}/fd/{fd}").st_size for pid, fd in _descriptors(directory)]
    return sum(held) + sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _descriptors(directory: Path) -> Iterator[tuple[str, str]]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(str(directory)):
                    yield pid, fd
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
