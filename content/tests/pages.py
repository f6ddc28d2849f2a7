"""Readers of the library's pages: browsers without JavaScript; and what a page says, as one line of text."""

import html
import re
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts import membership
from accounts.models import Membership, User
from accounts.tests.browser import Browser, text_of

BACKEND = "accounts.backends.NameOrEmailBackend"


def browser_of(user: User | None = None) -> Browser:
    """A browser, in which `user` is signed in."""
    browser = Browser(headers={"accept": "text/html"})
    if user:
        browser.force_login(user, backend=BACKEND)
    return browser


def as_member(user: User) -> User:
    """Make them a member by word of staff."""
    membership.give(user=user, by=None, reason="A test needs one.")
    return user


def as_lapsed(user: User) -> User:
    """Make them one whose membership has ended yesterday."""
    now = timezone.now()
    Membership.objects.create(
        user=user,
        source=Membership.Source.STAFF,
        reason="A test needs one.",
        starts_at=now - timedelta(days=30),
        ends_at=now - timedelta(days=1),
    )
    return user


def words(response: Any) -> str:
    """The page's main part without its tags."""
    main = re.search(r"<main.*?</main>", text_of(response), re.S)
    assert main, text_of(response)[:1000]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main[0]))).replace(" .", ".")


def titles(response: Any) -> list[str]:
    """What a list shows, in its order."""
    found = re.findall(r'class="entry-title"><a href="[^"]*">(.*?)</a>', text_of(response), re.S)
    return [html.unescape(re.sub(r"<[^>]+>", "", title)) for title in found]
