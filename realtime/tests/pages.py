"""Visitors of the chat's pages: browsers without JavaScript; and what a page says, as one line of text."""

import html
import re
from typing import Any

from accounts.models import User
from accounts.tests.browser import Browser, text_of

BACKEND = "accounts.backends.NameOrEmailBackend"


def browser_of(user: User | None = None) -> Browser:
    """A browser, in which `user` is signed in."""
    browser = Browser(headers={"accept": "text/html"})
    if user:
        browser.force_login(user, backend=BACKEND)
    return browser


def words(response: Any) -> str:
    """The page's main part without its tags."""
    main = re.search(r"<main.*?</main>", text_of(response), re.S)
    assert main, text_of(response)[:1000]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main[0]))).replace(" .", ".").replace(" ,", ",")
