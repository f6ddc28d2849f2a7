"""Served sites for all stories, a browser for each file, and visitors with nothing to do with each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from e2e.browser.chatting import House, Seats, house
from e2e.browser.site import ADMIN, MEMBERS, PASSWORD, READER, Account, Site, Visitor
from e2e.servers import PRODUCTION, installed

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

expect.set_options(timeout=15_000)  # milliseconds, as for everything else: machines are busy

PEOPLE = f"""
from allauth.account.models import EmailAddress
from accounts.models import User
for name in [{ADMIN!r}, *(f"member{{number}}" for number in range({MEMBERS}))]:
    make = User.objects.create_superuser if name == {ADMIN!r} else User.objects.create_user
    user = make(name, f"{{name}}@example.org", {PASSWORD!r})
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults=dict(verified=True, primary=True))
"""

# The demo items, and one article that is as awkward as articles get.
LIBRARY = f"""
from django.utils import timezone
from accounts import membership
from accounts.models import User
from content import demo
from content.models import Collection, Item
from content.tests import rows
from realtime import demo as demo_rooms
demo.load()
demo_rooms.load()
reader = User.objects.create_user({READER!r}, "{READER}@example.org", {PASSWORD!r})
membership.give(user=reader, by=None, reason="A test needs one.")
recording = Item.objects.get(slug="demo-rain-far-away")
rows.viewing(recording, user=reader, credited_until=timezone.now(), position_seconds=15, duration_seconds=40)
long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
text = f"# A heading\\n\\n{{long}} `{{long * 2}}` [a link](https://example.org/) and a note[^1].\\n\\n> {{long}}\\n\\n"
text += "| a | b | c | d | e | f |\\n|---|:-:|--:|---|---|---|\\n" + "| wide as it is " * 6 + "|\\n\\n"
text += "```\\n" + "code " * 60 + "\\n```\\n\\n1. one\\n2. two\\n\\n[^1]: The note."
rows.item(long, slug="awkward", summary=long, body=text, transcript=text, language="de", published_at=rows.days_ago(30),
    collection=Collection.objects.get(slug=demo.COLLECTION), position=9)
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site as in production but for TLS, with members, and its mails in files."""
    with _served(tmp_path_factory.mktemp("site"), PEOPLE) as served:
        yield served


@pytest.fixture(scope="session")
def site_with_library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another, whose library is filled: for files whose `site` is this one."""
    with _served(tmp_path_factory.mktemp("library"), PEOPLE, LIBRARY) as served:
        yield served


@contextmanager
def _served(directory: Path, *codes: str) -> Iterator[Site]:
    mails = directory / "mails"
    mails.mkdir()
    settings = {**PRODUCTION, "EMAIL_URL": f"filemail:///{mails}", "SECURITY_CONTACT": "mailto:security@example.org"}
    with installed(directory) as installation:
        installation.collect_static()
        for code in codes:
            done = installation.manage("shell", "-v0", "-c", code, **settings)
            assert done.returncode == 0, done.stderr
        with installation.serving("daphne", **settings) as server:
            yield Site(server, mails)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. For one file of tests: while it runs, Playwright's event loop does too, which other tests dislike."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def chat_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A site to talk at: for the files about the chat."""
    with house(tmp_path_factory.mktemp("chat")) as served:
        yield served


@pytest.fixture
def seats(chromium: Browser, chat_house: House) -> Iterator[Seats]:
    """Seats at its pages: seats("mara", "lobby"). At the end, no console may have said anything."""
    taken = Seats(chromium, chat_house)
    yield taken
    taken.leave()


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Callable[..., Visitor]]:
    """A visitor with cookies of their own: visit(javascript=False). At the end, nothing may have been blocked."""
    visitors: list[Visitor] = []

    def come(*, javascript: bool = True, **more: Any) -> Visitor:
        context = chromium.new_context(java_script_enabled=javascript, base_url=site.url, **more)
        context.set_default_timeout(15_000)  # milliseconds
        visitors.append(Visitor(context.new_page(), site))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.page.context.close()
    assert [problem for visitor in visitors for problem in visitor.problems] == []


@pytest.fixture
def member(site: Site) -> Account:
    """An account that no other test has."""
    return site.next_member()


@pytest.fixture(params=[True, False], ids=["", "without JavaScript"])
def javascript(request: pytest.FixtureRequest) -> bool:
    """Whether the browser runs scripts: a story that asks for this is told both ways."""
    return bool(request.param)


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker's script."""
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
