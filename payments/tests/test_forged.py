"""Two hundred webhooks that Stripe did not send to this site: each is refused, counted, and leaves nothing behind."""

import base64
import hmac
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest
from djstripe.models import WebhookEndpoint, WebhookEventTrigger

from accounts import membership
from accounts.models import User
from bambisleep.tests.client import Answer, AsgiClient
from e2e.stripe.delivery import sign
from e2e.stripe.standin import KEY, SECRET
from e2e.stripe.wire import Object
from observability import security
from observability.models import SecurityEvent
from payments.models import Movement, Subscription, WebhookEvent
from payments.tests.shop import URL, Shop, an_event

pytestmark = pytest.mark.django_db

OTHER_SECRET, DISABLED, OF_LIVE_MODE = "whsec_another", "whsec_disabled", "whsec_live"


@dataclass
class Forged:
    """A request that must be refused; `counted_as` is the security event that it leaves."""

    what: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 400
    path: str = URL
    counted_as: str = "bad_signature"


def encoded(event: Any) -> bytes:
    return json.dumps(event).encode()


def signed(what: str, body: bytes, *, secret: str = SECRET, at: float = 0, **more: Any) -> Forged:
    """Signed well, as far as `secret` and `at`, in seconds from now, allow."""
    return Forged(what, body, {"Stripe-Signature": sign(body, secret, at=int(time.time() + at))}, **more)


def without_a_good_signature(event: Object) -> Iterator[Forged]:
    body, now = encoded(event), int(time.time())
    good = sign(body, SECRET)
    digest = good.rpartition("=")[2]
    yield Forged("no signature", body)
    for header in (
        "", " ", ",", "=", "t=", "v1=", f"t={now}", f"v1={digest}", "garbage", "t=now,v1=" + digest,
        "t=-1,v1=" + digest,
        f"t={now},v0={digest}", f"t={now},v1=", f"t={now},v1=é", f"t={now},v1={digest[:-1]}", f"t={now},v1={digest}0",
        f"t={now},v1={digest.upper()}", f"t={now},t={now},v1={digest}", f"t={now},v1={'0' * 64}", f"t=1e9,v1={digest}",
        f"t={now}.0,v1={digest}", f"t= {now},v1={digest}", f"t={now + 10**11},v1={digest}", "t=" + "9" * 5000,
        f"t={now}," + ",".join(f"v1={number:064x}" for number in range(100)), f"v1={digest},{'x' * 5000},t={now}",
        f"t={now},v1=" + base64.b64encode(bytes.fromhex(digest)).decode(), f"t={now};v1={digest}",
    ):  # fmt: skip
        yield Forged(f"the signature {header[:30]!r}", body, {"Stripe-Signature": header})
    for secret in (OTHER_SECRET, DISABLED, OF_LIVE_MODE, SECRET[:-1], SECRET.removeprefix("whsec_"), "", "None", KEY):
        yield signed(f"the secret {secret[:12]!r}", body, secret=secret)
    algorithms = {"sha1", "md5", "sha512", "sha384"}
    for name in sorted(algorithms):
        forged = hmac.new(SECRET.encode(), f"{now}.".encode() + body, name).hexdigest()
        yield Forged(f"signed with {name}", body, {"Stripe-Signature": f"t={now},v1={forged}"})
    without_time = hmac.new(SECRET.encode(), body, sha256).hexdigest()
    yield Forged("the time is not signed", body, {"Stripe-Signature": f"t={now},v1={without_time}"})


def replayed(event: Object) -> Iterator[Forged]:
    body = encoded(event)
    for seconds in (302, 600, 3600, 86_400, 10**8, 1_700_000_000):
        yield signed(f"{seconds} s old", body, at=-seconds)
        yield signed(f"{seconds} s from now", body, at=seconds)
    stale = sign(body, SECRET, at=int(time.time()) - 400)
    fresh_time = f"t={int(time.time())},{stale.partition(',')[2]}"
    yield Forged("the time was renewed, the signature not", body, {"Stripe-Signature": fresh_time})


def altered(event: Object) -> Iterator[Forged]:
    body = encoded(event)
    header = {"Stripe-Signature": sign(body, SECRET)}
    chance = random.Random(8)
    for _ in range(90):
        place, bit = chance.randrange(len(body)), 1 << chance.randrange(8)
        changed = bytes(byte ^ bit if index == place else byte for index, byte in enumerate(body))
        yield Forged(f"bit {bit} of byte {place} was turned", changed, header)
    for what, changed in (
        ("cut short", body[:-1]),
        ("longer", body + b" "),
        ("empty", b""),
        ("indented", json.dumps(event, indent=1).encode()),
        ("of another customer", body.replace(b'"cus_', b'"cus_x')),
        ("with another byte order mark", b"\xef\xbb\xbf" + body),
        ("compressed", sha256(body).digest()),
    ):
        yield Forged(f"the body is {what}", changed, header)


def chosen_by_a_header(event: Object) -> Iterator[Forged]:
    """dj-stripe, in development, lets a header name the secret; nothing of that kind does anything here."""
    body = encoded(event)
    for name in ("X-Djstripe-Webhook-Secret", "X-Stripe-Secret", "Stripe-Secret", "Webhook-Secret", "Authorization"):
        forged = signed(f"{name} names the secret", body, secret=OTHER_SECRET)
        forged.headers[name] = OTHER_SECRET
        yield forged
    forged = signed("X-Forwarded-For is junk", body, secret=OTHER_SECRET)
    yield Forged(forged.what, body, {**forged.headers, "X-Forwarded-For": "\x01junk, 'or 1=1"})


def well_signed_and_no_event_for_this_site(event: Object) -> Iterator[Forged]:
    """Signed with the right secret: even so it is only taken where it is an event, for this site, in this mode."""
    for what, changed in (
        ("live mode", {"livemode": True}),
        ("a mode that is a word", {"livemode": "false"}),
        ("no mode", {"livemode": None}),
        ("a connected account", {"account": "acct_1other"}),
        ("an id of another kind", {"id": "in_1"}),
        ("an id that is a number", {"id": 7}),
        ("no id", {"id": None}),
        ("a NUL in the id", {"id": "evt_\0"}),
        ("a line break in the id", {"id": "evt_1\n"}),
        ("an endless id", {"id": "evt_" + "x" * 300}),
        ("a NUL in the type", {"type": "invoice.\0paid"}),
        ("an endless type", {"type": "a." * 100 + "a"}),
        ("a type that is a list", {"type": ["invoice.paid"]}),
        ("a type in capitals", {"type": "INVOICE.PAID"}),
        ("a NUL in the version", {"api_version": "2026\0"}),
        ("a NUL in the object's id", {"data": {"object": {"id": "sub_\0"}}}),
        ("a path for an id", {"data": {"object": {"id": "../v1/customers"}}}),
        ("a question for an id", {"data": {"object": {"id": "sub_1?expand[]=customer"}}}),
        ("a NUL in the customer", {"data": {"object": {"id": "sub_1", "customer": "cus_\0"}}}),
        ("no data", {"data": None}),
        ("data that is a list", {"data": []}),
        ("no object", {"data": {}}),
        ("an object that is a word", {"data": {"object": "sub_1"}}),
        ("no time", {"created": None}),
        ("a time that is a word", {"created": "today"}),
        ("a time that is true", {"created": True}),
        ("a time before 1970", {"created": -1}),
        ("a time that never comes", {"created": 10**15}),
        ("a time that is a fraction", {"created": 1.5}),
    ):
        yield signed(what, encoded({**event, **changed}))
    for body in (
        b"", b"{", b"null", b"[]", b"7", b'"evt_1"', b"\xff\xfe", b"\0", encoded([event]), encoded(event) + b"\0",
        b"[" * 100_000, b"NaN", b'{"id": "evt_1"}', encoded({"object": "v2.core.event", "id": "evt_1", "type": "a.b"}),
        b"9" * 5_000, encoded(event).decode().encode("utf-16"),
    ):  # fmt: skip
        yield signed(f"the body {body[:20]!r}", body)


def too_large(event: Object) -> Iterator[Forged]:
    padded = encoded({**event, "padding": "x" * webhooks_limit()})
    yield signed("above the limit, signed well", padded, status=413)
    yield Forged("above the limit", b"x" * (webhooks_limit() + 1), status=413)
    for megabytes in (1.5, 10):  # the edge refuses what is larger than any request may be, before it is read
        yield Forged(f"{megabytes} MB", b"x" * int(megabytes * 2**20), status=413, counted_as="oversized_body")


def webhooks_limit() -> int:
    from payments.webhooks import LARGEST_BODY_BYTES

    return LARGEST_BODY_BYTES


def at_another_address(event: Object) -> Iterator[Forged]:
    """dj-stripe's endpoints have an id in their address: here there are none."""
    for path in (
        "/stripe/webhook/0bb62a9e-0000-4000-8000-000000000000/",
        "/stripe/",
        "/djstripe/webhook/",
    ):
        yield signed(f"posted to {path}", encoded(event), path=path, status=404, counted_as="")


def every_forgery(event: Object) -> list[Forged]:
    return [
        forged
        for kind in (
            without_a_good_signature,
            replayed,
            altered,
            chosen_by_a_header,
            well_signed_and_no_event_for_this_site,
            too_large,
            at_another_address,
        )
        for forged in kind(event)
    ]


@pytest.fixture
def event(shop: Shop, member: User) -> Object:
    """One that would make a member, if it were let in."""
    for number, (secret, livemode, status) in enumerate(
        [(DISABLED, False, "disabled"), (OF_LIVE_MODE, True, "enabled")]
    ):
        WebhookEndpoint.objects.create(
            id=f"we_{number}", secret=secret, url="https://example.org", enabled_events=["*"], status=status,
            livemode=livemode, api_version="",
        )  # fmt: skip
    shop.subscribe(member)
    return shop.event("customer.subscription.created")


def test_two_hundred_forged_webhooks_are_refused_and_leave_nothing(
    event: Object, shop: Shop, member: User, asgi: AsgiClient, metric: Callable[..., float]
) -> None:
    forgeries = every_forgery(event)
    assert len(forgeries) >= 200
    kinds = ("bad_signature", "oversized_body")
    before = {kind: metric("security_events_total", type=kind) for kind in kinds}
    rejected = metric("stripe_webhook_events_total", outcome="rejected")
    calls = len(shop.stripe.calls())

    taken = {}
    for forged in forgeries:
        answer = asgi.post(forged.path, body=forged.body, headers=forged.headers)
        if answer.status != forged.status or not is_a_problem(answer):
            taken[forged.what] = (answer.status, answer.body[:200])

    assert taken == {}
    for kind in kinds:
        expected = sum(forged.counted_as == kind for forged in forgeries)
        assert metric("security_events_total", type=kind) - before[kind] == expected, kind
    refused_here = sum(forged.counted_as == "bad_signature" for forged in forgeries)
    assert metric("stripe_webhook_events_total", outcome="rejected") - rejected == refused_here
    assert not any(model.objects.exists() for model in (WebhookEvent, WebhookEventTrigger, Subscription, Movement))
    assert len(shop.stripe.calls()) == calls
    assert not membership.may_see_members_content(member)


def test_of_a_forged_webhook_only_why_it_was_refused_is_kept(
    event: Object, asgi: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "writer", security.Writer())  # whose limits no other test has used up

    for forged in (*without_a_good_signature(event), *altered(event)):
        asgi.post(forged.path, body=forged.body, headers=forged.headers)
    security.writer.flush()

    rows = SecurityEvent.objects.filter(type="bad_signature")
    assert rows.exists()
    assert set(rows.values_list("detail", flat=True)) <= {
        "There is no signature.",
        "The signature is not of Stripe's form.",
        "The signature is not good.",
        "The signature is too old, or from the future.",
    }


def test_the_real_one_is_let_in_after_all_of_them(event: Object, member: User, asgi: AsgiClient) -> None:
    for forged in altered(event):
        asgi.post(forged.path, body=forged.body, headers=forged.headers)

    genuine = signed("", encoded(event))
    assert asgi.post(URL, body=genuine.body, headers=genuine.headers).status == 200
    assert membership.may_see_members_content(member)


def test_where_no_secret_is_known_nothing_is_let_in(event: Object, asgi: AsgiClient, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []

    for secret in ("", SECRET, OTHER_SECRET):
        forged = signed("", encoded(an_event("a.b", {"id": "x"})), secret=secret)
        assert asgi.post(URL, body=forged.body, headers=forged.headers).status == 400


def is_a_problem(answer: Answer) -> bool:
    return answer.headers.get("content-type") == "application/problem+json" and "status" in answer.json
