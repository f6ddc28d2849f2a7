"""Whatever is sent to the JSON endpoints, the answer is a problem document or a valid one, never an error of ours.

Tried: bodies that are no JSON, JSON of every other shape, texts that no database takes, numbers that no machine word
holds, nesting, duplicates, sizes; media types and charsets; headers; methods; query strings. Each is refused with a
4xx, writes nothing, and is counted once under labels of a bounded set.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from bambisleep.tests.client import Answer, AsgiClient

pytestmark = pytest.mark.django_db

POSTS = ("/auth/register", "/auth/login", "/auth/refresh", "/auth/logout")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"}
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
FIELDS = ("username", "email", "password", "refresh", "code")


def every_field(value: str) -> bytes:
    """A body that gives every field any endpoint knows that value, a piece of JSON."""
    return ("{" + ", ".join(f'"{field}": {value}' for field in FIELDS) + "}").encode()


BODIES = {
    "nothing": b"",
    "cut off": b'{"username": "mara"',
    "two documents": b"{}{}",
    "single quotes": b"{'username': 'mara'}",
    "a comment": b'{"username": "mara" /* me */}',
    "a NUL byte": b"\x00",
    "no UTF-8": b'{"username": "\xff\xfe"}',
    "an overlong slash": b'{"username": "\xc0\xaf"}',
    "UTF-16": '{"username": "mara"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a form": b"username=mara&password=a+long+enough+phrase",
    "an array": b"[]",
    "an array of objects": b'[{"username": "mara"}]',
    "a string": b'"mara"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "NaN": b"NaN",
    "an empty object": b"{}",
    "an empty name": b'{"": ""}',
    "nulls": every_field("null"),
    "numbers": every_field("12345"),
    "a number beyond any word": every_field("9" * 4_000),
    "a number that Python refuses to read": every_field("9" * 5_000),
    "a number beyond any float": every_field("1e999"),
    "not a number": every_field("NaN"),
    "minus infinity": every_field("-Infinity"),
    "booleans": every_field("true"),
    "arrays": every_field("[1]"),
    "objects": every_field('{"$ne": null}'),
    "NUL characters": every_field(r'"a\u0000b@example.org"'),
    "lone surrogates": every_field(r'"a\ud800b@example.org"'),
    "surrogates in the wrong order": every_field(r'"\udc00\ud800@example.org"'),
    "control characters": every_field('"\x01\x02"'),
    "empty strings": every_field('""'),
    "spaces": every_field('"   "'),
    "long strings": every_field('"' + "a" * 100_000 + '"'),
    "a wrong escape": every_field(r'"\x41"'),
    "deep arrays": b"[" * 100_000,
    "deep arrays, closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep in a field": every_field("[" * 20_000 + "]" * 20_000),
    "many names": json.dumps({f"name{number}": number for number in range(20_000)}).encode(),
    "a name twice": b'{"username": "mara", "username": null, "refresh": "a", "refresh": null, "password": 1}',
    "a prototype": b'{"__proto__": {"is_staff": true}, "constructor": {}}',
}
MEDIA_TYPES = (
    None,
    "",
    "text/plain",
    "text/html",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + "x" * 5_000,
    "json",
    "/",
    "*/*",
    "a/b/c;;;=",
    "application/json-patch+json",
)
CHARSETS = ("nonsense", "utf-16", "utf-32", "utf-7", "rot13", "base64", "bz2", "idna", "", '"', "utf-8;charset=utf-16")
QUERIES = (
    "days=-1",
    "days=0",
    "days=1e999",
    "days=1e3",
    "days=NaN",
    "days=Infinity",
    "days=true",
    "days=",
    "days=3661",
    "days=" + "9" * 30,
    "days=" + "9" * 5_000,
    "days=%00",
    "days=7&days=-1",
    "days=7&from=2025-01-01&to=2025-01-31",
    "from=0000-00-00",
    "from=0000-00-00&to=0000-00-00",
    "from=9999-12-31",
    "from=9999-12-31&to=9999-12-31",
    "from=0001-01-01&to=0001-01-01",
    "from=0001-01-01&to=9999-12-31",
    "from=1970-12-31&to=1970-12-31",
    "from=2025-02-29&to=2025-03-01",
    "from=2025-02-01&to=2025-01-01",
    "from=2025-01-01T00:00:00Z&to=2025-01-02",
    "from=2025-01-01",
    "to=2025-01-01",
    "from=&to=",
    "from=%ED%A0%80&to=%FF",
    "service=%00",
    "service=",
    "service=" + "a" * 101,
    "environment=a%00b",
    "&".join(f"name{number}=1" for number in range(2_000)),
)
HARMLESS_QUERIES = (
    "",
    "%",
    "&&==&",
    "days=1&days=2",
    "days=3660",
    "days[]=1",
    "service=%ED%A0%80&environment=%FF",
    "service=' OR 1=1 --",
    "service=a&service=b",
    "from=1971-01-01&to=1971-01-01",
    "from=9998-12-31&to=9998-12-31",
    "unknown=" + "a" * 50_000,
)
HEADERS = (
    {"Content-Length": "abc"},
    {"Content-Length": "-1"},
    {"Content-Length": "1.5"},
    {"Content-Length": ""},
    {"Content-Length": "\xb2"},
    {"Content-Length": "9" * 5_000},
    {"Content-Length": "9999999"},
    {"Accept": "application/xml"},
    {"Accept": "\xff"},
    {"Accept": ";;;,,,"},
    {"Accept": "application/json;q=" + "9" * 5_000},
    {"Host": "elsewhere.example"},
    {"Host": "\xff"},
    {"Host": ""},
    {"Host": "a" * 5_000},
    {"X-Anything": "a" * 200_000},
    {"Cookie": "sessionid=\xff;;;=\x01"},
    {"Cookie": "a=" + "b" * 100_000},
    {"Accept-Language": "\xff" * 5_000},
    {"Authorization": "Bearer " + "a" * 100_000},
    {"Authorization": "Bearer \xff\xfe.."},
    {"Authorization": "Negotiate \xff"},
    {"X-Request-ID": "\xff\xfe a\tb"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Transfer-Encoding": "nonsense"},
    {"Expect": "the unexpected"},
    {"Content-Encoding": "gzip"},
)


def assert_refused(answer: Answer) -> None:
    """A 4xx, as a problem document that says so itself."""
    assert 400 <= answer.status < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def assert_no_fault_of_ours(answer: Answer) -> None:
    """Refused, or answered validly."""
    if answer.status >= 400:
        assert_refused(answer)
    else:
        assert 200 <= answer.status < 300
        assert answer.status == 204 or answer.headers["content-type"].startswith("application/json")


def rows() -> dict[str, int]:
    """How many rows each table of ours holds."""
    ours = ("accounts", "delivery", "sessions")
    models = [model for label in ours for model in apps.get_app_config(label).get_models()]
    return {model._meta.label: model._default_manager.count() for model in models}


def label_values(label: str) -> set[str]:
    """Every value of a label on the request counter."""
    samples: Iterator[Any] = (sample for family in REGISTRY.collect() for sample in family.samples)
    return {sample.labels[label] for sample in samples if sample.name == "http_requests_total"}


@pytest.fixture(autouse=True)
def _bounded_labels() -> Iterator[None]:
    """Whatever a test of this file sends, no label takes its value from it."""
    yield
    assert label_values("method") <= METHODS
    assert not {route for route in label_values("route") if not route.startswith("/")} - {"unmatched"}
    assert all(len(route) < 100 for route in label_values("route"))


@pytest.fixture(autouse=True)
def _nothing_written(db: None, _bounded_labels: None) -> Iterator[None]:
    before = rows()
    yield
    assert rows() == before


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_bad_body_is_refused_and_counted_once(asgi: AsgiClient, metric: Any, path: str, body: bytes) -> None:
    requests = metric("http_requests_total", method="POST", route=path)
    attempts = metric("auth_attempts_total", success="false")

    answer = asgi.post(path, body=body, headers={"Content-Type": "application/json"})

    assert_refused(answer)
    assert answer.status in {400, 401}
    assert metric("http_requests_total", method="POST", route=path) == requests + 1
    assert metric("auth_attempts_total", success="false") == attempts + 1


@pytest.mark.parametrize("path", POSTS)
def test_a_body_of_another_media_type_is_refused(asgi: AsgiClient, path: str) -> None:
    for media_type in MEDIA_TYPES:
        for body in (b"{}", b"--x\r\n", b"username=mara", b"\x00\xff"):
            answer = asgi.post(path, body=body, headers={} if media_type is None else {"Content-Type": media_type})

            assert_refused(answer)
            assert answer.status in {400, 415}, media_type


@pytest.mark.parametrize("path", POSTS)
def test_an_odd_charset_is_refused(asgi: AsgiClient, path: str) -> None:
    for charset in CHARSETS:
        for body in (b"{}", b"\xff\xfe{", b"BZh91AY&SY"):
            answer = asgi.post(path, body=body, headers={"Content-Type": f"application/json; charset={charset}"})

            assert_refused(answer)


@pytest.mark.parametrize("path", POSTS)
def test_an_oversized_body_is_refused_with_or_without_its_length(asgi: AsgiClient, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    chunk = b" " * 65_536
    chunks = [chunk] * (site.MAX_BODY_BYTES // len(chunk) + 1)

    told = asgi.post(path, body=b"".join(chunks), headers=headers)
    untold = asgi.post(path, chunks=chunks, headers=headers)
    lied = asgi.post(path, chunks=chunks, headers={**headers, "Content-Length": "2"})

    for answer in (told, untold, lied):
        assert_refused(answer)
        assert answer.status == 413


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:40])
def test_a_query_that_makes_no_sense_is_refused(asgi: AsgiClient, query: str) -> None:
    assert_refused(asgi.get("/dora", query=query))


@pytest.mark.parametrize("query", HARMLESS_QUERIES, ids=lambda query: query[:40])
def test_an_odd_query_that_means_something_is_answered(asgi: AsgiClient, query: str) -> None:
    answer = asgi.get("/dora", query=query)

    assert answer.status == 200
    assert set(answer.json["measures"]) >= {"deployment_frequency", "change_lead_time"}


@pytest.mark.parametrize("query", [b"days=\xff", b"\xff\xfe", b"service=\xed\xa0\x80", b"\x00", b"service=\x00"])
def test_a_query_of_raw_bytes_is_no_fault_of_ours(asgi: AsgiClient, query: bytes) -> None:
    assert_no_fault_of_ours(asgi.get("/dora", query=query))


@pytest.mark.parametrize("path", [*POSTS, "/auth/me", "/dora", "/nowhere"])
def test_an_odd_header_is_no_fault_of_ours(asgi: AsgiClient, path: str) -> None:
    for headers in HEADERS:
        answer = asgi.request("GET" if path in {"/auth/me", "/dora"} else "POST", path, headers=headers)

        assert_no_fault_of_ours(answer)


@pytest.mark.parametrize("path", [*POSTS, "/dora"])
@pytest.mark.parametrize("method", ["FOO", "TRACE", "TRACK", "CONNECT", "PRI", "PROPFIND", "", "\x00", "A" * 5_000])
def test_an_unknown_method_is_refused_and_counted_as_other(
    asgi: AsgiClient, metric: Any, path: str, method: str
) -> None:
    before = metric("http_requests_total", method="OTHER", route=path, status="405")

    answer = asgi.request(method, path)

    assert answer.status == 405
    assert_refused(answer)
    assert metric("http_requests_total", method="OTHER", route=path, status="405") == before + 1


@pytest.mark.parametrize("path", ["/nowhere", "/auth/", "/auth/login/", "/dora/\x00", "/\ud800", "/" + "a" * 20_000])
def test_an_address_without_anything_is_counted_as_unmatched(asgi: AsgiClient, metric: Any, path: str) -> None:
    before = metric("http_requests_total", route="unmatched")

    answer = asgi.get(path, raw_path=path.encode("utf-8", "surrogatepass"))

    assert_refused(answer)
    assert metric("http_requests_total", route="unmatched") == before + 1


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.sampled_from(["\ud800"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
objects = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), values, max_size=6)


@pytest.mark.parametrize("path", POSTS)
@BOUNDED
@given(body=st.binary(max_size=200) | objects.map(json.dumps).map(str.encode) | values.map(json.dumps).map(str.encode))
def test_no_body_at_all_makes_it_fail(asgi: AsgiClient, path: str, body: bytes) -> None:
    assert_refused(asgi.post(path, body=body, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize("path", POSTS)
@BOUNDED
@given(
    headers=st.dictionaries(
        st.sampled_from(["content-type", "accept", "content-length", "authorization", "cookie", "x-request-id"]),
        # What daphne and uvicorn let through: no control characters but the tab.
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f") | st.just("\t")),
    )
)
def test_no_headers_at_all_make_it_fail(asgi: AsgiClient, path: str, headers: dict[str, str]) -> None:
    assert_refused(asgi.post(path, body=b"{}", headers=headers))


@BOUNDED
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from([b"days", b"from", b"to", b"service", b"environment", b"format"]) | st.binary(max_size=5),
            st.binary(max_size=20)
            | st.integers().map(str).map(str.encode)
            | st.dates().map(str).map(str.encode)
            | st.floats().map(str).map(str.encode),
        ),
        max_size=4,
    )
)
def test_no_query_at_all_makes_it_fail(asgi: AsgiClient, pairs: list[tuple[bytes, bytes]]) -> None:
    assert_no_fault_of_ours(asgi.get("/dora", query=b"&".join(name + b"=" + value for name, value in pairs)))


@BOUNDED
@given(
    method=st.text(st.characters(max_codepoint=255), max_size=10), path=st.sampled_from([*POSTS, "/dora", "/nowhere"])
)
def test_no_method_at_all_makes_it_fail(asgi: AsgiClient, method: str, path: str) -> None:
    assert_no_fault_of_ours(asgi.request(method, path))
