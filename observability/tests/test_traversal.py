"""Every attempt to climb is recognised, and nothing harmless is."""

import random
from collections.abc import Callable
from urllib.parse import quote

import pytest

from bambisleep.tests.client import AsgiClient
from observability.http.traversal import climbs, file_name_climbs

DOTS = [
    "..", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "%252e%252e", "%25252e%25252e", "%c0%ae%c0%ae", "%c0%2e%c0%2e",
    "%e0%80%ae%e0%80%ae", "%f0%80%80%ae%f0%80%80%ae", "%u002e%u002e", "%uff0e%uff0e", "%ef%bc%8e%ef%bc%8e",
    "%%32%65%%32%65", "%25c0%25ae%25c0%25ae", "..;", "..%3b", "..;a=b", "..%20", "..%09", "%20..", "..%00",
]  # fmt: skip
SLASHES = [
    "/", "%2f", "%2F", "\\", "%5c", "%5C", "%252f", "%255c", "%c0%af", "%c0%2f", "%e0%80%af", "%c1%9c", "%u2215",
    "%u2216", "%uff0f", "%25c0%25af", "%%32%66", "//", "/./",
]  # fmt: skip
CLIMBING = [f"/content/{dots}{slash}{dots}{slash}etc/passwd" for dots in DOTS for slash in SLASHES]
OTHERS = [
    "/..", "/../", "/content/..", "/%2e%2e", "/content/....//....//etc/passwd", "/content/..././..././etc/passwd",
    "/content/...\\.\\...\\.\\windows", "/content/a%00b", "/content/a%00.png", "/static/..%00/x", "/content/%2500",
    "/..\\..\\..\\boot.ini", "/content/./.././../etc", "/content/x/../../y", "/\\../x", "/content/..%5c..%2fetc",
    "/a/%E2%80%A5/etc/passwd", "/a/%u2025/x", "/a/%EF%B9%92%EF%B9%92/x", "/a/%EF%BD%A1%EF%BD%A1/x", "/a/%EF%B8%B0/x",
    "/a/..%C2%A0/x", "/a/%E3%80%80../x", "/a%EF%B9%A8..%EF%B9%A8x", "/content/%E2%80%A5",
    "/content/%U002e%U002e%U002fetc", "/content/%c0%6e%c0%6e%c0%6fetc", "/content/%c0%ee%c0%ee%c1%dcetc",
]  # fmt: skip
HARMLESS = [
    "/", "/auth/login", "/content/a..b", "/content/...", "/content/....", "/content/..a", "/content/a..", "/a.b.c/d.e",
    "/content/v1..v2", "/wait...", "/100%25", "/content/%E2%80%A6", "/content/%E2%80%A5x", "/caf%C3%A9", "/%C3%9Cber",
    "/a%2Fb", "/a%5Cb", "/%2e", "/./x", "/x;y=..z", "/a%20b", "/%F0%9F%8C%99.mp4", "/.well-known/security.txt",
    "/content/.hidden", "/50%", "/%zz", "/a%", "/%2", "/.%2ehidden",
    "/content/hm%E2%80%A6/%E2%80%A6/%E2%80%A5%E2%80%A5", "/content/%E2%80%A6%C2%A0/x", "/1%E2%92%88./x",
    "/%E2%84%85/..x",
    "/content/%C0no%C0n", "/content/%C0%6Fa..b", "/%User/..a",
]  # fmt: skip


@pytest.mark.parametrize("path", CLIMBING + OTHERS)
def test_it_recognises(path: str) -> None:
    assert climbs(path.encode())


@pytest.mark.parametrize("path", HARMLESS)
def test_it_lets_pass(path: str) -> None:
    assert not climbs(path.encode())


@pytest.mark.parametrize(
    ("query", "climbing"),
    [
        (b"file=../../etc/passwd", True),
        (b"file=..%2f..%2fetc%2fpasswd", True),
        (b"a=1&file=%252e%252e%252fetc", True),
        (b"file=x%00.png", True),
        (b"..%2f=1", True),
        (b"f=foo;../x", True),
        (b"f=..;/x", True),
        (b"f=x;..%2fy;z", True),
        (b"f=%E2%80%A5/x", True),
        (b"q=wait...what", False),
        (b"q=wait%E2%80%A6", False),
        (b"q=and%2For%E2%80%A6%2Fthen", False),
        (b"q=hm%E2%80%A5", False),
        (b"q=%E2%80%A5", False),
        (b"q=one;..;two", False),
        (b"q=..", False),
        (b"range=1..5", False),
        (b"next=/content/a..b/c", False),
        (b"q=50%25+off", False),
        (b"", False),
    ],
)
def test_it_reads_queries(query: bytes, climbing: bool) -> None:
    assert climbs(b"/content/", query) is climbing


@pytest.mark.parametrize(
    ("part", "climbing"),
    [
        (b'Content-Disposition: form-data; name="f"; filename="../../x.py"\r\n', True),
        (b"Content-Disposition: form-data; name=f; filename=..\\..\\x.py\r\n", True),
        (b"Content-Disposition: form-data; name=f; filename*=UTF-8''..%2f..%2fx\r\n", True),
        (b"Content-Disposition: form-data; name=f; filename*=UTF-8''..%2fpasswd\r\n", True),
        (b"Content-Disposition: form-data; name=f; filename*=\"iso-8859-1'en'..%5cx\"\r\n", True),
        (b"Content-Disposition: form-data; name=f; filename*=UTF-8''mara%27s..film.mp4\r\n", False),
        (b'Content-Disposition: form-data; name="f"; filename="holiday..final.mp4"\r\n', False),
        (b"a body that speaks of ../paths", False),
    ],
)
def test_it_reads_file_names_in_forms(part: bytes, climbing: bool) -> None:
    assert file_name_climbs(part) is climbing


def test_five_thousand_harmless_paths_pass() -> None:
    chooser = random.Random(7)
    alphabet = ["a", "b", "7", ".", "..", "-", "_", "ü", "…", "‥", "月", "🌙", "%", " ", "+", "~", "é.", "v1..2"]
    for _ in range(5000):
        segments = ["".join(chooser.choices(alphabet, k=chooser.randint(1, 6))) for _ in range(chooser.randint(1, 5))]
        segments = ["x" + segment if segment.strip(" .‥") == "" else segment for segment in segments]
        path = "/" + "/".join(quote(segment, safe="~+") for segment in segments)
        assert not climbs(path.encode()), path


@pytest.mark.django_db
def test_the_edge_answers_400_and_counts(asgi: AsgiClient, metric: object) -> None:
    before = metric("security_events_total", type="directory_traversal")  # type: ignore[operator]
    answer = asgi.get("/content/../../etc/passwd", raw_path=b"/content/..%2f..%2fetc/passwd")
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert metric("security_events_total", type="directory_traversal") == before + 1  # type: ignore[operator]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "cut", "status"),
    [
        *((b"../x", cut, 400) for cut in (b"; file", b"; filename", b'; filename="', b'; filename=".')),
        (b"../" + b"x" * 200, b'; filename="', 400),
        (b"film..mp4", b'; filename="', 404),
    ],
)
def test_a_file_name_that_comes_in_two_pieces_is_read_whole(
    asgi: AsgiClient, metric: Callable[..., float], name: bytes, cut: bytes, status: int
) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="' + name + b'"\r\n\r\nhi\r\n--x--\r\n'
    place = form.index(cut) + len(cut)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    before = metric("security_events_total", type="directory_traversal")

    answer = asgi.post("/no/such/form", chunks=[form[:place], form[place:]], headers=headers)

    assert answer.status == status
    assert metric("security_events_total", type="directory_traversal") == before + (status == 400)
