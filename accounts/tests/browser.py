"""A browser without JavaScript, for the pages: it follows redirects, keeps cookies, and is refused where a form is."""

import re
import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.http import HttpResponse
from django.test import Client

PHRASE = "a long enough phrase"


class Browser(Client):
    """Django's client with CSRF checks on; `send` posts a form from its own page, as a browser does."""

    def __init__(self, address: str = "203.0.113.7", **more: Any) -> None:
        super().__init__(enforce_csrf_checks=True, REMOTE_ADDR=address, **more)

    def send(self, path: str, *, to: str | None = None, **fields: Any) -> Any:
        """Get the page, then post a form on it to its own address or the one in `to`, and follow where that leads."""
        page = self.get(path, follow=True)
        target = page.redirect_chain[-1][0] if page.redirect_chain else path
        return self.send_from(page, to or target, **fields)

    def send_from(self, page: Any, target: str, **fields: Any) -> Any:
        """Post a form that stands on a page got before."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text_of(page))
        assert token, text_of(page)[:2000]
        return self.post(target, {"csrfmiddlewaretoken": token[1], **fields}, follow=True)

    def sign_in(self, login: str = "mara", password: str = PHRASE) -> Any:
        """Send the sign-in form."""
        return self.send("/accounts/login/", login=login, password=password)

    @property
    def signed_in(self) -> bool:
        """Whether a page for members alone opens."""
        return self.get("/accounts/data/").status_code == 200


def text_of(response: HttpResponse) -> str:
    """The page."""
    return response.content.decode()


def code_of(secret: str, *, steps: int = 0) -> str:
    """What an authenticator app shows now, or `steps` half minutes later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def add_authenticator(browser: Browser) -> str:
    """Add an authenticator app to the account that `browser` is signed in to; returns its secret."""
    page = browser.get("/accounts/2fa/totp/activate/")
    secret: str = page.context["form"].secret
    answer = browser.send_from(page, "/accounts/2fa/totp/activate/", code=code_of(secret))
    assert answer.redirect_chain, text_of(answer)
    return secret
