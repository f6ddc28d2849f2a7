"""A member at the pages, with a browser that has no JavaScript; and what a page says, as one line of text."""

import html
import re
from typing import Any

from accounts.models import User
from accounts.tests.browser import Browser, text_of

BACKEND = "accounts.backends.NameOrEmailBackend"


def browser_of(user: User) -> Browser:
    """A browser in which they are signed in."""
    browser = Browser(headers={"accept": "text/html"})
    browser.force_login(user, backend=BACKEND)
    return browser


def words(response: Any) -> str:
    """The page's main part without its tags."""
    main = re.search(r"<main.*?</main>", text_of(response), re.S)
    assert main, text_of(response)[:1000]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main[0]))).replace(" .", ".")


def press(browser: Browser, page: Any, action: str, *, follow: bool = False, number: int = 0) -> Any:
    """Press the button of a form that leads to `action`, with all that the form holds; the `number`th of them."""
    forms = re.findall(rf'<form method="post" action="{re.escape(action)}">(.*?)</form>', text_of(page), re.S)
    assert len(forms) > number, f"The page has no form to {action}:\n{words(page)}"
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', forms[number]))
    return browser.post(action, fields, follow=follow)
