"""Somebody who asks for files: by the whole application, signed in or not."""

from dataclasses import dataclass

from django.test import Client

from accounts import membership
from accounts.models import User
from bambisleep.tests.client import Answer, AsgiClient

BACKEND = "accounts.backends.NameOrEmailBackend"


@dataclass(frozen=True, slots=True)
class Reader:
    """A client, and the session that it brings along."""

    asgi: AsgiClient
    cookie: str = ""

    def ask(self, address: str, *, method: str = "GET", **headers: str) -> Answer:
        """What it gets at an address with its query; `Range="bytes=0-4"` is a header."""
        path, _, query = address.partition("?")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        return self.asgi.request(method, path, query=query, headers={**cookie, **sent})


def signed_in(asgi: AsgiClient, user: User) -> Reader:
    """`user`, who has just signed in."""
    browser = Client()
    browser.force_login(user, backend=BACKEND)
    return Reader(asgi, f"sessionid={browser.cookies['sessionid'].value}")


def made_member(user: User) -> User:
    """The same, with a membership."""
    membership.give(user=user, by=None, reason="A test needs one.")
    return user
