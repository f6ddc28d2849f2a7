"""One served site for all stories, a browser for each file, and visitors with nothing to do with each other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from e2e.browser.site import ADMIN, MEMBERS, PASSWORD, Account, Site, Visitor
from e2e.servers import PRODUCTION, installed

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

PEOPLE = f"""
from allauth.account.models import EmailAddress
from accounts.models import User
for name in [{ADMIN!r}, *(f"member{{number}}" for number in range({MEMBERS}))]:
    make = User.objects.create_superuser if name == {ADMIN!r} else User.objects.create_user
    user = make(name, f"{{name}}@example.org", {PASSWORD!r})
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults=dict(verified=True, primary=True))
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site as in production but for TLS, with members, and its mails in files."""
    directory = tmp_path_factory.mktemp("site")
    mails = directory / "mails"
    mails.mkdir()
    settings = {**PRODUCTION, "EMAIL_URL": f"filemail:///{mails}", "SECURITY_CONTACT": "mailto:security@example.org"}
    with installed(directory) as installation:
        for command in (["collectstatic", "-v0", "--noinput"], ["shell", "-v0", "-c", PEOPLE]):
            done = installation.manage(*command, **settings)
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
